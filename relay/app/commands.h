/* What each command does; command_tree.c names them. Thread: main. */
#ifndef APP_COMMANDS_H
#define APP_COMMANDS_H

#include "command.h"

enum exit_code check_run(const struct invocation *invocation);
enum exit_code completion_run(const struct invocation *invocation);
enum exit_code config_run_show(const struct invocation *invocation);
enum exit_code config_run_schema(const struct invocation *invocation);
enum exit_code config_run_explain(const struct invocation *invocation);
enum exit_code health_run(const struct invocation *invocation);
enum exit_code migrate_run_up(const struct invocation *invocation);
enum exit_code migrate_run_print(const struct invocation *invocation);
enum exit_code migrate_run_status(const struct invocation *invocation);
enum exit_code migrate_run_verify(const struct invocation *invocation);
enum exit_code pause_run(const struct invocation *invocation);
enum exit_code pause_run_resume(const struct invocation *invocation);
enum exit_code rebase_run(const struct invocation *invocation);
enum exit_code run_run(const struct invocation *invocation);
enum exit_code status_run(const struct invocation *invocation);

#endif

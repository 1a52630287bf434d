#include "commands.h"

enum exit_code run_run(const struct invocation *invocation)
{
    (void)invocation;
    return EXIT_FAILED;
}
enum exit_code health_run(const struct invocation *invocation)
{
    (void)invocation;
    return EXIT_FAILED;
}

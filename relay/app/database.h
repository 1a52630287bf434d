/* The command line's way into PostgreSQL: settings, session, and the words for what goes wrong. Thread: main. */
#ifndef APP_DATABASE_H
#define APP_DATABASE_H

#include "command.h"
#include "pg/session.h"

struct database {
    struct settings *settings;
    struct session *session;
};

/* EXIT_OK with both open; else said on stderr, and nothing is open. `doing`: "cannot read the status". */
enum exit_code database_open(const struct invocation *invocation, const char *doing, struct database *database);
void database_close(struct database *database);

#endif

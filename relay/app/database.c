#include "database.h"

#include <stdio.h>

enum exit_code database_open(const struct invocation *invocation, const char *doing, struct database *database)
{
    *database = (struct database){0};
    enum exit_code code = command_settings(invocation, SETTINGS_NEED_POSTGRES, &database->settings);
    if (code != EXIT_OK)
        return code;
    char application_name[128];
    snprintf(application_name, sizeof application_name, "boxrelay/%s/%s",
             database->settings->name ? database->settings->name : "", invocation->command->name);
    struct session_options options = {.conninfo = database->settings->postgres, .application_name = application_name};
    struct error error;
    if (session_open(&options, &database->session, &error) != ERROR_NONE) {
        settings_free(&database->settings);
        return say_error(&error, doing);
    }
    return EXIT_OK;
}

void database_close(struct database *database)
{
    session_close(&database->session);
    settings_free(&database->settings);
}

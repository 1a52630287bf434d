#include "commands.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "daemon.h"
#include "once.h"
#include "probe.h"
#include "units.h"

enum exit_code run_run(const struct invocation *invocation)
{
    const char *timeout = command_flag(invocation, "--timeout");
    bool once = command_has(invocation, "--once");
    int64_t timeout_ms = ONCE_TIMEOUT_MS;
    if (timeout && !once)
        return command_usage(invocation, "--timeout belongs to --once");
    if (timeout && (!units_duration_parse(timeout, &timeout_ms) || timeout_ms < 1))
        return command_usage(invocation, "--timeout has to be a duration with a unit, as 60s, not \"%.32s\"", timeout);
    struct settings *settings;
    enum exit_code code = command_settings(invocation, SETTINGS_NEED_ALL, &settings);
    if (code != EXIT_OK)
        return code;
    log_init((enum log_format)settings->log_format, (enum log_level)settings->log_level);
    const char *assignments[COMMAND_FLAGS_MAX];
    struct settings_source source;
    command_source(invocation, SETTINGS_NEED_ALL, assignments, &source);
    code = once ? once_run(settings, timeout_ms) : daemon_run(settings, &source);
    settings_free(&settings);
    return code;
}

/* The checks that are down, a line each. */
static void print_down(const char *body)
{
    json_t *all = json_loads(body, 0, NULL);
    for (size_t i = 0; i < json_array_size(json_object_get(all, "checks")); i++) {
        const json_t *check = json_array_get(json_object_get(all, "checks"), i);
        const char *name = json_string_value(json_object_get(check, "name"));
        const char *status = json_string_value(json_object_get(check, "status"));
        const char *why = json_string_value(json_object_get(json_object_get(check, "data"), "error"));
        if (name && status && strcmp(status, "UP") != 0)
            printf("%s: %s%s%s\n", name, status, why ? ": " : "", why ? why : "");
    }
    json_decref(all);
}

enum exit_code health_run(const struct invocation *invocation)
{
    bool live = command_has(invocation, "--live"), ready = command_has(invocation, "--ready");
    struct settings *settings;
    struct error error = {0};
    char *body = NULL;
    int status = 0;
    if (live && ready)
        return command_usage(invocation, "either --live or --ready; without both all is asked");
    enum exit_code code = command_settings(invocation, SETTINGS_NEED_NOTHING, &settings);
    if (code != EXIT_OK)
        return code;
    if (strcmp(settings->http_listen, "off") == 0) {
        say_message("health: /http/listen is off, so the relay cannot be asked");
        code = EXIT_USAGE;
        goto out;
    }
    const char *path = live ? "/health/live" : ready ? "/health/ready" : "/health";
    if (probe_get(settings->http_listen, path, &status, &body, &error) != ERROR_NONE) {
        (void)say_error(&error, "health");
        code = EXIT_FAILED;
        goto out;
    }
    code = status == 200 ? EXIT_OK : EXIT_FAILED;
    if (command_has(invocation, "--json"))
        puts(body);
    else if (code == EXIT_OK)
        puts("up");
    else
        print_down(body);
out:
    free(body);
    settings_free(&settings);
    return code;
}

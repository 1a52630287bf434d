#include "commands.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "daemon.h"
#include "health.h"
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

/* One line: a probe's output is shown in the events of its pod. */
static void print_down(const char *what, const char *body)
{
    char *why = health_explain(body);
    printf("%s: %s\n", what, why[0] ? why : "the relay does not say why");
    free(why);
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
        error_set(&error, ERROR_CONFIG, "HTTP_OFF", "/http/listen is \"off\", so the relay cannot be asked");
        error_hint(&error, "set /http/listen, as 127.0.0.1:8090, for the relay and for this command; boxrelay status "
                           "asks PostgreSQL instead");
        (void)say_error(&error, "health");
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
        print_down(live ? "not live" : ready ? "not ready" : "down", body);
out:
    free(body);
    settings_free(&settings);
    return code;
}

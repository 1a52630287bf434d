#include "status_watch.h"

#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "pg/migrate.h"
#include "pg/session.h"
#include "pg/status.h"
#include "status_text.h"
#include "units.h"

enum { SLEEP_SLICE_MS = 50 };

struct watching {
    const struct settings *settings;
    struct session *session;
    struct status_stream *streams; /* as read last */
    size_t count;
    char read_at[CLOCK_TEXT_SIZE]; /* "": never */
    struct error error;            /* of the last reading */
    int64_t interval_ms;
    bool in_place, json;
};

static struct session_stop stop;

static void on_signal(int signal)
{
    (void)signal;
    stop.level = SESSION_STOP_NOW;
}

static enum error_class read_streams(struct watching *watching, struct status_stream **streams, size_t *count)
{
    const struct session_options options = {
        .conninfo = watching->settings->postgres, .application_name = "boxrelay/status", .stop = &stop};
    struct error *error = &watching->error;
    if (!watching->session && session_open(&options, &watching->session, error) != ERROR_NONE)
        return error->class;
    if (migrate_check(watching->session, error) != ERROR_NONE)
        return error->class;
    if (status_read(watching->session, streams, count, error) != ERROR_NONE)
        return error->class;
    status_text_mark_unused(*streams, *count, watching->settings);
    return ERROR_NONE;
}

/* After a failure the next reading takes a new connection, and what was read before it stays. */
static void look(struct watching *watching)
{
    struct status_stream *streams = NULL;
    size_t count = 0;
    watching->error = (struct error){.class = ERROR_NONE};
    if (read_streams(watching, &streams, &count) != ERROR_NONE) {
        session_close(&watching->session);
        return;
    }
    free(watching->streams);
    watching->streams = streams;
    watching->count = count;
    clock_format(clock_unix_ms(), false, watching->read_at);
}

static void print_text(const struct watching *watching, const char *now)
{
    char interval[UNITS_TEXT_SIZE];
    units_duration_format(watching->interval_ms, interval);
    if (watching->in_place)
        fputs("\033[H\033[J", stdout);
    printf("%sboxrelay status at %s, every %s%s\n\n", say_style(stdout, SAY_BOLD), now, interval,
           say_style(stdout, SAY_PLAIN));
    if (watching->error.class != ERROR_NONE) {
        say_wrapped(stdout, 2, "%scannot read the status%s: %s [%s]", say_style(stdout, SAY_BAD),
                    say_style(stdout, SAY_PLAIN), watching->error.text, watching->error.code);
        if (watching->error.hint[0])
            say_wrapped(stdout, 4, "  what to do: %s", watching->error.hint);
        printf(watching->read_at[0] ? "\nAs it was at %s:\n" : "%s", watching->read_at);
    }
    if (watching->read_at[0])
        status_text_print(watching->streams, watching->count, stdout);
    if (!watching->in_place)
        putchar('\n');
}

static void print_json(const struct watching *watching, const char *now)
{
    json_t *line = json_object();
    json_object_set_new(line, "at", json_string(now));
    if (watching->error.class == ERROR_NONE) {
        json_object_set_new(line, "streams", status_text_list(watching->streams, watching->count));
    } else {
        json_object_set_new(line, "error_code", json_string(watching->error.code));
        json_object_set_new(line, "error_text", json_string(watching->error.text));
    }
    json_dumpf(line, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
    putchar('\n');
    json_decref(line);
}

static void wait_interval(int64_t interval_ms)
{
    int64_t until_ms = clock_monotonic_ms() + interval_ms;
    while (stop.level == SESSION_STOP_NONE && clock_monotonic_ms() < until_ms)
        usleep(SLEEP_SLICE_MS * 1000);
}

static enum exit_code run(struct watching *watching)
{
    while (stop.level == SESSION_STOP_NONE) {
        char now[CLOCK_TEXT_SIZE];
        look(watching);
        if (stop.level != SESSION_STOP_NONE)
            break;
        if (watching->error.class == ERROR_CONFIG && !watching->read_at[0])
            return say_error(&watching->error, "cannot read the status");
        clock_format(clock_unix_ms(), false, now);
        (watching->json ? print_json : print_text)(watching, now);
        if (fflush(stdout) != 0)
            return EXIT_FAILED;
        wait_interval(watching->interval_ms);
    }
    return EXIT_OK;
}

enum exit_code status_watch(const struct invocation *invocation, int64_t interval_ms)
{
    struct watching watching = {
        .interval_ms = interval_ms,
        .json = command_has(invocation, "--json"),
    };
    struct settings *settings;
    enum exit_code code = command_settings(invocation, SETTINGS_NEED_POSTGRES, &settings);
    if (code != EXIT_OK)
        return code;
    const struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    watching.settings = settings;
    watching.in_place = !watching.json && isatty(STDOUT_FILENO);
    code = run(&watching);
    session_close(&watching.session);
    free(watching.streams);
    settings_free(&settings);
    return code;
}

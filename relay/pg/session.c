#include "pg/session.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "session_internal.h"

enum { PREPARED_MAX = 16, WAIT_SLICE_MS = 100 };

struct session {
    PGconn *connection;
    const struct session_stop *stop;
    const char *prepared[PREPARED_MAX]; /* statement i is named "relay_<i>" on the server */
    int prepared_count;
    int warnings; /* counted since it was last set to 0 */
    char warning[256];
    bool copy_begins;   /* the next message of COPY carries its head */
    int error_position; /* of the last failure, in characters from 1; 0: the server named none */
};

static int stop_level(const struct session_stop *stop) { return stop ? stop->level : SESSION_STOP_NONE; }

static void note_notice(void *opaque, const PGresult *notice)
{
    struct session *session = opaque;
    const char *severity = PQresultErrorField(notice, PG_DIAG_SEVERITY_NONLOCALIZED);
    const char *message = PQresultErrorField(notice, PG_DIAG_MESSAGE_PRIMARY);
    if (!severity || strcmp(severity, "WARNING") != 0)
        return;
    session->warnings++;
    snprintf(session->warning, sizeof session->warning, "%s", message ? message : "");
}

#define STANDBY "add target_session_attrs=read-write and all hosts to \"postgres\""
#define MISSING "boxrelay migrate verify tells what is missing or changed in schema relay, and how to mend it"

/* What to do, where the SQLSTATE alone tells and the server has no hint of its own. */
static void advise(struct error *error)
{
    static const struct {
        const char *sqlstate, *hint;
    } advices[] = {
        {"42501", "the user of \"postgres\" needs the rights of role relay_daemon (for migrations: relay_owner): "
                  "GRANT relay_daemon TO ...; boxrelay migrate print --with-grants makes the roles"},
        {"25006", STANDBY},
        {"3F000", MISSING},
        {"42P01", MISSING},
        {"42703", MISSING},
        {"42883", MISSING},
        {"53100", "free or add disk space on the server; the relay goes on by itself"},
        {"53300", "raise max_connections, or end sessions; the relay goes on by itself"},
    };
    for (size_t i = 0; i < COUNT_OF(advices); i++)
        if (strcmp(error->code, advices[i].sqlstate) == 0)
            (void)error_hint(error, "%s", advices[i].hint);
}

/* Never PQerrorMessage of a result: it carries DETAIL, which may hold a row's values. */
static enum error_class fail_result(const PGresult *result, struct error *error)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *hint = PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);
    error_set(error, sqlstate_class(sqlstate), sqlstate ? sqlstate : "CONNECTION_LOST", "PostgreSQL: %s",
              message ? message : PQresultErrorMessage(result));
    if (hint)
        return error_hint(error, "%s", hint);
    advise(error);
    return error->class;
}

static enum error_class fail_connection(struct session *session, struct error *error)
{
    return error_set(error, ERROR_RECONNECT, "CONNECTION_LOST", "PostgreSQL: %s", PQerrorMessage(session->connection));
}

static enum error_class fail_silent(struct session *session, struct error *error)
{
    const char *host = PQhost(session->connection), *port = PQport(session->connection);
    error_set(error, ERROR_RECONNECT, "NO_ANSWER", "PostgreSQL at %s, port %s, does not answer", host ? host : "?",
              port ? port : "?");
    return error_hint(error,
                      "see that the server is neither stopped nor overloaded, that the port is its own, and that "
                      "no firewall in between is silent");
}

/* Waits for `events` on the socket. RETRY when stopping (from `level` on), RECONNECT past the deadline. */
static enum error_class wait_socket(struct session *session, short events, int64_t deadline_ms, int level,
                                    struct error *error)
{
    for (;;) {
        if (stop_level(session->stop) >= level)
            return error_set(error, ERROR_RETRY, "STOPPING", "stopping");
        int64_t left = deadline_ms - clock_monotonic_ms();
        if (left <= 0)
            return fail_silent(session, error);
        struct pollfd fd = {.fd = PQsocket(session->connection), .events = events};
        int ready = poll(&fd, 1, (int)(left < WAIT_SLICE_MS ? left : WAIT_SLICE_MS));
        if (ready > 0)
            return ERROR_NONE;
        if (ready < 0 && errno != EINTR)
            return error_set(error, ERROR_RECONNECT, "CONNECTION_LOST", "poll: %s", strerror(errno));
    }
}

/* libpq's lines, one for each address that was tried, without the question that it asks behind each. */
static void take_message(const char *from, char message[ERROR_TEXT_MAX])
{
    size_t length = 0;
    message[0] = '\0';
    for (const char *line = from; *line; line += strspn(line, "\n")) {
        size_t span = strcspn(line, "\n");
        if (line[0] != '\t' && length < ERROR_TEXT_MAX - 1)
            length += (size_t)snprintf(message + length, ERROR_TEXT_MAX - length, "%s%.*s", length ? "; " : "",
                                       (int)span, line);
        line += span;
    }
}

/* libpq gives no SQLSTATE for a refused connection, only the server's words: PostgreSQL docs, PQerrorMessage. */
static enum error_class fail_connect(struct session *session, struct error *error)
{
    static const struct {
        const char *words, *hint;
    } causes[] = {
        {"certificate", "check sslmode, sslrootcert, sslcert and sslkey in \"postgres\""},
        {"does not support SSL", "turn SSL on in the server, or change sslmode in \"postgres\""},
        {"password authentication failed", "check the user and password of \"postgres\" in the configuration"},
        {"no password supplied", "set a password in \"postgres\", PGPASSWORD or a .pgpass file"},
        {"invalid response to SSL negotiation", "that port is not PostgreSQL's: check host and port of \"postgres\""},
        {"expected authentication request", "that port is not PostgreSQL's: check host and port of \"postgres\""},
        {"pg_hba.conf rejects", "the server's pg_hba.conf must allow this user, database and host"},
        {"no pg_hba.conf entry", "the server's pg_hba.conf must allow this user, database and host"},
        {"authentication failed", "check the user of \"postgres\" in the configuration and the server's pg_hba.conf"},
        {"does not exist", "check the database and user names of \"postgres\" in the configuration"},
        {"is not permitted to log in", "the role needs LOGIN"},
        {"permission denied", "the role needs CONNECT on the database"},
        {"invalid connection option", "\"postgres\" is a libpq connection string: see its parameter key words"},
    };
    char message[ERROR_TEXT_MAX];
    take_message(PQerrorMessage(session->connection), message);
    for (size_t i = 0; i < COUNT_OF(causes); i++) {
        /* "socket ... does not exist" style errors are an absent server: libpq quotes the path and asks a question. */
        if (strstr(message, causes[i].words) && !strstr(PQerrorMessage(session->connection), "Is the server running")) {
            error_set(error, ERROR_CONFIG, "CONNECT_REFUSED", "PostgreSQL: %s", message);
            return error_hint(error, "%s", causes[i].hint);
        }
    }
    error_set(error, ERROR_RECONNECT, "CONNECT_FAILED", "PostgreSQL: %s", message);
    return error_hint(error, "see that the server runs, and that host and port of \"postgres\" are right; boxrelay run "
                             "tries again by itself");
}

static enum error_class connect_wait(struct session *session, struct error *error)
{
    int64_t deadline_ms = clock_monotonic_ms() + SESSION_CONNECT_TIMEOUT_MS;
    PostgresPollingStatusType status = PGRES_POLLING_WRITING;
    while (status != PGRES_POLLING_OK) {
        if (status == PGRES_POLLING_FAILED || PQstatus(session->connection) == CONNECTION_BAD)
            return fail_connect(session, error);
        short events = status == PGRES_POLLING_READING ? POLLIN : POLLOUT;
        if (wait_socket(session, events, deadline_ms, SESSION_STOP_DRAIN, error))
            return error->class;
        status = PQconnectPoll(session->connection);
    }
    return ERROR_NONE;
}

/* Sends what is queued and waits until a result can be taken without blocking. */
static enum error_class wait_result(struct session *session, struct error *error)
{
    int64_t deadline_ms = clock_monotonic_ms() + SESSION_ANSWER_TIMEOUT_MS;
    for (;;) {
        int unsent = PQflush(session->connection);
        if (unsent < 0)
            return fail_connection(session, error);
        if (!unsent && !PQisBusy(session->connection))
            return ERROR_NONE;
        if (wait_socket(session, (short)(unsent ? POLLIN | POLLOUT : POLLIN), deadline_ms, SESSION_STOP_NOW, error))
            return error->class;
        if (!PQconsumeInput(session->connection))
            return fail_connection(session, error);
    }
}

static bool result_failed(const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    return status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_SINGLE_TUPLE;
}

/* Takes all results of what was sent; keeps the last good one for the caller, the first error for `error`. */
static enum error_class collect(struct session *session, PGresult **last, struct error *error)
{
    PGresult *kept = NULL;
    enum error_class class = ERROR_NONE;
    for (;;) {
        struct error ignored;
        enum error_class waited = wait_result(session, class ? &ignored : error);
        if (waited) {
            class = class ? class : waited;
            break;
        }
        PGresult *result = PQgetResult(session->connection);
        if (!result)
            break;
        if (result_failed(result) && !class) {
            const char *position = PQresultErrorField(result, PG_DIAG_STATEMENT_POSITION);
            session->error_position = position ? atoi(position) : 0;
            class = fail_result(result, error);
        }
        PQclear(kept);
        kept = result;
    }
    if (!class && !kept)
        class = fail_connection(session, error);
    if (class || !last) {
        PQclear(kept);
        kept = NULL;
    }
    if (last)
        *last = kept;
    return class;
}

enum error_class session_exec(struct session *session, const char *sql, int parameter_count,
                              const char *const *parameters, PGresult **result, struct error *error)
{
    if (result)
        *result = NULL;
    int sent = parameter_count == 0
                   ? PQsendQuery(session->connection, sql)
                   : PQsendQueryParams(session->connection, sql, parameter_count, NULL, parameters, NULL, NULL, 0);
    if (!sent)
        return fail_connection(session, error);
    return collect(session, result, error);
}

/* After a failure: takes what is left of the answer. The first error is the one that counts. */
static enum error_class drop_rest(struct session *session, struct error *error)
{
    struct error ignored;
    enum error_class left = collect(session, NULL, &ignored);
    (void)left;
    return error->class;
}

static enum error_class prepare(struct session *session, const char *sql, char name[16], struct error *error)
{
    int at = 0;
    while (at < session->prepared_count && session->prepared[at] != sql)
        at++;
    snprintf(name, 16, "relay_%d", at);
    if (at < session->prepared_count)
        return ERROR_NONE;
    assert(at < PREPARED_MAX);
    if (!PQsendPrepare(session->connection, name, sql, 0, NULL))
        return fail_connection(session, error);
    if (collect(session, NULL, error))
        return error->class;
    session->prepared[session->prepared_count++] = sql;
    return ERROR_NONE;
}

enum error_class session_exec_prepared(struct session *session, const char *sql, int parameter_count,
                                       const char *const *parameters, PGresult **result, struct error *error)
{
    char name[16];
    if (result)
        *result = NULL;
    if (prepare(session, sql, name, error))
        return error->class;
    if (!PQsendQueryPrepared(session->connection, name, parameter_count, parameters, NULL, NULL, 0))
        return fail_connection(session, error);
    return collect(session, result, error);
}

enum error_class session_exec_binary(struct session *session, const char *sql, int parameter_count,
                                     const struct session_bytes *parameters, PGresult **result, struct error *error)
{
    const char *values[SESSION_PARAMETERS_MAX];
    int sizes[SESSION_PARAMETERS_MAX], formats[SESSION_PARAMETERS_MAX];
    char name[16];
    assert(parameter_count <= SESSION_PARAMETERS_MAX);
    *result = NULL;
    for (int i = 0; i < parameter_count; i++) {
        values[i] = parameters[i].bytes;
        sizes[i] = parameters[i].size;
        formats[i] = 1;
    }
    if (prepare(session, sql, name, error))
        return error->class;
    if (!PQsendQueryPrepared(session->connection, name, parameter_count, values, sizes, formats, 1))
        return fail_connection(session, error);
    return collect(session, result, error);
}

enum error_class session_stream(struct session *session, const char *sql, int parameter_count,
                                const char *const *parameters, struct error *error)
{
    char name[16];
    if (prepare(session, sql, name, error))
        return error->class;
    if (!PQsendQueryPrepared(session->connection, name, parameter_count, parameters, NULL, NULL, 1) ||
        !PQsetSingleRowMode(session->connection))
        return fail_connection(session, error);
    return ERROR_NONE;
}

enum error_class session_next(struct session *session, PGresult **row, struct error *error)
{
    *row = NULL;
    for (;;) {
        if (wait_result(session, error))
            return error->class;
        PGresult *result = PQgetResult(session->connection);
        if (!result)
            return ERROR_NONE;
        if (PQresultStatus(result) == PGRES_SINGLE_TUPLE) {
            *row = result;
            return ERROR_NONE;
        }
        enum error_class class = result_failed(result) ? fail_result(result, error) : ERROR_NONE;
        PQclear(result);
        if (class)
            return drop_rest(session, error);
    }
}

static bool put_literal(struct session *session, FILE *out, const char *value)
{
    char *literal = PQescapeLiteral(session->connection, value, strlen(value));
    bool put = literal && fputs(literal, out) >= 0;
    PQfreemem(literal);
    return put;
}

/* The text of COPY around the query, with its $1.. replaced; NULL: no memory. */
static char *copy_text(struct session *session, const char *sql, int parameter_count, const char *const *parameters)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    bool good = fputs("COPY (", out) >= 0;
    for (const char *at = sql; *at && good; at++) {
        int number = *at == '$' ? atoi(at + 1) : 0;
        assert(number >= 0 && number <= parameter_count);
        if (number == 0) {
            fputc(*at, out);
        } else {
            good = put_literal(session, out, parameters[number - 1]);
            at += strspn(at + 1, "0123456789");
        }
    }
    good = fputs(") TO STDOUT (FORMAT binary)", out) >= 0 && good;
    good = fclose(out) == 0 && good;
    if (good)
        return text;
    free(text);
    return NULL;
}

enum error_class session_copy(struct session *session, const char *sql, int parameter_count,
                              const char *const *parameters, struct error *error)
{
    char *text = copy_text(session, sql, parameter_count, parameters);
    if (!text)
        return error_set(error, ERROR_RETRY, "NO_MEMORY", "no memory for a statement");
    int sent = PQsendQuery(session->connection, text);
    free(text);
    if (!sent)
        return fail_connection(session, error);
    if (wait_result(session, error))
        return error->class;
    PGresult *result = PQgetResult(session->connection);
    bool copying = PQresultStatus(result) == PGRES_COPY_OUT;
    if (!copying)
        fail_result(result, error);
    PQclear(result);
    session->copy_begins = true;
    return copying ? ERROR_NONE : drop_rest(session, error);
}

/* Strips the head of the first row; false: it is not what PostgreSQL documents. */
static bool strip_head(struct copied_row *row)
{
    static const char signature[11] = "PGCOPY\n\377\r\n"; /* with its NUL */
    enum { FLAGS_SIZE = 4, EXTENSION_SIZE = 4 };
    const size_t head = sizeof signature + FLAGS_SIZE + EXTENSION_SIZE;
    if (row->size < head || memcmp(row->bytes, signature, sizeof signature) != 0)
        return false;
    row->bytes += head;
    row->size -= head;
    return true;
}

/* Waits for the next message of COPY; *row without memory at its end. */
static enum error_class wait_copied(struct session *session, struct copied_row *row, struct error *error)
{
    int size;
    *row = (struct copied_row){0};
    while ((size = PQgetCopyData(session->connection, &row->memory, 1)) == 0) {
        if (wait_socket(session, POLLIN, clock_monotonic_ms() + SESSION_ANSWER_TIMEOUT_MS, SESSION_STOP_NOW, error))
            return error->class;
        if (!PQconsumeInput(session->connection))
            return fail_connection(session, error);
    }
    if (size == -2)
        return fail_connection(session, error);
    if (size == -1)
        return collect(session, NULL, error);
    row->bytes = row->memory;
    row->size = (size_t)size;
    return ERROR_NONE;
}

enum error_class session_copy_next(struct session *session, struct copied_row *row, struct error *error)
{
    enum { TRAILER_SIZE = 2 }; /* a field count of -1 */
    for (;;) {
        enum error_class class = wait_copied(session, row, error);
        if (class || !row->memory)
            return class;
        bool good = !session->copy_begins || strip_head(row);
        session->copy_begins = false;
        if (good && row->size > TRAILER_SIZE)
            return ERROR_NONE;
        PQfreemem(row->memory);
        if (!good)
            return error_set(error, ERROR_RECONNECT, "NO_ROW", "PostgreSQL's COPY does not begin as it should");
    }
}

enum error_class session_copy_in(struct session *session, const char *sql, struct error *error)
{
    if (!PQsendQuery(session->connection, sql))
        return fail_connection(session, error);
    if (wait_result(session, error))
        return error->class;
    PGresult *result = PQgetResult(session->connection);
    bool copying = PQresultStatus(result) == PGRES_COPY_IN;
    if (!copying)
        fail_result(result, error);
    PQclear(result);
    return copying ? ERROR_NONE : drop_rest(session, error);
}

enum error_class session_copy_put(struct session *session, const char *bytes, size_t size, struct error *error)
{
    enum { PUT_MAX = 1 << 20 };
    while (size > 0) {
        int part = size < PUT_MAX ? (int)size : PUT_MAX;
        int put = PQputCopyData(session->connection, bytes, part);
        if (put < 0)
            return fail_connection(session, error);
        if (put == 0 &&
            wait_socket(session, POLLOUT, clock_monotonic_ms() + SESSION_ANSWER_TIMEOUT_MS, SESSION_STOP_NOW, error))
            return error->class;
        bytes += put ? part : 0;
        size -= put ? (size_t)part : 0;
    }
    return ERROR_NONE;
}

enum error_class session_copy_end(struct session *session, struct error *error)
{
    int ended;
    while ((ended = PQputCopyEnd(session->connection, NULL)) == 0)
        if (wait_socket(session, POLLOUT, clock_monotonic_ms() + SESSION_ANSWER_TIMEOUT_MS, SESSION_STOP_NOW, error))
            return error->class;
    if (ended < 0)
        return fail_connection(session, error);
    return collect(session, NULL, error);
}

enum error_class session_commit_send(struct session *session, struct error *error)
{
    session->warnings = 0;
    if (!PQsendQuery(session->connection, "COMMIT") || PQflush(session->connection) < 0)
        return fail_connection(session, error);
    return ERROR_NONE;
}

enum error_class session_commit_take(struct session *session, struct error *error)
{
    PGresult *result;
    if (collect(session, &result, error))
        return error->class;
    char tag[32];
    snprintf(tag, sizeof tag, "%s", PQcmdStatus(result));
    PQclear(result);
    if (strcmp(tag, "COMMIT") != 0)
        return error_set(error, ERROR_RECREATE, "ROLLED_BACK", "PostgreSQL answered COMMIT with %s", tag);
    if (session->warnings) {
        error_set(error, ERROR_RECREATE, "COMMIT_WARNING", "PostgreSQL committed with a warning: %s", session->warning);
        return error_hint(error, "a commit that did not wait for the synchronous standby is not durable yet");
    }
    return ERROR_NONE;
}

enum error_class session_commit(struct session *session, struct error *error)
{
    return session_commit_send(session, error) ? error->class : session_commit_take(session, error);
}

enum error_class session_fail_standby(struct error *error)
{
    error_set(error, ERROR_RECONNECT, "STANDBY", "PostgreSQL is a standby; outboxes are published from the primary");
    return error_hint(error, STANDBY);
}

void session_rollback(struct session *session)
{
    struct error ignored;
    if (PQtransactionStatus(session->connection) != PQTRANS_IDLE) {
        enum error_class rolled_back = session_exec(session, "ROLLBACK", 0, NULL, NULL, &ignored);
        (void)rolled_back;
    }
}

/*
 * [T5] A stopped relay must not pin locks or xmin for long. Plans: one generic plan a statement, made with sorts and
 * sequential scans priced out, so that neither statistics nor a bulk load can turn the window or slice statement into
 * a scan of the whole table.
 */
static enum error_class pin_settings(struct session *session, struct error *error)
{
    char sql[1024];
    snprintf(sql, sizeof sql,
             "SET lock_timeout = %d; SET statement_timeout = %d; SET idle_in_transaction_session_timeout = %d; "
             "SET tcp_user_timeout = %d; SET plan_cache_mode = force_generic_plan; SET jit = off; "
             "SET max_parallel_workers_per_gather = 0; SET search_path = ''; SET client_encoding = 'UTF8'; "
             "SET enable_seqscan = off; SET enable_sort = off; SET enable_bitmapscan = off; SET row_security = off; "
             "SET bytea_output = 'hex'; SET datestyle = 'ISO'; SET intervalstyle = 'postgres'; "
             "SET timezone = 'UTC'; SET default_transaction_isolation = 'read committed'; "
             "SET standard_conforming_strings = on",
             SESSION_LOCK_TIMEOUT_MS, SESSION_STATEMENT_TIMEOUT_MS, SESSION_IDLE_IN_TRANSACTION_TIMEOUT_MS,
             SESSION_TCP_USER_TIMEOUT_MS);
    return session_exec(session, sql, 0, NULL, NULL, error);
}

enum error_class session_open(const struct session_options *options, struct session **out, struct error *error)
{
    /* The user's string is expanded last, so what it names wins over ours. */
    const char *const names[] = {"application_name",
                                 "keepalives_idle",
                                 "keepalives_interval",
                                 "keepalives_count",
                                 "tcp_user_timeout",
                                 "dbname",
                                 NULL};
    const char *const values[] = {options->application_name, "10", "5", "3", "10000", options->conninfo, NULL};
    *out = NULL;
    struct session *session = calloc(1, sizeof *session);
    if (!session)
        return error_set(error, ERROR_RECONNECT, "NO_MEMORY", "no memory for a PostgreSQL session");
    session->stop = options->stop;
    session->connection = PQconnectStartParams(names, values, 1);
    if (!session->connection) {
        error_set(error, ERROR_RECONNECT, "NO_MEMORY", "no memory for a PostgreSQL connection");
        goto fail;
    }
    if (PQstatus(session->connection) == CONNECTION_BAD) {
        fail_connect(session, error);
        goto fail;
    }
    if (connect_wait(session, error))
        goto fail;
    PQsetnonblocking(session->connection, 1);
    PQsetNoticeReceiver(session->connection, note_notice, session);
    if (pin_settings(session, error))
        goto fail;
    *out = session;
    return ERROR_NONE;
fail:
    session_close(&session);
    return error->class;
}

void session_close(struct session **session)
{
    if (!*session)
        return;
    PQfinish((*session)->connection);
    free(*session);
    *session = NULL;
}

int session_error_position(const struct session *session) { return session->error_position; }

int session_server_version(const struct session *session) { return PQserverVersion(session->connection); }

char *sql_for_relation(const char *sql, const char *kind, const char *relation)
{
    const size_t kind_length = strlen(kind);
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    for (const char *found; (found = strstr(sql, "relay.")); sql = found) {
        fprintf(out, "%.*s", (int)(found - sql), sql);
        found += strlen("relay.");
        bool quoted = *found == '"';
        const char *name = found + quoted;
        bool is_table = strncmp(name, kind, kind_length) == 0 && (!quoted || name[kind_length] == '#');
        if (is_table && quoted)
            fprintf(out, "relay.\"%s", relation + strlen("relay."));
        else if (is_table)
            fputs(relation, out);
        else
            fputs("relay.", out);
        found = is_table ? name + kind_length : found;
    }
    fputs(sql, out);
    fclose(out);
    return text;
}

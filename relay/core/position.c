#include "core/position.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* A cluster id is an outside text that becomes one word of one line: cut, and anything else than a word replaced. */
static void to_word(char out[POSITION_CLUSTER_ID_MAX + 1], const char *cluster_id)
{
    size_t length = 0;
    for (; length < POSITION_CLUSTER_ID_MAX && cluster_id[length]; length++)
        out[length] = cluster_id[length] > ' ' && cluster_id[length] <= '~' ? cluster_id[length] : '?';
    out[length] = '\0';
}

void position_first(struct position *out, const struct uuid *stream, const struct tick_name *tick,
                    const struct database_identity *database, const char *cluster_id)
{
    out->stream = *stream;
    out->tick = *tick;
    snapshot_first(&out->from);
    out->from_floor = 0;
    out->slicing = false;
    snapshot_first(&out->until);
    out->until_floor = out->last_seq = 0;
    to_word(out->cluster_id, cluster_id);
    out->database = *database;
    out->request = 0;
    out->topic_count = 0;
}

void position_close_window(struct position *position)
{
    assert(position->slicing);
    snapshot_copy(&position->from, &position->until);
    position->from_floor = position->until_floor;
    position->slicing = false;
}

int64_t position_floor(const struct position *position)
{
    return position->slicing ? position->until_floor : position->from_floor;
}

bool position_in_cluster(const struct position *position, const char *cluster_id)
{
    char word[POSITION_CLUSTER_ID_MAX + 1];
    to_word(word, cluster_id);
    return strcmp(position->cluster_id, word) == 0;
}

void position_copy(struct position *to, const struct position *from)
{
    assert(from->topic_count <= POSITION_TOPICS_MAX);
    to->stream = from->stream;
    to->tick = from->tick;
    snapshot_copy(&to->from, &from->from);
    to->from_floor = from->from_floor;
    to->slicing = from->slicing;
    if (from->slicing)
        snapshot_copy(&to->until, &from->until);
    to->until_floor = from->until_floor;
    to->last_seq = from->last_seq;
    memmove(to->cluster_id, from->cluster_id, sizeof to->cluster_id);
    to->database = from->database;
    to->request = from->request;
    to->topic_count = from->topic_count;
    memmove(to->topics, from->topics, from->topic_count * sizeof from->topics[0]);
}

/* Kafka's rule: 1 to 249 of letters, digits, '.', '_' and '-', but not "." or ".." (Topic.validate). */
static bool topic_legal(const char *name, size_t length)
{
    static const char legal[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    if (length == 0 || length > POSITION_TOPIC_NAME_MAX)
        return false;
    for (size_t i = 0; i < length; i++)
        if (name[i] == '\0' || !strchr(legal, name[i]))
            return false;
    return name[0] != '.' || (length > 1 && !(length == 2 && name[1] == '.'));
}

/* Where `name` is, or where it belongs. */
static uint32_t topic_place(const struct position *position, const char *name)
{
    uint32_t low = 0, high = position->topic_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (strcmp(position->topics[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void forget_topics(struct position *position, int64_t oldest_ms)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < position->topic_count; i++) {
        if (position->topics[i].written_ms < oldest_ms)
            continue;
        if (kept != i)
            position->topics[kept] = position->topics[i];
        kept++;
    }
    position->topic_count = kept;
}

bool position_topic_written(struct position *position, const char *topic, int64_t now_ms, int64_t oldest_ms)
{
    assert(now_ms >= 0);
    size_t length = strlen(topic);
    if (!topic_legal(topic, length))
        return false;
    forget_topics(position, oldest_ms);
    uint32_t place = topic_place(position, topic);
    struct position_topic *at = &position->topics[place];
    if (place < position->topic_count && strcmp(at->name, topic) == 0) {
        /* A clock that was set back must not make a topic look older than its last write. */
        at->written_ms = at->written_ms > now_ms ? at->written_ms : now_ms;
        return true;
    }
    if (position->topic_count == POSITION_TOPICS_MAX)
        return false;
    memmove(at + 1, at, (position->topic_count - place) * sizeof *at);
    memcpy(at->name, topic, length + 1);
    at->written_ms = now_ms;
    position->topic_count++;
    return true;
}

/* ---- writing ---- */

struct writer {
    char *at, *end;
};

static void put(struct writer *writer, const char *format, ...) PRINTF_LIKE(2, 3);
static void put(struct writer *writer, const char *format, ...)
{
    size_t room = (size_t)(writer->end - writer->at);
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(writer->at, room, format, arguments);
    va_end(arguments);
    assert(length >= 0 && (size_t)length < room);
    writer->at += length;
}

static void put_snapshot(struct writer *writer, const struct snapshot *snapshot)
{
    writer->at += snapshot_format(snapshot, writer->at, (size_t)(writer->end - writer->at));
}

static void put_head(struct writer *writer, const struct position *position)
{
    char stream[UUID_TEXT_SIZE], tick[UUID_TEXT_SIZE];
    uuid_format(&position->stream, stream);
    uuid_format(&position->tick.uuid, tick);
    put(writer, "boxrelay position %d\nstream %s\ntick %" PRId64 " %s\n", POSITION_FORMAT, stream,
        position->tick.number, tick);
}

static void put_window(struct writer *writer, const struct position *position)
{
    put(writer, "from ");
    put_snapshot(writer, &position->from);
    put(writer, " %" PRId64 "\n", position->from_floor);
    if (!position->slicing)
        return;
    put(writer, "until ");
    put_snapshot(writer, &position->until);
    put(writer, " %" PRId64 " %" PRId64 "\n", position->until_floor, position->last_seq);
}

size_t position_format(const struct position *position, char *text, size_t size)
{
    assert(size >= POSITION_TEXT_MAX);
    assert(position->tick.number >= 0 && position->request >= 0 && position->topic_count <= POSITION_TOPICS_MAX);
    assert(position->from_floor >= 0 && position->until_floor >= 0);
    assert(!position->slicing || (position->last_seq >= 0 && snapshot_follows(&position->from, &position->until)));
    struct writer writer = {text, text + size};
    put_head(&writer, position);
    put_window(&writer, position);
    put(&writer, "cluster %s\ndatabase %" PRIu64 " %" PRIu32 " %" PRIu32 "\nrequest %" PRId64 "\n",
        position->cluster_id, position->database.system_identifier, position->database.database_oid,
        position->database.timeline, position->request);
    for (uint32_t i = 0; i < position->topic_count; i++)
        put(&writer, "topic %s %" PRId64 "\n", position->topics[i].name, position->topics[i].written_ms);
    put(&writer, "end\n");
    return (size_t)(writer.at - text);
}

/* ---- reading: lengths first, and nothing is taken that position_format would not write ---- */

struct reader {
    const char *at, *end;    /* what follows the current line */
    const char *word, *stop; /* what is left of the current line, without its newline */
    uint32_t line;           /* number of the current line, from 1 */
    struct error *error;
};

static bool refuse(struct reader *reader, const char *problem)
{
    error_set(reader->error, ERROR_INTEGRITY, "POSITION_FORMAT", "the position record, line %" PRIu32 ": %s",
              reader->line, problem);
    return false;
}

static bool next_line(struct reader *reader)
{
    reader->line++;
    size_t left = (size_t)(reader->end - reader->at);
    const char *newline = left > 0 ? memchr(reader->at, '\n', left) : NULL;
    if (!newline)
        return refuse(reader, left > 0 ? "the line is cut off" : "the record ends before its line \"end\"");
    reader->word = reader->at;
    reader->stop = newline;
    reader->at = newline + 1;
    return true;
}

static bool take_text(struct reader *reader, const char *text)
{
    size_t length = strlen(text);
    if ((size_t)(reader->stop - reader->word) < length || memcmp(reader->word, text, length) != 0)
        return false;
    reader->word += length;
    return true;
}

/* The next word, up to a blank or the end of the line; may be empty. */
static const char *take_word(struct reader *reader, size_t *length)
{
    const char *word = reader->word;
    while (reader->word < reader->stop && *reader->word != ' ')
        reader->word++;
    *length = (size_t)(reader->word - word);
    return word;
}

static bool take_number(struct reader *reader, uint64_t max, uint64_t *out)
{
    size_t length;
    const char *word = take_word(reader, &length);
    uint64_t value = 0;
    if (length == 0 || (word[0] == '0' && length > 1))
        return false;
    for (size_t i = 0; i < length; i++) {
        uint64_t digit = (uint64_t)(word[i] - '0');
        if (word[i] < '0' || word[i] > '9' || digit > max || value > (max - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *out = value;
    return true;
}

static bool take_signed(struct reader *reader, int64_t *out)
{
    uint64_t value;
    bool taken = take_number(reader, INT64_MAX, &value);
    if (taken)
        *out = (int64_t)value;
    return taken;
}

static bool take_u32(struct reader *reader, uint32_t *out)
{
    uint64_t value;
    bool taken = take_number(reader, UINT32_MAX, &value);
    if (taken)
        *out = (uint32_t)value;
    return taken;
}

static bool take_uuid(struct reader *reader, struct uuid *out)
{
    size_t length;
    const char *word = take_word(reader, &length);
    return uuid_parse(word, length, out);
}

static bool take_snapshot(struct reader *reader, struct snapshot *out)
{
    size_t length;
    const char *word = take_word(reader, &length);
    return snapshot_parse(word, length, out);
}

static bool at_end(const struct reader *reader) { return reader->word == reader->stop; }

static bool read_head(struct reader *reader, struct position *out)
{
    uint64_t format;
    if (!next_line(reader))
        return false;
    if (!take_text(reader, "boxrelay position ") || !take_number(reader, INT32_MAX, &format) || !at_end(reader))
        return refuse(reader, "not \"boxrelay position <format>\"");
    if (format != POSITION_FORMAT)
        return refuse(reader, "written in a format that this version of boxrelay does not know; run the version that "
                              "wrote it");
    if (!next_line(reader))
        return false;
    if (!take_text(reader, "stream ") || !take_uuid(reader, &out->stream) || !at_end(reader))
        return refuse(reader, "not \"stream <uuid>\"");
    if (!next_line(reader))
        return false;
    if (!take_text(reader, "tick ") || !take_signed(reader, &out->tick.number) || !take_text(reader, " ") ||
        !take_uuid(reader, &out->tick.uuid) || !at_end(reader))
        return refuse(reader, "not \"tick <number> <uuid>\"");
    return true;
}

/* Leaves the reader on the line "cluster", which tells whether "until" was there. */
static bool read_window(struct reader *reader, struct position *out)
{
    if (!next_line(reader))
        return false;
    if (!take_text(reader, "from ") || !take_snapshot(reader, &out->from) || !take_text(reader, " ") ||
        !take_signed(reader, &out->from_floor) || !at_end(reader))
        return refuse(reader, "not \"from <snapshot> <floor>\"");
    if (!next_line(reader))
        return false;
    out->slicing = take_text(reader, "until ");
    out->until_floor = out->last_seq = 0;
    if (!out->slicing)
        return true;
    if (!take_snapshot(reader, &out->until) || !take_text(reader, " ") || !take_signed(reader, &out->until_floor) ||
        !take_text(reader, " ") || !take_signed(reader, &out->last_seq) || !at_end(reader))
        return refuse(reader, "not \"until <snapshot> <floor> <last seq>\"");
    if (!snapshot_follows(&out->from, &out->until))
        return refuse(reader, "the window ends before it begins");
    return next_line(reader);
}

static bool read_identity(struct reader *reader, struct position *out)
{
    size_t length = 0;
    const char *cluster = take_text(reader, "cluster ") ? take_word(reader, &length) : NULL;
    if (!cluster || !at_end(reader) || length > POSITION_CLUSTER_ID_MAX)
        return refuse(reader, "not \"cluster <Kafka cluster id>\"");
    for (size_t i = 0; i < length; i++)
        if (cluster[i] <= ' ' || cluster[i] > '~')
            return refuse(reader, "the cluster id is no printable word");
    memcpy(out->cluster_id, cluster, length);
    out->cluster_id[length] = '\0';
    if (!next_line(reader))
        return false;
    struct database_identity *database = &out->database;
    if (!take_text(reader, "database ") || !take_number(reader, UINT64_MAX, &database->system_identifier) ||
        !take_text(reader, " ") || !take_u32(reader, &database->database_oid) || !take_text(reader, " ") ||
        !take_u32(reader, &database->timeline) || !at_end(reader))
        return refuse(reader, "not \"database <system identifier> <oid> <timeline>\"");
    if (!next_line(reader))
        return false;
    if (!take_text(reader, "request ") || !take_signed(reader, &out->request) || !at_end(reader))
        return refuse(reader, "not \"request <number>\"");
    return true;
}

static bool read_topic(struct reader *reader, struct position *out)
{
    size_t length;
    if (out->topic_count == POSITION_TOPICS_MAX)
        return refuse(reader, "more topics than a position can hold");
    struct position_topic *topic = &out->topics[out->topic_count];
    const char *name = take_word(reader, &length);
    if (!topic_legal(name, length) || !take_text(reader, " ") || !take_signed(reader, &topic->written_ms) ||
        !at_end(reader))
        return refuse(reader, "not \"topic <name> <unix ms>\"");
    memcpy(topic->name, name, length);
    topic->name[length] = '\0';
    if (out->topic_count > 0 && strcmp(topic[-1].name, topic->name) >= 0)
        return refuse(reader, "the topics are not in rising order");
    out->topic_count++;
    return true;
}

static bool read_topics(struct reader *reader, struct position *out)
{
    out->topic_count = 0;
    for (;;) {
        if (!next_line(reader))
            return false;
        if (!take_text(reader, "topic "))
            break;
        if (!read_topic(reader, out))
            return false;
    }
    if (!take_text(reader, "end") || !at_end(reader))
        return refuse(reader, "neither \"topic <name> <unix ms>\" nor \"end\"");
    return reader->at == reader->end || refuse(reader, "bytes follow the line \"end\"");
}

enum error_class position_parse(const char *text, size_t length, struct position *out, struct error *error)
{
    struct reader reader = {.at = text, .end = text + length, .error = error};
    if (length > POSITION_TEXT_MAX)
        return error_set(error, ERROR_INTEGRITY, "POSITION_FORMAT",
                         "the position record has %zu bytes, at most %d are "
                         "possible",
                         length, (int)POSITION_TEXT_MAX);
    bool read = read_head(&reader, out) && read_window(&reader, out) && read_identity(&reader, out) &&
                read_topics(&reader, out);
    return read ? ERROR_NONE : ERROR_INTEGRITY;
}

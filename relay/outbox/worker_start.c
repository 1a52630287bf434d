/* From a session to a position that may be published from: connect, new producer, barrier, read back, compare. */
#include <assert.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "worker.h"

struct tick_known worker_known(const struct worker *worker)
{
    return (struct tick_known){.known = worker->has_known,
                               .name = worker->known,
                               .snapshot = worker->known_snapshot,
                               .offset = worker->position_offset};
}

void worker_set_known(struct worker *worker)
{
    worker->has_known = true;
    worker->known = worker->position->tick;
    snapshot_copy(worker->known_snapshot, &worker->position->from);
}

/* [L2]: an instance that would refuse must not fence a healthy leader, so all of this comes before init. */
enum error_class worker_connect(struct worker *worker)
{
    struct error *error = &worker->error;
    const struct session_options options = {.conninfo = worker->service->conninfo,
                                            .application_name = worker->application_name,
                                            .stop = &worker->session_stop};
    worker->has_last_full = false;
    worker->ceiling = INT64_MAX;
    if (!worker->session && session_open(&options, &worker->session, error))
        return error->class;
    if (session_identity(worker->session, &worker->database, error))
        return error->class;
    if (catalog_claim(worker->session, worker->service->name, error) ||
        tick_ring_read(worker->session, &worker->stream.uuid, &worker->ring, error))
        return error->class;
    return start_check_database(worker->stream.name, &worker->ring, &worker->database, error);
}

static enum error_class open_producer(struct worker *worker)
{
    const char *topics[POSITION_TOPICS_MAX + 1] = {worker->service->positions_topic};
    size_t count = 1;
    for (uint32_t i = 0; i < worker->position->topic_count; i++)
        topics[count++] = worker->position->topics[i].name;
    const struct producer_options options = {
        .settings = worker->service->kafka,
        .stream = worker->stream.name,
        .transactional_id = worker->transactional_id,
        .client_id = worker->application_name,
        .isolate = worker->publisher.isolate,
        .topics = topics,
        .topic_count = count,
        .stop = &worker->kafka_stop,
    };
    return producer_open(&options, clock_monotonic_ms() + WORKER_START_MS_MAX, &worker->producer, &worker->error);
}

/* The registry has asked for the partition already; another instance's metadata or ours may be a moment behind. */
static enum error_class check_partition(struct worker *worker)
{
    struct topic_facts facts;
    struct error *error = &worker->error;
    enum error_class class = producer_topic(worker->producer, worker->service->positions_topic, true, &facts, error);
    if (class == ERROR_NONE && worker->stream.partition >= facts.partition_count)
        class = error_set(error, ERROR_CONFIG, "NO_PARTITION", "topic \"%s\" has no partition %d yet",
                          worker->service->positions_topic, (int)worker->stream.partition);
    worker->topic_missing = class == ERROR_CONFIG;
    return class;
}

static enum error_class read_position(struct worker *worker, const struct uuid *barrier, bool *found)
{
    const struct positions_read read = {
        .settings = worker->service->kafka,
        .topic = worker->service->positions_topic,
        .partition = worker->stream.partition,
        .stream = worker->stream.uuid,
        .barrier = *barrier,
        .from_offset = -1,
        .deadline_ms = clock_monotonic_ms() + WORKER_START_MS_MAX,
        .stop = &worker->kafka_stop,
    };
    return positions_read_back(&read, found, worker->position, &worker->position_offset, &worker->error);
}

static enum error_class commit_barrier(struct worker *worker, size_t position_length)
{
    worker->barrier = uuid_random();
    return positions_barrier(worker->producer, worker->service->positions_topic, worker->stream.partition,
                             &worker->stream.uuid, &worker->barrier, worker->owner,
                             position_length ? worker->text : NULL, position_length, &worker->error);
}

#ifdef BOXRELAY_FAULTS
/* Planted bug: the position is read before init_transactions, so a predecessor's last commit can come after it. */
static enum error_class read_before_init(struct worker *worker)
{
    char id[sizeof worker->transactional_id];
    snprintf(id, sizeof id, "%s", worker->transactional_id);
    snprintf(worker->transactional_id, sizeof worker->transactional_id, "%.200s-planted", id);
    enum error_class class = open_producer(worker);
    if (!class)
        class = commit_barrier(worker, 0);
    if (!class)
        class = read_position(worker, &worker->barrier, &worker->planted_found);
    producer_close(&worker->producer);
    snprintf(worker->transactional_id, sizeof worker->transactional_id, "%s", id);
    return class;
}
#endif

enum error_class worker_open(struct worker *worker)
{
    assert(!worker->producer);
#ifdef BOXRELAY_FAULTS
    if (fault_planted("position_before_init") && read_before_init(worker))
        return worker->error.class;
    if (worker->planted_kept) {
        worker->producer = worker->planted_kept;
        worker->planted_kept = NULL;
        return check_partition(worker);
    }
#endif
    fault_point("after_early_position");
    if (open_producer(worker) || check_partition(worker))
        return worker->error.class;
    return ERROR_NONE;
}

enum error_class worker_barrier(struct worker *worker) { return commit_barrier(worker, 0); }

/* The ticks are read again after the position: the predecessor may have written both since worker_connect. */
enum error_class worker_read_back(struct worker *worker, bool *no_position, bool *newer)
{
    bool found;
#ifdef BOXRELAY_FAULTS
    if (fault_planted("position_before_init"))
        found = worker->planted_found;
    else
#endif
        if (read_position(worker, &worker->barrier, &found))
        return worker->error.class;
    if (tick_ring_read(worker->session, &worker->stream.uuid, &worker->ring, &worker->error))
        return worker->error.class;
    const struct start_facts facts = {.stream = worker->stream.name,
                                      .stream_uuid = worker->stream.uuid,
                                      .ring = &worker->ring,
                                      .database = worker->database,
                                      .cluster_id = producer_cluster_id(worker->producer),
                                      .position = found ? worker->position : NULL,
                                      .position_offset = worker->position_offset};
    enum start_verdict verdict = start_decide(&facts, &worker->error);
    if (verdict == START_REFUSED)
        return worker->error.class;
    const struct tick *newest = tick_ring_newest(&worker->ring);
    worker->newest = newest->name;
    *no_position = verdict == START_FIRST;
    if (*no_position)
        return ERROR_NONE;
    *newer = !newest->known || newest->known_name.number < worker->position->tick.number;
    worker->floor = position_floor(worker->position);
    window_reader_forget(worker->reader);
    worker_set_known(worker);
    view_position(&worker->view, worker->position);
    log_info("position read back", LOG_STR("stream", worker->stream.name),
             LOG_INT("tick", worker->position->tick.number), LOG_INT("offset", worker->position_offset));
    return ERROR_NONE;
}

/* [K5] Position 0 goes out together with a barrier; from then on a missing position is a lost one. */
enum error_class worker_first(struct worker *worker)
{
    position_first(worker->position, &worker->stream.uuid, &worker->newest, &worker->database,
                   producer_cluster_id(worker->producer));
    size_t length = position_format(worker->position, worker->text, POSITION_TEXT_MAX);
    if (commit_barrier(worker, length))
        return worker->error.class;
    worker->position_offset = 0;
    worker->floor = position_floor(worker->position);
    window_reader_forget(worker->reader);
    worker_set_known(worker);
    view_position(&worker->view, worker->position);
    log_info("first start: everything in the outbox will be published", LOG_STR("stream", worker->stream.name));
    return ERROR_NONE;
}

enum error_class worker_know(struct worker *worker)
{
    const struct tick_known known = worker_known(worker);
    return tick_know(worker->session, &worker->stream.uuid, &worker->newest, &known, &worker->error);
}

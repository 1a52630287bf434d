/* The models behind simulation.h; included by test_simulation.c alone. */
#include <assert.h>
#include <string.h>

#include "simulation.h"

static struct model_record topic_records[RECORDS_MAX], position_records[RECORDS_MAX];

void world_init(struct world *world, uint64_t seed)
{
    struct postgres *postgres = &world->postgres;
    world->random.state = seed;
    world->verdict = FINE;
    world->serial = 0;
    memset(world->last_of_key, 0xff, sizeof world->last_of_key);
    memset(postgres->transactions, 0, sizeof postgres->transactions);
    memset(&postgres->ring, 0, sizeof postgres->ring);
    postgres->next_xid = 3;
    postgres->next_seq = 1;
    postgres->lsn = postgres->flushed = 0;
    postgres->row_count = 0;
    postgres->epoch = 1;
    postgres->identity = (struct database_identity){1, 1, 1};
    postgres->ring.count = 1;
    postgres->ring.ticks[0].name.uuid = world_uuid(world);
    postgres->ring.ticks[0].database = postgres->identity;
    world->kafka = (struct kafka){.topic.records = topic_records, .positions.records = position_records};
}

void world_condemn(struct world *world, enum verdict verdict)
{
    if (world->verdict == FINE)
        world->verdict = verdict;
}

struct uuid world_uuid(struct world *world)
{
    struct uuid uuid = {{0}};
    world->serial++;
    memcpy(uuid.bytes, &world->serial, sizeof world->serial);
    return uuid;
}

/* ---- PostgreSQL ---- */

static bool running(const struct postgres *postgres, uint64_t xid)
{
    return postgres->transactions[xid].fate == RUNNING || postgres->transactions[xid].fate == PREPARED;
}

static uint32_t locked_keys(const struct postgres *postgres)
{
    uint32_t keys = 0;
    for (uint64_t xid = 3; xid < postgres->next_xid; xid++)
        if (running(postgres, xid))
            keys |= postgres->transactions[xid].locked;
    return keys;
}

static uint64_t begin(struct postgres *postgres)
{
    uint64_t xid = postgres->next_xid++;
    assert(xid < XIDS_MAX);
    postgres->transactions[xid] = (struct transaction){.fate = RUNNING, .first_lsn = ++postgres->lsn};
    return xid;
}

static void end(struct postgres *postgres, uint64_t xid, bool commit, bool flush)
{
    postgres->transactions[xid].fate = commit ? COMMITTED : ABORTED;
    postgres->transactions[xid].end_lsn = ++postgres->lsn;
    if (flush)
        postgres->flushed = postgres->lsn;
}

/* The writers' contract: the aggregate's lock first, then the row; so a key's rows commit in the order of their seq. */
static void insert(struct world *world, uint64_t xid)
{
    struct postgres *postgres = &world->postgres;
    int key = (int)random_below(&world->random, KEYS);
    uint32_t others = locked_keys(postgres) & ~postgres->transactions[xid].locked;
    bool open = postgres->transactions[xid].fate == RUNNING;
    if (!open || postgres->row_count == ROWS_MAX || (others >> key & 1))
        return;
    postgres->transactions[xid].locked |= 1u << key;
    postgres->rows[postgres->row_count++] =
        (struct model_row){.xid = xid, .seq = postgres->next_seq++, .lsn = ++postgres->lsn, .key = key};
}

static uint64_t some_running(struct world *world)
{
    struct postgres *postgres = &world->postgres;
    uint64_t found = 0;
    uint32_t count = 0;
    for (uint64_t xid = 3; xid < postgres->next_xid; xid++)
        if (running(postgres, xid) && random_below(&world->random, ++count) == 0)
            found = xid;
    return found;
}

static void finish(struct world *world, uint64_t xid)
{
    struct postgres *postgres = &world->postgres;
    struct transaction *transaction = &postgres->transactions[xid];
    if (transaction->fate == RUNNING && random_chance(&world->random, 6)) {
        transaction->fate = PREPARED; /* survives a crash, so its record is flushed */
        transaction->prepared = true;
        postgres->flushed = ++postgres->lsn;
        return;
    }
    end(postgres, xid, random_chance(&world->random, 75), random_chance(&world->random, 40));
}

void postgres_write(struct world *world, bool calm)
{
    struct postgres *postgres = &world->postgres;
    uint64_t xid = some_running(world);
    uint32_t action = random_below(&world->random, 100);
    if (calm && xid)
        end(postgres, xid, true, true);
    else if (calm || postgres->next_xid > XIDS_MAX - 100)
        return;
    else if (!xid || action < 25)
        insert(world, begin(postgres));
    else if (action < 50)
        insert(world, xid);
    else if (action < 90)
        finish(world, xid);
    else
        postgres->flushed += random_below(&world->random, (uint32_t)(postgres->lsn - postgres->flushed + 1));
}

/* What was not flushed never happened; an xid that no flushed record names is handed out again. */
void postgres_crash(struct world *world)
{
    struct postgres *postgres = &world->postgres;
    uint64_t last = 2;
    for (uint64_t xid = 3; xid < postgres->next_xid; xid++) {
        struct transaction *transaction = &postgres->transactions[xid];
        if (transaction->first_lsn <= postgres->flushed)
            last = xid;
        bool ended = transaction->fate >= COMMITTED && transaction->end_lsn <= postgres->flushed;
        if (!ended)
            transaction->fate = transaction->prepared ? PREPARED : ABORTED;
    }
    for (int i = 0; i < postgres->row_count; i++) {
        struct model_row *row = &postgres->rows[i];
        row->gone = row->gone || row->xid > last || postgres->transactions[row->xid].fate == ABORTED;
        if (row->published && (row->gone || postgres->transactions[row->xid].fate == PREPARED))
            world_condemn(world, PHANTOM);
    }
    postgres->next_xid = last + 1;
    postgres->lsn = postgres->flushed;
    postgres->epoch++;
}

void postgres_fail_over(struct world *world, const struct postgres *standby)
{
    static struct postgres before;
    struct postgres *postgres = &world->postgres;
    before = *postgres;
    *postgres = *standby;
    postgres->epoch = before.epoch;
    postgres->identity.timeline = before.identity.timeline + 1;
    for (int i = 0; i < postgres->row_count; i++)
        postgres->rows[i].published = before.rows[i].published;
    postgres_crash(world);
}

void postgres_snapshot(const struct postgres *postgres, struct snapshot *out)
{
    uint64_t xmax = 3;
    for (uint64_t xid = postgres->next_xid - 1; xid >= 3; xid--)
        if (!running(postgres, xid)) {
            xmax = xid + 1;
            break;
        }
    out->xmax.value = xmax;
    out->xip_count = 0;
    for (uint64_t xid = 3; xid < xmax; xid++)
        if (running(postgres, xid))
            out->xip[out->xip_count++].value = xid;
    out->xmin.value = out->xip_count ? out->xip[0].value : xmax;
}

bool postgres_visible(const struct postgres *postgres, const struct snapshot *snapshot, const struct model_row *row)
{
    return !row->gone && snapshot_done(snapshot, (struct xid8){row->xid}) &&
           postgres->transactions[row->xid].fate == COMMITTED;
}

bool postgres_tick(struct postgres *postgres, const struct tick_name *old, const struct tick *tick)
{
    const struct tick *newest = tick_ring_newest(&postgres->ring);
    if (newest->name.number != old->number || !uuid_equal(&newest->name.uuid, &old->uuid))
        return false;
    uint32_t slot = (uint32_t)(tick->name.number % TICK_RING_SLOTS);
    if (postgres->ring.count <= slot)
        postgres->ring.count = slot + 1;
    postgres->ring.ticks[slot] = *tick;
    end(postgres, begin(postgres), true, true);
    return true;
}

bool postgres_know(struct postgres *postgres, const struct tick_name *newest, const struct tick_name *known,
                   int64_t offset)
{
    for (uint32_t i = 0; i < postgres->ring.count; i++) {
        struct tick *tick = &postgres->ring.ticks[i];
        if (tick == tick_ring_newest(&postgres->ring) && tick->name.number == newest->number &&
            uuid_equal(&tick->name.uuid, &newest->uuid)) {
            tick->known = true;
            tick->known_name = *known;
            tick->known_offset = offset;
            end(postgres, begin(postgres), true, true);
            return true;
        }
    }
    return false;
}

/* ---- Kafka ---- */

static void settle_open(struct log *log, bool visible)
{
    for (; log->first_open < log->count; log->first_open++)
        log->records[log->first_open].state = visible ? VISIBLE : DROPPED;
}

int kafka_init(struct kafka *kafka)
{
    settle_open(&kafka->topic, false);
    settle_open(&kafka->positions, false);
    kafka->ongoing = false;
    return ++kafka->epoch;
}

static struct model_record *append(struct kafka *kafka, struct log *log, int epoch)
{
    if (epoch != kafka->epoch || log->count == RECORDS_MAX)
        return NULL;
    kafka->ongoing = true;
    struct model_record *record = &log->records[log->count++];
    record->state = OPEN;
    return record;
}

bool kafka_send(struct kafka *kafka, int epoch, int row)
{
    struct model_record *record = append(kafka, &kafka->topic, epoch);
    if (record)
        record->row = row;
    return record != NULL;
}

bool kafka_send_position(struct kafka *kafka, int epoch, int barrier, const char *text, size_t length)
{
    struct model_record *record = append(kafka, &kafka->positions, epoch);
    if (!record || length > sizeof record->text)
        return false;
    record->barrier = barrier;
    record->length = length;
    memcpy(record->text, text, length);
    return true;
}

/* A reader sees the record from now on. Rows of a key were written in the order of their place in `rows`. */
static void judge(struct world *world, int index)
{
    struct model_row *row = &world->postgres.rows[index];
    if (row->gone || world->postgres.transactions[row->xid].fate != COMMITTED)
        world_condemn(world, PHANTOM);
    if (row->published++)
        world_condemn(world, DUPLICATED);
    else if (index <= world->last_of_key[row->key])
        world_condemn(world, OUT_OF_ORDER);
    else
        world->last_of_key[row->key] = index;
}

bool kafka_commit(struct world *world, int epoch)
{
    struct kafka *kafka = &world->kafka;
    if (epoch != kafka->epoch)
        return false;
    for (int i = kafka->topic.first_open; i < kafka->topic.count; i++)
        judge(world, kafka->topic.records[i].row);
    settle_open(&kafka->topic, true);
    settle_open(&kafka->positions, true);
    kafka->ongoing = false;
    return true;
}

void kafka_late(struct kafka *kafka, int epoch)
{
    if (kafka->late_count < LATE_MAX)
        kafka->late[kafka->late_count++] = epoch;
}

/* Brokers before KIP-890's second part know an EndTxn only by its epoch: it ends whatever is open by then. */
void kafka_late_arrives(struct world *world)
{
    struct kafka *kafka = &world->kafka;
    if (kafka->late_count > 0 && kafka_commit(world, kafka->late[--kafka->late_count]))
        return;
}

const struct model_record *kafka_position(const struct kafka *kafka, int barrier, int64_t *offset)
{
    const struct log *log = &kafka->positions;
    int at = log->count - 1;
    while (barrier && at >= 0 && (log->records[at].barrier != barrier || log->records[at].state != VISIBLE))
        at--;
    for (; at >= 0; at--)
        if (log->records[at].state == VISIBLE && !log->records[at].barrier) {
            *offset = at;
            return &log->records[at];
        }
    return NULL;
}

int world_unpublished(const struct world *world)
{
    const struct postgres *postgres = &world->postgres;
    int count = 0;
    for (int i = 0; i < postgres->row_count; i++)
        count += !postgres->rows[i].gone && postgres->transactions[postgres->rows[i].xid].fate == COMMITTED &&
                 !postgres->rows[i].published;
    return count;
}

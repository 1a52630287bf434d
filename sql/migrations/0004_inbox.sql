-- Inbox tables: Kafka messages as rows, each idempotency id once, and where each partition of a topic stands.
-- Runs in one transaction, and may run again.

-- What an inbox is, set when it was made.
CREATE TABLE IF NOT EXISTS relay.subscription (
    stream uuid PRIMARY KEY REFERENCES relay.stream (uuid),
    payload text NOT NULL CONSTRAINT payload_is_json_text_or_bytes CHECK (payload IN ('json', 'text', 'bytes')),
    keyless_in_order boolean NOT NULL,
    lanes smallint NOT NULL CONSTRAINT lanes_are_1_to_1024 CHECK (lanes BETWEEN 1 AND 1024),
    started_at timestamptz
);
COMMENT ON TABLE relay.subscription IS 'A row for each inbox: what it takes';
COMMENT ON COLUMN relay.subscription.keyless_in_order IS
    'true: messages without a key keep the order of their partition. false: each is on its own';
COMMENT ON COLUMN relay.subscription.lanes IS 'Of partitions that are assigned for the first time from now on';
COMMENT ON COLUMN relay.subscription.started_at IS
    'When the policy for a first start was applied. Partitions found later start at their beginning';

-- Where new rows and new ids go. [I4] Each batch locks its row FOR SHARE, and what turns the rings updates it.
CREATE TABLE IF NOT EXISTS relay.ring (
    stream uuid PRIMARY KEY REFERENCES relay.stream (uuid),
    slot smallint NOT NULL DEFAULT 0 CONSTRAINT slot_is_in_the_ring CHECK (slot BETWEEN 0 AND 3),
    slot_since timestamptz NOT NULL DEFAULT clock_timestamp(),
    generation smallint NOT NULL DEFAULT 0 CONSTRAINT generation_is_in_the_ring CHECK (generation BETWEEN 0 AND 3),
    generation_since timestamptz NOT NULL DEFAULT clock_timestamp(),
    ids_since timestamptz
);
COMMENT ON TABLE relay.ring IS 'The open slot of each inbox, and the open generation of its ids';
COMMENT ON COLUMN relay.ring.ids_since IS 'Ids that were stored before are forgotten; NULL: none is. What is older is not read again';

-- [I7] A partition of a topic as read by an inbox. One whose offset moves back gets a new row with the next
-- generation: order is (generation, offset), and its lanes open only when the older generations are finished.
CREATE TABLE IF NOT EXISTS relay.source (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stream uuid NOT NULL REFERENCES relay.stream (uuid),
    topic text NOT NULL,
    partition integer NOT NULL CONSTRAINT partition_is_not_negative CHECK (partition >= 0),
    generation integer NOT NULL DEFAULT 0,
    lanes smallint NOT NULL CONSTRAINT lanes_are_1_to_1024 CHECK (lanes BETWEEN 1 AND 1024),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    UNIQUE (stream, topic, partition, generation)
);
COMMENT ON TABLE relay.source IS 'Every partition that an inbox reads or has read';
COMMENT ON COLUMN relay.source.finished_at IS 'All its messages are finished, and a newer generation is read';

-- The sources of an inbox whose lanes are open, in one row that is read at every take.
CREATE TABLE IF NOT EXISTS relay.open_source (
    inbox_table text PRIMARY KEY,
    stream uuid NOT NULL REFERENCES relay.stream (uuid),
    sources integer[] NOT NULL DEFAULT '{}',
    lanes smallint[] NOT NULL DEFAULT '{}',
    topics text[] NOT NULL DEFAULT '{}',
    partitions integer[] NOT NULL DEFAULT '{}'
);
COMMENT ON TABLE relay.open_source IS 'What relay.take looks at: follows from relay.source';

-- [I1] How far a source is stored: changed in the transaction of its rows. One row a source. The offset stands in the
-- key, so the newest version is found at once however many old ones a snapshot held elsewhere keeps alive.
CREATE TABLE IF NOT EXISTS relay.source_offset (
    source integer NOT NULL REFERENCES relay.source (id),
    next bigint NOT NULL CONSTRAINT next_is_not_negative CHECK (next >= 0),
    epoch bigint NOT NULL DEFAULT 0,
    owner text,
    witness_offset bigint,
    witness_time timestamptz,
    witness_checksum bigint,
    stored_rows bigint NOT NULL DEFAULT 0,
    stored_bytes bigint NOT NULL DEFAULT 0,
    stored_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (source, next)
) WITH (fillfactor = 60);
COMMENT ON TABLE relay.source_offset IS 'The offset that each source is to be read from next';
COMMENT ON COLUMN relay.source_offset.epoch IS 'Raised by each instance that takes the partition over: older ones cannot store';
COMMENT ON COLUMN relay.source_offset.witness_offset IS
    'The last record stored, to be found again at its place: its time, and a checksum of key and value';

-- Positions of lanes: messages of a lane with a smaller offset are finished or held. One row a lane, keyed as above:
-- next and change only rise, so the newest version is the last of its lane in the key. Written only under the lock of
-- the lane, which is an advisory one. No constraint, which the server would parse again for each message.
CREATE TABLE IF NOT EXISTS relay.lane (
    source integer NOT NULL REFERENCES relay.source (id),
    lane smallint NOT NULL,
    next bigint NOT NULL,
    change bigint NOT NULL DEFAULT 0,
    slot smallint NOT NULL,
    due_from timestamptz NOT NULL DEFAULT 'infinity',
    finished_rows bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (source, lane, next, change)
) WITH (fillfactor = 60);
COMMENT ON TABLE relay.lane IS 'How far each lane of a source is taken';
COMMENT ON COLUMN relay.lane.change IS 'Rises with every change of the held messages of the lane';
COMMENT ON COLUMN relay.lane.due_from IS
    'No held key of the lane is due earlier, infinity: none is held. Where to look from, past what a snapshot keeps alive';
COMMENT ON COLUMN relay.lane.finished_rows IS
    'Messages of the lane that were done or rejected: what was stored and is not finished waits';
COMMENT ON COLUMN relay.lane.slot IS 'No message of the lane behind its position is in an older slot of the ring';

-- Messages that left their lane before they were finished: delayed, leased, or behind one of their key. Sources are
-- of one inbox, so one table serves all. What is in a slot is copied before the slot is emptied.
CREATE TABLE IF NOT EXISTS relay.held (
    source integer NOT NULL REFERENCES relay.source (id),
    key_hash integer NOT NULL,
    kafka_offset bigint NOT NULL,
    lane smallint NOT NULL,
    seq bigint NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    reason text,
    slot smallint,
    record_time timestamptz,
    received_at timestamptz,
    id text,
    key text,
    key_bytes bytea,
    type text,
    headers text,
    headers_bytes bytea,
    payload text,
    payload_bytes bytea,
    PRIMARY KEY (source, key_hash, kafka_offset)
);
-- For relay.copy_held. Copied ones leave it.
CREATE INDEX IF NOT EXISTS held_slot ON relay.held (source, lane, slot) WHERE slot IS NOT NULL;
COMMENT ON TABLE relay.held IS 'Messages that were taken out of their lane and are not finished';
COMMENT ON COLUMN relay.held.slot IS 'Where the message is. NULL: it was copied into this row';

-- One row for each key that has or had held messages, written only under the lock of the lane. next only rises, so the
-- newest version is the last of its key. For the same reason the row stays when the last message of its key went, with
-- due_at NULL, until relay.forget_keys.
CREATE TABLE IF NOT EXISTS relay.held_key (
    source integer NOT NULL REFERENCES relay.source (id),
    key_hash integer NOT NULL,
    next bigint NOT NULL,
    lane smallint NOT NULL,
    due_at timestamptz,
    token bigint,
    ended_at timestamptz,
    PRIMARY KEY (source, key_hash, next)
) WITH (fillfactor = 60);
CREATE INDEX IF NOT EXISTS held_key_due ON relay.held_key (source, lane, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS held_key_token ON relay.held_key (token) WHERE token IS NOT NULL;
COMMENT ON TABLE relay.held_key IS 'When the held messages of each key may be taken. Keys with one hash wait for each other';
COMMENT ON COLUMN relay.held_key.next IS 'Held messages of the key with a smaller offset are finished';
COMMENT ON COLUMN relay.held_key.token IS 'Of the claim that has the first message until due_at';

-- Messages set aside: they could not be stored, or business code rejected them.
CREATE TABLE IF NOT EXISTS relay.dead (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    stream uuid NOT NULL REFERENCES relay.stream (uuid),
    class text NOT NULL,
    reason text NOT NULL,
    seq bigint,
    topic text NOT NULL,
    partition integer,
    kafka_offset bigint,
    message_id text,
    key text,
    key_bytes bytea,
    headers text,
    headers_bytes bytea,
    payload_bytes bytea,
    record_time timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    parked_behind uuid,
    failed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX IF NOT EXISTS dead_stream_failed_at ON relay.dead (stream, failed_at);
COMMENT ON TABLE relay.dead IS 'Dead letters. Read the view relay.dead_letter instead';

CREATE OR REPLACE VIEW relay.dead_letter AS
SELECT d.id, s.name AS stream, d.class, d.reason, d.seq, d.topic, d.partition, d.kafka_offset, d.message_id, d.key,
       d.key_bytes, d.headers, d.payload_bytes, d.attempts, d.parked_behind, d.failed_at
FROM relay.dead d
JOIN relay.stream s ON s.uuid = d.stream
WHERE s.dropped_at IS NULL;
-- As migration 1 made it, but that dead letters are counted.
CREATE OR REPLACE VIEW relay.status AS
SELECT s.name AS stream,
       CASE WHEN r.updated_at > clock_timestamp() - interval '30 seconds' THEN r.state ELSE 'unknown' END AS state,
       r.pending,
       r.pending_is_bound,
       CASE WHEN r.pending > 0 THEN greatest(clock_timestamp() - r.oldest_at, interval '0') END AS oldest_age,
       r.rows_per_second,
       (SELECT count(*) FROM relay.dead d WHERE d.stream = s.uuid) AS dead,
       0::bigint AS parked,
       s.paused_at,
       s.paused_by,
       s.paused_reason,
       r.leader,
       r.error_class,
       r.error_code,
       r.error_text,
       r.error_hint,
       r.updated_at
FROM relay.stream s
LEFT JOIN relay.stream_state r ON r.stream = s.uuid
WHERE s.dropped_at IS NULL;
COMMENT ON VIEW relay.dead_letter IS 'Messages that were given up, by policy or by business code';

-- The tables of one inbox. Names with a # cannot be the name of another inbox.
--   inbox          the messages: a ring of four slots by time
--   inbox#id       idempotency ids: a ring of four generations by time, each with an index of its own that is unique
CREATE OR REPLACE FUNCTION relay.make_inbox_tables(inbox_table text, payload text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path TO pg_catalog, pg_temp AS $relay$
DECLARE
    is_json constant text := CASE payload
        WHEN 'json' THEN ', CONSTRAINT payload_is_json CHECK (payload::jsonb IS NOT NULL OR payload IS NULL)'
        ELSE '' END;
BEGIN
    EXECUTE format($make$
        CREATE TABLE relay.%1$I (
            seq bigint GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME relay.%2$I CACHE 1 NO CYCLE),
            slot smallint NOT NULL,
            source integer NOT NULL,
            lane smallint NOT NULL,
            kafka_offset bigint NOT NULL,
            key_hash integer NOT NULL,
            record_time timestamptz,
            received_at timestamptz NOT NULL DEFAULT now(),
            id text NOT NULL,
            key text,
            key_bytes bytea,
            type text,
            headers text,
            headers_bytes bytea,
            payload text,
            payload_bytes bytea
            %3$s
        ) PARTITION BY LIST (slot)
        $make$, inbox_table, inbox_table || '#seq', is_json);
    EXECUTE format('CREATE INDEX %I ON relay.%I (source, lane, kafka_offset)', inbox_table || '#lane', inbox_table);
    FOR number IN 0..3 LOOP
        EXECUTE format('CREATE TABLE relay.%I PARTITION OF relay.%I FOR VALUES IN (%s) '
                       'WITH (autovacuum_vacuum_insert_threshold = -1)',
                       inbox_table || '#' || number, inbox_table, number);
    END LOOP;
    EXECUTE format($make$
        CREATE TABLE relay.%1$I (
            generation smallint NOT NULL,
            id uuid NOT NULL,
            payload_hash uuid NOT NULL
        ) PARTITION BY LIST (generation)
        $make$, inbox_table || '#id');
    FOR number IN 0..3 LOOP
        EXECUTE format('CREATE TABLE relay.%I PARTITION OF relay.%I FOR VALUES IN (%s) '
                       'WITH (autovacuum_vacuum_insert_threshold = -1)',
                       inbox_table || '#id' || number, inbox_table || '#id', number);
        EXECUTE format('CREATE UNIQUE INDEX %I ON relay.%I (id)', inbox_table || '#id' || number || '#once',
                       inbox_table || '#id' || number);
    END LOOP;
END
$relay$;

-- relay.inbox for main, relay.inbox_billing for billing.
CREATE OR REPLACE FUNCTION relay.inbox_table(name text) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path TO pg_catalog, pg_temp AS $relay$
BEGIN
    IF name IS NULL OR name COLLATE "C" !~ '^[a-z][a-z0-9_]{0,39}$' THEN
        RAISE EXCEPTION '"%" cannot be the name of an inbox', name
            USING ERRCODE = 'invalid_name',
                  HINT = 'A name is a lower case letter and up to 39 lower case letters, digits and underscores.';
    END IF;
    RETURN CASE name WHEN 'main' THEN 'inbox' ELSE 'inbox_' || name END;
END
$relay$;

-- Makes the tables and registers the stream. One that exists is left as it is. Returns the uuid of the stream.
CREATE OR REPLACE FUNCTION relay.create_inbox(name text, payload text DEFAULT 'json', lanes integer DEFAULT 16,
    keyless_in_order boolean DEFAULT false) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path TO pg_catalog, pg_temp AS $relay$
DECLARE
    inbox_table constant text := relay.inbox_table(name);
    stream_name constant text := 'inbox/' || name;
    stream_uuid uuid;
BEGIN
    IF payload IS NULL OR payload NOT IN ('json', 'text', 'bytes') THEN
        RAISE EXCEPTION 'the payload of an inbox is json, text or bytes, not "%"', payload
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF lanes IS NULL OR lanes NOT BETWEEN 1 AND 1024 THEN
        RAISE EXCEPTION 'an inbox has 1 to 1024 lanes for each partition, not %', lanes
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- Two callers at once: the second waits here, then sees what the first made.
    PERFORM FROM relay.identity FOR UPDATE;
    SELECT s.uuid INTO stream_uuid FROM relay.stream s WHERE s.name = stream_name AND s.dropped_at IS NULL;
    IF FOUND THEN
        RAISE NOTICE 'inbox "%" exists already, left as it is', create_inbox.name;
        RETURN stream_uuid;
    END IF;
    PERFORM relay.make_inbox_tables(inbox_table, payload);
    INSERT INTO relay.stream (name, kind, short_name, relation)
        VALUES (stream_name, 'inbox', create_inbox.name, format('relay.%I', inbox_table)) RETURNING uuid INTO stream_uuid;
    INSERT INTO relay.subscription (stream, payload, lanes, keyless_in_order)
        VALUES (stream_uuid, create_inbox.payload, create_inbox.lanes, coalesce(create_inbox.keyless_in_order, false));
    INSERT INTO relay.ring (stream) VALUES (stream_uuid);
    INSERT INTO relay.open_source (inbox_table, stream) VALUES (inbox_table, stream_uuid);
    PERFORM relay.make_inbox_functions(inbox_table);
    PERFORM relay.grant_inbox(inbox_table);
    PERFORM relay.write_audit('create_inbox', stream_name, jsonb_build_object('uuid', stream_uuid));
    RETURN stream_uuid;
END
$relay$;

-- Least rights on the tables of one inbox, for those of the optional roles that exist.
CREATE OR REPLACE FUNCTION relay.grant_inbox(inbox_table text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path TO pg_catalog, pg_temp AS $relay$
BEGIN
    IF to_regrole('relay_app') IS NOT NULL THEN
        EXECUTE format('GRANT SELECT ON TABLE relay.%I TO relay_app', inbox_table);
    END IF;
    IF to_regrole('relay_daemon') IS NOT NULL THEN
        EXECUTE format('GRANT SELECT, INSERT ON TABLE relay.%I, relay.%I TO relay_daemon', inbox_table,
                       inbox_table || '#id');
    END IF;
END
$relay$;

REVOKE ALL ON FUNCTION relay.make_inbox_tables(text, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION relay.grant_inbox(text) FROM PUBLIC;
REVOKE ALL ON FUNCTION relay.create_inbox(text, text, integer, boolean) FROM PUBLIC;

-- Taking in key order. [I7] Order is per source and key. A key belongs to a lane of its source, and a lane to one
-- transaction at a time. So never two transactions have one key, and other keys of the lane wait for its worker.

DO $relay$
BEGIN
    IF to_regtype('relay.message') IS NULL THEN
        CREATE TYPE relay.message AS (
            inbox text, seq bigint, id text, topic text, partition integer, kafka_offset bigint,
            record_time timestamptz, key text, key_bytes bytea, type text, headers json, headers_bytes bytea,
            payload text, payload_bytes bytea, attempts integer, received_at timestamptz);
        CREATE TYPE relay.claimed AS (
            inbox text, seq bigint, id text, topic text, partition integer, kafka_offset bigint,
            record_time timestamptz, key text, key_bytes bytea, type text, headers json, headers_bytes bytea,
            payload text, payload_bytes bytea, attempts integer, received_at timestamptz, token bigint);
    END IF;
END
$relay$;
COMMENT ON TYPE relay.message IS 'What relay.take returns';
COMMENT ON TYPE relay.claimed IS 'What relay.claim returns: a message and the token of its lease';

-- The number of the advisory lock of a lane.
CREATE OR REPLACE FUNCTION relay.lane_lock(source bigint, lane bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $relay$
    SELECT (1847::bigint << 41) | (source << 10) | lane
$relay$;

-- What a transaction took stands in a setting of that transaction, one for each inbox, as entries of the form
--   |seq,kind,source,lane,offset,hash,slot,after,change
-- with kind 0 for a message read from its lane, kind 1 for a held one. While the lane stands at after and change,
-- nothing of it before the message is unfinished, and the key is not held. The setting ends with the transaction, and
-- rolling back to a savepoint before the take undoes it together with the lock. [I8] So whoever has the entry has the
-- lane.
CREATE OR REPLACE FUNCTION relay.taken_setting(inbox text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $relay$
    SELECT 'relay.taken_inbox' || CASE inbox WHEN 'main' THEN '' ELSE '_' || inbox END
$relay$;

-- The entry of a message, or an error if this transaction does not have it.
CREATE OR REPLACE FUNCTION relay.taken_item(inbox text, seq bigint) RETURNS bigint[]
LANGUAGE plpgsql VOLATILE SET search_path TO pg_catalog, pg_temp AS $relay$
DECLARE
    taken constant text := current_setting(relay.taken_setting(inbox), true);
    entry_at constant integer := strpos(taken, '|' || seq || ',');
BEGIN
    IF entry_at > 0 THEN
        RETURN string_to_array(split_part(substr(taken, entry_at + 1, 200), '|', 1), ',')::bigint[];
    END IF;
    PERFORM relay.existing_inbox(inbox);
    RAISE EXCEPTION 'message % of inbox "%" is not taken by this transaction', seq, inbox
        USING ERRCODE = 'object_not_in_prerequisite_state',
              HINT = 'Finish a message in the transaction that took it. Rolling back to a savepoint before the take '
                     'gives it back. A claimed one is finished by relay.ack.';
END
$relay$;

-- Whether this transaction has an unfinished message of a held key.
CREATE OR REPLACE FUNCTION relay.has_taken(taken text, source integer, key_hash integer, next bigint) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path TO pg_catalog, pg_temp AS $relay$
BEGIN
    RETURN EXISTS (
        SELECT FROM string_to_table(taken, '|') AS entry, string_to_array(entry, ',') AS item
        WHERE entry <> '' AND item[3]::integer = has_taken.source AND item[6]::integer = has_taken.key_hash
              AND item[5]::bigint >= has_taken.next);
END
$relay$;

CREATE OR REPLACE FUNCTION relay.existing_inbox(name text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path TO pg_catalog, pg_temp AS $relay$
DECLARE
    inbox_table constant text := relay.inbox_table(name);
BEGIN
    IF to_regclass(format('relay.%I', inbox_table)) IS NULL THEN
        RAISE EXCEPTION 'there is no inbox "%"', name
            USING ERRCODE = 'undefined_table',
                  HINT = format('SELECT relay.create_inbox(%L) in a migration makes it.', name);
    END IF;
    RETURN inbox_table;
END
$relay$;

-- [I7] Notes which sources are open: those without an unfinished older generation. The caller has locked the row of
-- the inbox in a statement before, so that this one sees every source that another has added.
CREATE OR REPLACE FUNCTION relay.open_sources(stream uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path TO pg_catalog, pg_temp AS $relay$
BEGIN
    UPDATE relay.open_source o SET (sources, lanes, topics, partitions) = (
            SELECT coalesce(array_agg(s.id ORDER BY s.id), '{}'), coalesce(array_agg(s.lanes ORDER BY s.id), '{}'),
                   coalesce(array_agg(s.topic ORDER BY s.id), '{}'), coalesce(array_agg(s.partition ORDER BY s.id), '{}')
            FROM relay.source s
            WHERE s.stream = open_sources.stream AND s.finished_at IS NULL
                  AND NOT EXISTS (SELECT FROM relay.source e
                                  WHERE e.stream = s.stream AND e.topic = s.topic AND e.partition = s.partition
                                        AND e.generation < s.generation AND e.finished_at IS NULL))
        WHERE o.stream = open_sources.stream;
END
$relay$;

-- A source with its lanes, from that offset on. For the relay, in the transaction that begins to read the partition.
-- One that exists is left as it is. Batches of older generations fail from here on.
CREATE OR REPLACE FUNCTION relay.make_source(stream uuid, topic text, partition integer, generation integer,
    first_offset bigint) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path TO pg_catalog, pg_temp AS $relay$
DECLARE
    new_source integer;
    lane_count smallint;
BEGIN
    INSERT INTO relay.source (stream, topic, partition, generation, lanes)
        SELECT make_source.stream, make_source.topic, make_source.partition, make_source.generation, s.lanes
        FROM relay.subscription s WHERE s.stream = make_source.stream
        ON CONFLICT DO NOTHING RETURNING id, lanes INTO new_source, lane_count;
    IF NOT FOUND THEN
        SELECT s.id INTO new_source FROM relay.source s
            WHERE s.stream = make_source.stream AND s.topic = make_source.topic
                  AND s.partition = make_source.partition AND s.generation = make_source.generation;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'there is no inbox with uuid %', make_source.stream USING ERRCODE = 'undefined_object';
        END IF;
        RETURN new_source;
    END IF;
    UPDATE relay.source_offset o SET epoch = o.epoch + 1
        FROM relay.source s
        WHERE s.stream = make_source.stream AND s.topic = make_source.topic AND s.partition = make_source.partition
              AND s.generation < make_source.generation AND o.source = s.id;
    INSERT INTO relay.source_offset (source, next) VALUES (new_source, first_offset);
    INSERT INTO relay.lane (source, lane, next, slot)
        SELECT new_source, lane, first_offset, r.slot
        FROM generate_series(0, lane_count - 1) AS lane, relay.ring r WHERE r.stream = make_source.stream;
    PERFORM FROM relay.open_source o WHERE o.stream = make_source.stream FOR UPDATE;
    PERFORM relay.open_sources(make_source.stream);
    RETURN new_source;
END
$relay$;
COMMENT ON FUNCTION relay.make_source(uuid, text, integer, integer, bigint) IS
    'For the relay: a partition that an inbox begins to read';

-- What reads the table of one inbox, with the names of that inbox in it, so that plans are made once a session.
CREATE OR REPLACE FUNCTION relay.make_inbox_functions(inbox_table text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path TO pg_catalog, pg_temp AS $relay$
DECLARE
    text_of text;
    -- What relay.take has before the rest, which is that of main: a function between would cost a fifth more.
    settings constant text := 'SECURITY DEFINER SET search_path TO pg_catalog, pg_temp '
        'SET plan_cache_mode TO force_generic_plan SET enable_seqscan TO off SET enable_bitmapscan TO off SET jit TO off ';
    dispatch constant text := $dispatch$IF (inbox = 'main' AND max BETWEEN 1 AND 10000
            AND current_setting('transaction_isolation') = 'read committed') IS NOT TRUE THEN
        PERFORM relay.refuse_take('take', inbox, max);
        RETURN QUERY EXECUTE format('SELECT * FROM relay.%I($1, $2)', relay.inbox_table(inbox) || '#take')
            USING inbox, max;
        RETURN;
    END IF;$dispatch$;
    -- Where a lane stands, and of its source what a message needs.
    place constant text := $place$SELECT o.sources[s.at] AS source, n.lane, o.topics[s.at] AS topic,
                       o.partitions[s.at] AS partition, p.next, p.change, p.slot, p.due_from
                FROM relay.open_source o
                CROSS JOIN LATERAL ({number}) s (at)
                CROSS JOIN LATERAL ({lane}) n (lane)
                CROSS JOIN LATERAL (
                    SELECT l.next, l.change, l.slot, l.due_from FROM relay.lane l
                    WHERE l.source = o.sources[s.at] AND l.lane = n.lane
                    ORDER BY l.next DESC, l.change DESC LIMIT 1) p
                WHERE o.inbox_table = '{inbox}'$place$;
    -- The first message of a lane in a slot, read of that slot alone: opening four partitions costs more than reading.
    peek constant text := (SELECT string_agg(format($peek$%s at_slot = %s THEN
                        SELECT m.* INTO peeked FROM relay."{inbox}#%s" m
                            WHERE m.source = free.source AND m.lane = free.lane AND m.kafka_offset >= free.next
                            ORDER BY m.kafka_offset LIMIT 1;
                    $peek$, CASE n WHEN 0 THEN 'IF' ELSE 'ELSIF' END, n, n), '' ORDER BY n) || 'END IF;'
        FROM generate_series(0, 3) AS n);
    fast constant text := (SELECT string_agg(format($fast$%s
            FOR guess IN 1..3 LOOP
                SELECT p.source, p.lane, o.topics[1 + r.chance %% cardinality(o.sources)],
                       o.partitions[1 + r.chance %% cardinality(o.sources)], p.next, p.change
                    INTO of_source, of_lane, of_topic, of_partition, at_offset, at_change
                    FROM (SELECT floor(random() * 1000000000)::integer AS chance OFFSET 0) r
                    CROSS JOIN relay.open_source o
                    CROSS JOIN LATERAL (
                        SELECT l.source, l.lane, l.next, l.change, l.slot, l.due_from FROM relay.lane l
                        WHERE l.source = o.sources[1 + r.chance %% cardinality(o.sources)]
                              AND l.lane = (r.chance / 4096 %% o.lanes[1 + r.chance %% cardinality(o.sources)])::smallint
                        ORDER BY l.next DESC, l.change DESC LIMIT 1) p
                    WHERE o.inbox_table = '{inbox}' AND o.sources <> '{}' AND CASE WHEN p.slot = %s AND p.due_from = 'infinity' AND EXISTS (
                        SELECT FROM relay."{inbox}#%s" m
                        WHERE m.source = p.source AND m.lane = p.lane AND m.kafka_offset >= p.next)
                        THEN pg_try_advisory_xact_lock(relay.lane_lock(p.source, p.lane)) END;
                EXIT WHEN FOUND;
            END LOOP;
            RETURN QUERY
                SELECT CASE WHEN set_config('relay.taken_{inbox}', concat('|', m.seq, ',0,', of_source, ',', of_lane, ',',
                                m.kafka_offset, ',', m.key_hash, ',%s,', at_offset, ',', at_change), true) IS NOT NULL
                            THEN inbox END,
                       m.seq, m.id, of_topic, of_partition, m.kafka_offset, m.record_time, m.key, m.key_bytes,
                       m.type, m.headers::json, m.headers_bytes, m.payload, m.payload_bytes, 0, m.received_at
                FROM relay.lane l
                CROSS JOIN LATERAL (
                    SELECT m.* FROM relay."{inbox}#%s" m
                    WHERE m.source = of_source AND m.lane = of_lane AND m.kafka_offset >= at_offset
                    ORDER BY m.kafka_offset LIMIT 1) m
                WHERE l.source = of_source AND l.lane = of_lane AND l.next = at_offset AND l.change = at_change;
            $fast$, CASE n WHEN 0 THEN 'ELSE' ELSE format('WHEN %L THEN', n) END, n, n, n, n), '' ORDER BY n = 0, n)
        FROM generate_series(0, 3) AS n);
BEGIN
    FOREACH text_of IN ARRAY ARRAY[$take$
CREATE OR REPLACE FUNCTION {function} RETURNS SETOF relay.message
LANGUAGE plpgsql VOLATILE {settings}AS $body$
-- The usual case in two statements: one message, of a lane without held keys, found by chance, in the slot where this
-- session found one before. The first statement locks the lane, the second began after that and finds nothing if the
-- lane has moved in between. Each expression more is dear here: it is set up again in every transaction.
DECLARE
    of_source integer;
    of_lane smallint;
    of_topic text;
    of_partition integer;
    at_offset bigint;
    at_change bigint;
BEGIN
    {dispatch}
    IF max = 1 AND current_setting('relay.taken_{inbox}', true) <> '' IS NOT TRUE THEN
        CASE coalesce(current_setting('relay.slot_{inbox}', true), '')
            {fast}
        END CASE;
        IF FOUND THEN
            RETURN;
        END IF;
    END IF;
    RETURN QUERY SELECT * FROM relay."{inbox}#find"(inbox, max, of_source, of_lane);
END
$body$
$take$, $find$
CREATE OR REPLACE FUNCTION relay."{inbox}#find"(inbox text, max integer, locked_source integer, locked_lane smallint)
    RETURNS SETOF relay.message
LANGUAGE plpgsql VOLATILE AS $body$
-- Takes from one lane, or one held key of it. First from the lanes that this transaction has: those that it took from, or
-- the one that was locked just now. Then from any free lane.
DECLARE
    taken text := coalesce(current_setting('relay.taken_{inbox}', true), '');
    chance constant integer := floor(random() * 1000000000);
    lanes CURSOR FOR {lanes};
    own_sources integer[] := CASE WHEN locked_source IS NOT NULL THEN ARRAY[locked_source] END;
    own_lanes smallint[] := ARRAY[locked_lane];
    taken_count integer := 0;
    own_at integer := 0;
    is_looking boolean := false;
    tried bigint[];
    given integer := 0;
    seen integer;
    held_batches integer := 0;
    of_source integer;
    of_lane smallint;
    at_offset bigint;
    at_slot smallint;
    last_slot smallint;
    run_end bigint;
    free record;
    peeked relay.{inbox};
    due_key integer;
    due_next bigint;
    due_token bigint;
    row record;
    hashes integer[];
    keys text[];
    must_hold boolean;
BEGIN
    IF taken <> '' THEN
        taken_count := length(taken) - length(replace(taken, '|', ''));
        IF taken_count + max > 10000 THEN
            RAISE EXCEPTION 'a transaction can take at most 10000 messages' USING ERRCODE = 'program_limit_exceeded',
                HINT = 'Commit what is done, then take more.';
        END IF;
        SELECT array_agg(o.source ORDER BY o.nth), array_agg(o.lane ORDER BY o.nth) INTO own_sources, own_lanes
            FROM (SELECT i.item[3]::integer AS source, i.item[4]::smallint AS lane, min(e.nth) AS nth
                  FROM unnest(string_to_array(taken, '|')) WITH ORDINALITY AS e (entry, nth),
                       LATERAL (SELECT string_to_array(e.entry, ',') AS item) i
                  WHERE e.entry <> '' GROUP BY 1, 2) o;
    END IF;
    LOOP
        peeked := NULL;
        IF own_at < cardinality(own_sources) THEN
            own_at := own_at + 1;
            of_source := own_sources[own_at];
            of_lane := own_lanes[own_at];
            {own};
            at_slot := free.slot;
        ELSE
            IF NOT is_looking THEN
                -- Else its portal has this name, which the caller may have given to one of his.
                lanes := NULL;
                OPEN lanes;
                is_looking := true;
            END IF;
            FETCH lanes INTO free;
            IF NOT FOUND THEN
                CLOSE lanes;
                is_looking := false;
                EXIT WHEN NOT relay."{inbox}#finish"();
                CONTINUE;
            END IF;
            CONTINUE WHEN relay.lane_lock(free.source, free.lane) = ANY (tried);
            -- The lock is tried only for a lane that has something.
            at_slot := free.slot;
            {peek}
            IF NOT FOUND THEN
                -- The slot is looked at again after it is known that nothing more comes into it.
                last_slot := (SELECT r.slot FROM relay.ring r JOIN relay.open_source o ON o.stream = r.stream
                              WHERE o.inbox_table = '{inbox}');
                LOOP
                    {peek}
                    EXIT WHEN FOUND OR at_slot = last_slot;
                    at_slot := (at_slot + 1) % 4;
                END LOOP;
                CONTINUE WHEN peeked.seq IS NULL AND NOT (free.due_from <= clock_timestamp());
            END IF;
            CONTINUE WHEN NOT pg_try_advisory_xact_lock(relay.lane_lock(free.source, free.lane));
            of_source := free.source;
            of_lane := free.lane;
            -- Is all as it was before the lock, seen by a statement that began behind it.
            PERFORM FROM relay.lane l WHERE l.source = free.source AND l.lane = free.lane AND l.next = free.next
                AND l.change = free.change;
            IF NOT FOUND THEN
                peeked := NULL;
                {own};
                at_slot := free.slot;
            END IF;
        END IF;
        IF peeked.seq IS NOT NULL AND max = 1 AND free.due_from = 'infinity' THEN
            given := 1;
            taken := concat(taken, '|', peeked.seq, ',0,', of_source, ',', of_lane, ',', peeked.kafka_offset, ',',
                            peeked.key_hash, ',', at_slot, ',', free.next, ',', free.change);
            RETURN NEXT ROW(inbox, peeked.seq, peeked.id, free.topic, free.partition, peeked.kafka_offset,
                            peeked.record_time, peeked.key, peeked.key_bytes, peeked.type, peeked.headers::json,
                            peeked.headers_bytes, peeked.payload, peeked.payload_bytes, 0,
                            peeked.received_at)::relay.message;
            EXIT;
        END IF;
        tried := tried || relay.lane_lock(of_source, of_lane);
        due_key := NULL;
        IF free.due_from <= clock_timestamp() THEN
            SELECT k.key_hash, k.next, k.token INTO due_key, due_next, due_token FROM relay.held_key k
                WHERE k.source = of_source AND k.lane = of_lane AND k.due_at >= free.due_from
                      AND k.due_at <= clock_timestamp()
                      AND CASE taken WHEN '' THEN true
                          ELSE NOT relay.has_taken(taken, k.source, k.key_hash, k.next) END
                ORDER BY k.due_at LIMIT 1;
        END IF;
        at_offset := free.next;
        last_slot := (SELECT r.slot FROM relay.ring r JOIN relay.open_source o ON o.stream = r.stream
                      WHERE o.inbox_table = '{inbox}');
        at_slot := free.slot;
        -- Behind what this transaction has of the lane: across the slots, which are looked through one by one.
        run_end := at_offset;
        WHILE given = 0 AND (due_key IS NULL OR random() < 0.5) LOOP
            seen := 0;
            must_hold := false;
            FOR row IN
                SELECT m.seq, m.kafka_offset, m.key_hash, m.record_time, m.received_at, m.id, m.key, m.key_bytes,
                       m.type, m.headers, m.headers_bytes, m.payload, m.payload_bytes,
                       (SELECT k.due_at IS NOT NULL FROM relay.held_key k
                        WHERE k.source = of_source AND k.key_hash = m.key_hash ORDER BY k.next DESC LIMIT 1) AS is_held
                FROM relay.{inbox} m
                WHERE m.slot = at_slot AND m.source = of_source AND m.lane = of_lane AND m.kafka_offset >= at_offset
                ORDER BY m.kafka_offset LIMIT max + taken_count
            LOOP
                -- From the position on again and again: what was passed over because its key was held may be next now.
                seen := seen + 1;
                IF taken_count > 0 AND strpos(taken, '|' || row.seq || ',') > 0 THEN
                    run_end := row.kafka_offset + 1;
                    CONTINUE;
                END IF;
                IF row.is_held THEN
                    must_hold := seen = 1;
                    EXIT WHEN must_hold;
                    run_end := row.kafka_offset + 1;
                    CONTINUE;
                END IF;
                IF max > 1 THEN
                    -- Two keys with one hash are not given together, else one could not be finished without the other.
                    IF row.key_hash = ANY (hashes) THEN
                        EXIT WHEN keys[array_position(hashes, row.key_hash)]
                                  IS DISTINCT FROM coalesce('t' || row.key, 'b' || encode(row.key_bytes, 'hex'), '');
                    ELSE
                        hashes := hashes || row.key_hash;
                        keys := keys || coalesce('t' || row.key, 'b' || encode(row.key_bytes, 'hex'), '');
                    END IF;
                END IF;
                given := given + 1;
                taken := concat(taken, '|', row.seq, ',0,', of_source, ',', of_lane, ',', row.kafka_offset, ',',
                                row.key_hash, ',', at_slot, ',', run_end, ',', free.change);
                run_end := row.kafka_offset + 1;
                RETURN NEXT ROW(inbox, row.seq, row.id, free.topic, free.partition, row.kafka_offset, row.record_time,
                                row.key, row.key_bytes, row.type, row.headers::json, row.headers_bytes, row.payload,
                                row.payload_bytes, 0, row.received_at)::relay.message;
                EXIT WHEN given = max;
            END LOOP;
            IF must_hold THEN
                -- A run of messages whose keys are held: they leave the lane together.
                EXIT WHEN held_batches >= 20;
                held_batches := held_batches + 1;
                SELECT coalesce(min(w.kafka_offset) FILTER (WHERE w.is_held IS NOT TRUE) - 1, pg_catalog.max(w.kafka_offset))
                    INTO run_end
                    FROM (SELECT m.kafka_offset, (
                              SELECT k.due_at IS NOT NULL FROM relay.held_key k
                              WHERE k.source = of_source AND k.key_hash = m.key_hash
                              ORDER BY k.next DESC LIMIT 1) AS is_held
                          FROM relay.{inbox} m
                          WHERE m.slot = at_slot AND m.source = of_source AND m.lane = of_lane
                                AND m.kafka_offset >= at_offset
                          ORDER BY m.kafka_offset LIMIT 1000) w;
                PERFORM relay."{inbox}#hold"(of_source, of_lane, at_offset, run_end, at_slot);
                at_offset := run_end + 1;
                run_end := at_offset;
                free.next := at_offset;
                free.change := free.change + 1;
            ELSIF given = 0 AND seen < max + taken_count AND at_slot <> last_slot THEN
                at_slot := (at_slot + 1) % 4;
            ELSE
                EXIT;
            END IF;
        END LOOP;
        IF given = 0 AND due_key IS NOT NULL THEN
            IF due_token IS NOT NULL THEN
                -- A lease that ran out.
                UPDATE relay.held h SET attempts = h.attempts + 1, reason = 'the lease ran out'
                    WHERE h.source = of_source AND h.key_hash = due_key AND h.kafka_offset = due_next;
                UPDATE relay.held_key k SET token = NULL
                    WHERE k.source = of_source AND k.key_hash = due_key AND k.next = due_next;
                UPDATE relay.lane l SET change = l.change + 1
                    WHERE l.source = of_source AND l.lane = of_lane AND l.next = free.next AND l.change = free.change;
            END IF;
            FOR row IN
                SELECT h.seq, h.kafka_offset, h.slot, h.attempts, coalesce(m.id, h.id) AS id,
                       coalesce(m.record_time, h.record_time) AS record_time,
                       coalesce(m.received_at, h.received_at) AS received_at,
                       coalesce(m.key, h.key) AS key, coalesce(m.key_bytes, h.key_bytes) AS key_bytes,
                       coalesce(m.type, h.type) AS type, coalesce(m.headers, h.headers) AS headers,
                       coalesce(m.headers_bytes, h.headers_bytes) AS headers_bytes,
                       coalesce(m.payload, h.payload) AS payload,
                       coalesce(m.payload_bytes, h.payload_bytes) AS payload_bytes
                FROM relay.held h
                LEFT JOIN relay.{inbox} m ON m.slot = h.slot AND m.source = h.source AND m.lane = h.lane
                     AND m.kafka_offset = h.kafka_offset
                WHERE h.source = of_source AND h.key_hash = due_key AND h.kafka_offset >= due_next
                ORDER BY h.kafka_offset LIMIT max
            LOOP
                IF given = 0 THEN
                    keys := ARRAY[row.key, encode(row.key_bytes, 'hex')];
                ELSE
                    EXIT WHEN keys IS DISTINCT FROM ARRAY[row.key, encode(row.key_bytes, 'hex')];
                END IF;
                given := given + 1;
                taken := concat(taken, '|', row.seq, ',1,', of_source, ',', of_lane, ',', row.kafka_offset, ',',
                                due_key, ',', coalesce(row.slot, -1), ',0,0');
                RETURN NEXT ROW(inbox, row.seq, row.id, free.topic, free.partition, row.kafka_offset, row.record_time,
                                row.key, row.key_bytes, row.type, row.headers::json, row.headers_bytes, row.payload,
                                row.payload_bytes, row.attempts, row.received_at)::relay.message;
            END LOOP;
        END IF;
        EXIT WHEN given > 0;
    END LOOP;
    IF given > 0 THEN
        IF is_looking THEN
            CLOSE lanes;
        END IF;
        taken := set_config('relay.taken_{inbox}', taken, true);
        IF at_slot::text <> coalesce(nullif(current_setting('relay.slot_{inbox}', true), ''), '0') THEN
            PERFORM set_config('relay.slot_{inbox}', at_slot::text, false);
        END IF;
        IF chance % 128 = 0 THEN
            -- So that a newer generation opens while other partitions are never without messages.
            PERFORM relay."{inbox}#finish"();
        END IF;
    END IF;
END
$body$
$find$, $hold$
CREATE OR REPLACE FUNCTION relay."{inbox}#hold"(of_source integer, of_lane smallint, first_offset bigint,
    last_offset bigint, at_slot smallint) RETURNS void
LANGUAGE plpgsql VOLATILE SET enable_hashjoin TO off SET enable_mergejoin TO off AS $body$
-- Messages leave the lane for the held ones, and its position moves behind them. Their keys are due at once.
DECLARE
    was relay.lane;
    due timestamptz;
BEGIN
    SELECT * INTO was FROM relay.lane l WHERE l.source = of_source AND l.lane = of_lane
        ORDER BY l.next DESC, l.change DESC LIMIT 1;
    due := clock_timestamp();
    WITH moved AS (
        INSERT INTO relay.held (source, key_hash, kafka_offset, lane, seq, slot)
            SELECT m.source, m.key_hash, m.kafka_offset, m.lane, m.seq, m.slot FROM relay.{inbox} m
            WHERE m.source = of_source AND m.lane = of_lane AND m.kafka_offset BETWEEN first_offset AND last_offset
            RETURNING key_hash, kafka_offset
    ), head AS (
        SELECT m.key_hash, min(m.kafka_offset) AS next FROM moved m GROUP BY m.key_hash
    ), known AS (
        SELECT h.key_hash, h.next, k.next AS was_next, k.due_at
        FROM head h LEFT JOIN LATERAL (
            SELECT k.next, k.due_at FROM relay.held_key k
            WHERE k.source = of_source AND k.key_hash = h.key_hash ORDER BY k.next DESC LIMIT 1) k ON true
    ), revived AS (
        UPDATE relay.held_key k SET next = n.next, due_at = due, token = NULL, ended_at = NULL
            FROM known n
            WHERE n.due_at IS NULL AND k.source = of_source AND k.key_hash = n.key_hash AND k.next = n.was_next
    )
    INSERT INTO relay.held_key (source, key_hash, next, lane, due_at)
        SELECT of_source, n.key_hash, n.next, of_lane, due FROM known n WHERE n.was_next IS NULL;
    UPDATE relay.lane l SET next = last_offset + 1, change = was.change + 1, slot = at_slot,
            due_from = least(was.due_from, due)
        WHERE l.source = of_source AND l.lane = of_lane AND l.next = was.next AND l.change = was.change;
END
$body$
$hold$, $finish$
CREATE OR REPLACE FUNCTION relay."{inbox}#finish"() RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $body$
-- [I7] Notes the sources that are finished and have a newer generation. True if there was one.
DECLARE
    of_stream constant uuid := (SELECT o.stream FROM relay.open_source o WHERE o.inbox_table = '{inbox}');
BEGIN
    IF NOT EXISTS (SELECT FROM relay.source s
                   WHERE s.stream = of_stream AND s.generation > 0 AND s.finished_at IS NULL
                         AND EXISTS (SELECT FROM relay.source o
                                     WHERE o.stream = s.stream AND o.topic = s.topic AND o.partition = s.partition
                                           AND o.generation < s.generation AND o.finished_at IS NULL
                                           AND NOT relay."{inbox}#is_open"(o.id))) THEN
        RETURN false;
    END IF;
    -- Only now: it is kept to the end of the transaction, and who begins to read a partition waits for it.
    PERFORM FROM relay.open_source o WHERE o.stream = of_stream FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE relay.source s SET finished_at = clock_timestamp()
        WHERE s.stream = of_stream AND s.finished_at IS NULL
              AND EXISTS (SELECT FROM relay.source n
                          WHERE n.stream = s.stream AND n.topic = s.topic AND n.partition = s.partition
                                AND n.generation > s.generation)
              AND NOT relay."{inbox}#is_open"(s.id);
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM relay.open_sources(of_stream);
    RETURN true;
END
$body$
$finish$, $open$
CREATE OR REPLACE FUNCTION relay."{inbox}#is_open"(of_source integer) RETURNS boolean
LANGUAGE plpgsql STABLE AS $body$
-- Whether a source has messages that are not finished.
BEGIN
    RETURN EXISTS (SELECT FROM relay.held_key k WHERE k.source = of_source AND k.due_at IS NOT NULL)
           OR EXISTS (
               SELECT FROM relay.source s
               CROSS JOIN LATERAL (SELECT generate_series(0, s.lanes - 1)::smallint AS lane) n
               CROSS JOIN LATERAL (SELECT l.next FROM relay.lane l WHERE l.source = s.id AND l.lane = n.lane
                                   ORDER BY l.next DESC, l.change DESC LIMIT 1) p
               CROSS JOIN LATERAL (SELECT 1 FROM relay.{inbox} m WHERE m.source = s.id AND m.lane = n.lane
                                       AND m.kafka_offset >= p.next LIMIT 1) m
               WHERE s.id = of_source);
END
$body$
$open$, $rights$
REVOKE ALL ON FUNCTION relay."{inbox}#take"(text, integer), relay."{inbox}#find"(text, integer, integer, smallint),
    relay."{inbox}#finish"(), relay."{inbox}#is_open"(integer),
    relay."{inbox}#hold"(integer, smallint, bigint, bigint, smallint) FROM PUBLIC
$rights$] LOOP
        text_of := replace(text_of, '{lanes}', replace(replace(place,
            '{number}', 'SELECT g.at FROM generate_subscripts(o.sources, 1) AS g (at) ORDER BY random()'),
            '{lane}', 'SELECT (g % o.lanes[s.at])::smallint FROM generate_series(chance, chance + o.lanes[s.at] - 1) AS g'));
        text_of := replace(text_of, '{fast}', fast);
        text_of := replace(text_of, '{own}', replace(replace(place,
            '{number}', 'SELECT array_position(o.sources, of_source)'),
            '{lane}', 'SELECT of_lane') || ' INTO free');
        text_of := replace(text_of, '{peek}', peek);
        text_of := replace(text_of, '{inbox}', inbox_table);
        IF text_of LIKE '%{function}%' AND inbox_table = 'inbox' THEN
            EXECUTE replace(replace(replace(text_of, '{function}',
                'relay.take(inbox text DEFAULT ''main'', max integer DEFAULT 1)'), '{settings}', settings),
                '{dispatch}', dispatch);
            REVOKE ALL ON FUNCTION relay.take(text, integer) FROM PUBLIC;
            COMMENT ON FUNCTION relay.take(text, integer) IS
                'The next messages in key order, for this transaction. Finish each by relay.done, retry or reject';
        END IF;
        EXECUTE replace(replace(replace(text_of, '{function}',
            format('relay.%I(inbox text, max integer)', inbox_table || '#take')), '{settings}', ''), '{dispatch}', '');
    END LOOP;
END
$relay$;

-- Under REPEATABLE READ two transactions could have one key: the lock is free, but the old snapshot shows where the
-- lane stood before.
CREATE OR REPLACE FUNCTION relay.refuse_isolation(function_name text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path TO pg_catalog, pg_temp AS $relay$
BEGIN
    IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
        RAISE EXCEPTION 'relay.% needs isolation level READ COMMITTED, this transaction has %', function_name,
            upper(current_setting('transaction_isolation'))
            USING ERRCODE = 'invalid_transaction_state',
                  HINT = 'An older snapshot would show messages that others have finished since.';
    END IF;
END
$relay$;

CREATE OR REPLACE FUNCTION relay.refuse_take(function_name text, inbox text, max integer) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path TO pg_catalog, pg_temp AS $relay$
BEGIN
    PERFORM relay.refuse_isolation(function_name);
    IF max IS NULL OR max NOT BETWEEN 1 AND 10000 THEN
        RAISE EXCEPTION 'max is 1 to 10000, not %', coalesce(max::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM relay.existing_inbox(inbox);
END
$relay$;

-- After a change of held messages: from when on one is due. The keys changed are not due before changed_from.
CREATE OR REPLACE FUNCTION relay.note_due(of_source integer, of_lane smallint, changed_from timestamptz,
    finished bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path TO pg_catalog, pg_temp AS $relay$
DECLARE
    was relay.lane;
    first_due timestamptz;
BEGIN
    SELECT * INTO was FROM relay.lane l WHERE l.source = of_source AND l.lane = of_lane
        ORDER BY l.next DESC, l.change DESC LIMIT 1;
    SELECT k.due_at INTO first_due FROM relay.held_key k
        WHERE k.source = of_source AND k.lane = of_lane AND k.due_at >= least(was.due_from, changed_from)
        ORDER BY k.due_at LIMIT 1;
    UPDATE relay.lane l SET change = was.change + 1, due_from = coalesce(first_due, 'infinity'),
            finished_rows = was.finished_rows + finished
        WHERE l.source = of_source AND l.lane = of_lane AND l.next = was.next AND l.change = was.change;
END
$relay$;

-- Finishes a held message, or delays its key. The caller has the lane.
CREATE OR REPLACE FUNCTION relay.finish_held(inbox text, seq bigint, source integer, lane smallint, key_hash integer,
    kafka_offset bigint, delay interval, reason text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path TO pg_catalog, pg_temp AS $relay$
#variable_conflict use_variable
DECLARE
    held_key relay.held_key;
    other bigint;
    due timestamptz;
    is_last boolean;
BEGIN
    SELECT * INTO held_key FROM relay.held_key k WHERE k.source = source AND k.key_hash = key_hash
        ORDER BY k.next DESC LIMIT 1;
    IF held_key.due_at IS NULL OR NOT EXISTS (SELECT FROM relay.held h WHERE h.source = source
            AND h.key_hash = key_hash AND h.kafka_offset = kafka_offset) THEN
        RAISE EXCEPTION 'message % of inbox "%" is finished already', seq, inbox
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Call done, retry or reject once for each message.';
    END IF;
    SELECT h.seq INTO other FROM relay.held h WHERE h.source = source AND h.key_hash = key_hash
        AND h.kafka_offset >= held_key.next AND h.kafka_offset < kafka_offset ORDER BY h.kafka_offset LIMIT 1;
    IF FOUND THEN
        PERFORM relay.refuse_order(inbox, seq, other);
    END IF;
    due := clock_timestamp();
    IF delay IS NOT NULL THEN
        UPDATE relay.held h SET attempts = h.attempts + 1, reason = finish_held.reason
            WHERE h.source = source AND h.key_hash = key_hash AND h.kafka_offset = kafka_offset;
        -- A month less and 30 days more is not less than 0, and may yet lie in the past.
        UPDATE relay.held_key k SET next = kafka_offset, due_at = greatest(due + delay, due), token = NULL
            WHERE k.source = source AND k.key_hash = key_hash AND k.next = held_key.next;
    ELSE
        DELETE FROM relay.held h WHERE h.source = source AND h.key_hash = key_hash AND h.kafka_offset = kafka_offset;
        is_last := NOT EXISTS (SELECT FROM relay.held h WHERE h.source = source AND h.key_hash = key_hash
                               AND h.kafka_offset > kafka_offset);
        UPDATE relay.held_key k SET next = kafka_offset + 1, due_at = CASE WHEN NOT is_last THEN due END, token = NULL,
                ended_at = CASE WHEN is_last THEN due END
            WHERE k.source = source AND k.key_hash = key_hash AND k.next = held_key.next;
    END IF;
    PERFORM relay.note_due(source, lane, due, CASE WHEN delay IS NULL THEN 1 ELSE 0 END);
END
$relay$;

CREATE OR REPLACE FUNCTION relay.refuse_order(inbox text, seq bigint, other bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path TO pg_catalog, pg_temp AS $relay$
BEGIN
    RAISE EXCEPTION 'message % of inbox "%" cannot be finished before message % of the same key', seq, inbox, other
        USING ERRCODE = 'object_not_in_prerequisite_state',
              HINT = 'Within a key, finish messages in the order in which they were taken. Behind a retried one leave '
                     'them, they are given back at commit.';
END
$relay$;

-- Finishes a taken message: delay NULL for good, else it is held that long. [I8] Unfinished messages before it, and
-- those whose key is held, leave the lane first, so that the position can move past them.
CREATE OR REPLACE FUNCTION relay.finish_taken(inbox text, item bigint[], delay interval, reason text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path TO pg_catalog, pg_temp AS $relay$
DECLARE
    inbox_table constant text := relay.existing_inbox(inbox);
    of_source constant integer := item[3];
    of_lane constant smallint := item[4];
    at_offset constant bigint := item[5];
    hash constant integer := item[6];
    was relay.lane;
    other bigint;
    last_held bigint := at_offset - CASE WHEN delay IS NULL THEN 1 ELSE 0 END;
BEGIN
    SELECT * INTO was FROM relay.lane l WHERE l.source = of_source AND l.lane = of_lane
        ORDER BY l.next DESC, l.change DESC LIMIT 1;
    IF item[2] = 1 OR was.next > at_offset THEN
        PERFORM relay.finish_held(inbox, item[1], of_source, of_lane, hash, at_offset, delay, reason);
        RETURN;
    END IF;
    SELECT h.seq INTO other
        FROM (SELECT k.next, k.due_at FROM relay.held_key k WHERE k.source = of_source AND k.key_hash = hash
              ORDER BY k.next DESC LIMIT 1) k
        JOIN relay.held h ON h.source = of_source AND h.key_hash = hash AND h.kafka_offset >= k.next
        WHERE k.due_at IS NOT NULL ORDER BY h.kafka_offset LIMIT 1;
    IF NOT FOUND AND was.next < at_offset THEN
        EXECUTE format('SELECT m.seq FROM relay.%I m WHERE m.source = $1 AND m.lane = $2 AND m.kafka_offset >= $3 '
                       'AND m.kafka_offset < $4 AND m.key_hash = $5 ORDER BY m.kafka_offset LIMIT 1', inbox_table)
            INTO other USING of_source, of_lane, was.next, at_offset, hash;
    END IF;
    IF other IS NOT NULL THEN
        PERFORM relay.refuse_order(inbox, item[1], other);
    END IF;
    IF was.next <= last_held THEN
        EXECUTE format('SELECT relay.%I($1, $2, $3, $4, $5)', inbox_table || '#hold')
            USING of_source, of_lane, was.next, last_held, item[7]::smallint;
    END IF;
    IF delay IS NOT NULL THEN
        PERFORM relay.finish_held(inbox, item[1], of_source, of_lane, hash, at_offset, delay, reason);
        RETURN;
    END IF;
    UPDATE relay.lane l SET next = at_offset + 1, slot = item[7], finished_rows = l.finished_rows + 1
        WHERE l.source = of_source AND l.lane = of_lane
              AND (l.next, l.change) = (SELECT x.next, x.change FROM relay.lane x
                                        WHERE x.source = of_source AND x.lane = of_lane
                                        ORDER BY x.next DESC, x.change DESC LIMIT 1);
END
$relay$;

-- One statement as long as messages are finished in the order in which they were taken.
CREATE OR REPLACE FUNCTION relay.done(inbox text, seq bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path TO pg_catalog, pg_temp
SET plan_cache_mode TO force_generic_plan SET enable_seqscan TO off SET enable_bitmapscan TO off SET jit TO off
AS $relay$
DECLARE
    item constant bigint[] := string_to_array(seq || ',' || split_part(split_part(
        current_setting(relay.taken_setting(inbox), true), '|' || seq || ',', 2), '|', 1), ',', '')::bigint[];
BEGIN
    UPDATE relay.lane l SET next = item[5] + 1, slot = item[7], finished_rows = l.finished_rows + 1
        WHERE l.source = item[3]::integer AND l.lane = item[4]::smallint AND l.next = item[8] AND l.change = item[9]
              AND item[2] = 0;
    IF NOT FOUND THEN
        PERFORM relay.finish_taken(inbox, relay.taken_item(inbox, seq), NULL, NULL);
    END IF;
END
$relay$;
COMMENT ON FUNCTION relay.done(text, bigint) IS 'A taken message is processed, together with what this transaction wrote';

CREATE OR REPLACE FUNCTION relay.retry(inbox text, seq bigint, delay interval, reason text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path TO pg_catalog, pg_temp
SET plan_cache_mode TO force_generic_plan SET enable_seqscan TO off SET enable_bitmapscan TO off SET jit TO off
AS $relay$
DECLARE
    item constant bigint[] := relay.taken_item(inbox, seq);
BEGIN
    PERFORM relay.refuse_delay(delay);
    PERFORM relay.finish_taken(inbox, item, delay, reason);
    PERFORM set_config(relay.taken_setting(inbox), replace(current_setting(relay.taken_setting(inbox)) || '|',
        '|' || array_to_string(item, ',') || '|', '|'), true);
END
$relay$;
COMMENT ON FUNCTION relay.retry(text, bigint, interval, text) IS
    'Processing failed for now: the key of this taken message waits that long, then comes again with attempts + 1';

CREATE OR REPLACE FUNCTION relay.refuse_delay(delay interval) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path TO pg_catalog, pg_temp AS $relay$
BEGIN
    IF delay IS NULL OR delay < interval '0' OR delay > interval '1000 years' THEN
        RAISE EXCEPTION 'a delay or lease is an interval from 0 on, not %', coalesce(delay::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
END
$relay$;

CREATE OR REPLACE FUNCTION relay.reject(inbox text, seq bigint, reason text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path TO pg_catalog, pg_temp
SET plan_cache_mode TO force_generic_plan SET enable_seqscan TO off SET enable_bitmapscan TO off SET jit TO off
AS $relay$
DECLARE
    item constant bigint[] := relay.taken_item(inbox, seq);
BEGIN
    EXECUTE format($insert$
        INSERT INTO relay.dead (stream, class, reason, seq, topic, partition, kafka_offset, message_id, key, key_bytes,
                headers, headers_bytes, payload_bytes, record_time, attempts)
            SELECT s.stream, 'REJECTED', coalesce($5, 'no reason was given'), $6, s.topic, s.partition, $3, m.id, m.key,
                   m.key_bytes, m.headers, m.headers_bytes,
                   coalesce(m.payload_bytes, convert_to(m.payload, 'UTF8')), m.record_time,
                   coalesce((SELECT h.attempts FROM relay.held h WHERE h.source = $1 AND h.key_hash = $4
                                 AND h.kafka_offset = $3), 0)
            FROM relay.source s, (
                SELECT i.id, i.key, i.key_bytes, i.headers, i.headers_bytes, i.payload, i.payload_bytes, i.record_time
                FROM relay.%I i WHERE i.source = $1 AND i.lane = $2 AND i.kafka_offset = $3
                UNION ALL
                SELECT h.id, h.key, h.key_bytes, h.headers, h.headers_bytes, h.payload, h.payload_bytes, h.record_time
                FROM relay.held h WHERE h.source = $1 AND h.key_hash = $4 AND h.kafka_offset = $3 AND h.slot IS NULL
                LIMIT 1) m
            WHERE s.id = $1
        $insert$, relay.existing_inbox(inbox))
        USING item[3]::integer, item[4]::smallint, item[5], item[6]::integer, reason, item[1];
    PERFORM relay.finish_taken(inbox, item, NULL, NULL);
END
$relay$;
COMMENT ON FUNCTION relay.reject(text, bigint, text) IS
    'This taken message can never be processed: it goes to relay.dead_letter, its key goes on';

-- The first message of each key that was taken is leased. What was taken with it of the same key waits behind it.
CREATE OR REPLACE FUNCTION relay.claim(inbox text DEFAULT 'main', max integer DEFAULT 1,
    lease interval DEFAULT interval '1 minute') RETURNS SETOF relay.claimed
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path TO pg_catalog, pg_temp
SET plan_cache_mode TO force_generic_plan SET enable_seqscan TO off SET enable_bitmapscan TO off SET jit TO off
AS $relay$
DECLARE
    setting constant text := relay.taken_setting(inbox);
    before constant text := coalesce(current_setting(setting, true), '');
    messages relay.message[];
    one relay.message;
    item bigint[];
    last_item bigint[];
    was relay.lane;
    new_token bigint;
    leased bigint[] := '{}';
BEGIN
    PERFORM relay.refuse_take('claim', inbox, max);
    PERFORM relay.refuse_delay(lease);
    EXECUTE format('SELECT array_agg(m ORDER BY m.kafka_offset) FROM relay.%I($1, $2) m',
                   relay.inbox_table(inbox) || '#take')
        INTO messages USING inbox, max;
    IF messages IS NULL THEN
        RETURN;
    END IF;
    -- All of them are of one lane.
    last_item := relay.taken_item(inbox, messages[cardinality(messages)].seq);
    SELECT * INTO was FROM relay.lane l WHERE l.source = last_item[3] AND l.lane = last_item[4]
        ORDER BY l.next DESC, l.change DESC LIMIT 1;
    IF last_item[2] = 0 THEN
        EXECUTE format('SELECT relay.%I($1, $2, $3, $4, $5)', relay.inbox_table(inbox) || '#hold')
            USING last_item[3]::integer, last_item[4]::smallint, was.next, last_item[5], last_item[7]::smallint;
    END IF;
    FOREACH one IN ARRAY messages LOOP
        item := relay.taken_item(inbox, one.seq);
        CONTINUE WHEN item[6] = ANY (leased);
        leased := leased || item[6];
        -- Random: a number from a sequence may be given out again after a crash, and an old ack would fit a new lease.
        new_token := ('x' || left(replace(gen_random_uuid()::text, '-', ''), 15))::bit(60)::bigint;
        UPDATE relay.held_key k SET next = item[5], token = new_token,
                due_at = greatest(clock_timestamp() + lease, clock_timestamp())
            WHERE k.source = item[3]::integer AND k.key_hash = item[6]::integer
                  AND k.next = (SELECT x.next FROM relay.held_key x WHERE x.source = item[3]::integer
                                    AND x.key_hash = item[6]::integer ORDER BY x.next DESC LIMIT 1)
                  AND (item[2] = 1 OR k.next = item[5]);
        -- Not the first of its key: this transaction took an earlier one before, without a lease.
        CONTINUE WHEN NOT FOUND;
        RETURN NEXT ROW(one.inbox, one.seq, one.id, one.topic, one.partition, one.kafka_offset, one.record_time, one.key,
                        one.key_bytes, one.type, one.headers, one.headers_bytes, one.payload, one.payload_bytes,
                        one.attempts, one.received_at, new_token)::relay.claimed;
    END LOOP;
    PERFORM relay.note_due(was.source, was.lane, clock_timestamp(), 0);
    PERFORM set_config(setting, before, true);
END
$relay$;
COMMENT ON FUNCTION relay.claim(text, integer, interval) IS
    'As relay.take, but the messages are leased beyond the end of the transaction. Finish each by ack or nack';

-- Locks the lane of a leased message, waiting for it, and refuses a token that another claim has replaced.
CREATE OR REPLACE FUNCTION relay.finish_claimed(inbox text, seq bigint, token bigint, delay interval, reason text)
    RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path TO pg_catalog, pg_temp AS $relay$
DECLARE
    inbox_table constant text := relay.existing_inbox(inbox);
    claimed relay.held_key;
BEGIN
    FOR attempt IN 1..2 LOOP
        SELECT k.* INTO claimed
            FROM relay.held_key k
            JOIN relay.held h ON h.source = k.source AND h.key_hash = k.key_hash AND h.kafka_offset = k.next
            JOIN relay.source s ON s.id = k.source
            JOIN relay.stream t ON t.uuid = s.stream
            WHERE k.token = finish_claimed.token AND h.seq = finish_claimed.seq AND t.name = 'inbox/' || inbox
                  AND t.dropped_at IS NULL;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'message % of inbox "%" is not leased under token %', seq, inbox, token
                USING ERRCODE = 'object_not_in_prerequisite_state',
                      HINT = 'The lease ran out and the message was given to another worker, or it was finished '
                             'already. Roll back what was done for it, or claim with a longer lease.';
        END IF;
        IF attempt = 1 THEN
            PERFORM pg_advisory_xact_lock(relay.lane_lock(claimed.source, claimed.lane));
        END IF;
    END LOOP;
    PERFORM relay.finish_held(inbox, seq, claimed.source, claimed.lane, claimed.key_hash, claimed.next, delay, reason);
END
$relay$;

CREATE OR REPLACE FUNCTION relay.ack(inbox text, seq bigint, token bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path TO pg_catalog, pg_temp
SET plan_cache_mode TO force_generic_plan SET enable_seqscan TO off SET enable_bitmapscan TO off SET jit TO off
AS $relay$
BEGIN
    PERFORM relay.finish_claimed(inbox, seq, token, NULL, NULL);
END
$relay$;
COMMENT ON FUNCTION relay.ack(text, bigint, bigint) IS 'A claimed message is processed';

CREATE OR REPLACE FUNCTION relay.nack(inbox text, seq bigint, token bigint, delay interval DEFAULT interval '0',
    reason text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path TO pg_catalog, pg_temp
SET plan_cache_mode TO force_generic_plan SET enable_seqscan TO off SET enable_bitmapscan TO off SET jit TO off
AS $relay$
BEGIN
    PERFORM relay.refuse_delay(delay);
    PERFORM relay.finish_claimed(inbox, seq, token, delay, reason);
END
$relay$;
COMMENT ON FUNCTION relay.nack(text, bigint, bigint, interval, text) IS
    'Processing of a claimed message failed for now: its key waits that long, then comes again with attempts + 1';

-- Makes a slot of the ring ready to be emptied: copies the held messages in it, and moves lanes that have nothing in
-- it to the next one. True if nothing unfinished is left in it. Waits for nobody: a lane that is locked means false.
CREATE OR REPLACE FUNCTION relay.copy_held(stream uuid, slot smallint) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path TO pg_catalog, pg_temp AS $relay$
DECLARE
    inbox_table text;
    of_lane record;
    next_offset bigint;
    is_open boolean;
    is_free boolean := true;
BEGIN
    PERFORM relay.refuse_isolation('copy_held');
    SELECT relay.inbox_table(s.short_name) INTO inbox_table FROM relay.stream s JOIN relay.ring r ON r.stream = s.uuid
        WHERE s.uuid = copy_held.stream AND s.dropped_at IS NULL AND r.slot <> copy_held.slot;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    FOR of_lane IN
        SELECT s.id AS source, n.lane
        FROM relay.source s
        CROSS JOIN LATERAL (SELECT generate_series(0, s.lanes - 1)::smallint AS lane) n
        WHERE s.stream = copy_held.stream ORDER BY 1, 2
    LOOP
        CONTINUE WHEN NOT EXISTS (SELECT FROM relay.lane l WHERE l.source = of_lane.source AND l.lane = of_lane.lane
                                      AND l.slot = copy_held.slot)
                      AND NOT EXISTS (SELECT FROM relay.held h WHERE h.source = of_lane.source
                                          AND h.lane = of_lane.lane AND h.slot = copy_held.slot);
        IF NOT pg_try_advisory_xact_lock(relay.lane_lock(of_lane.source, of_lane.lane)) THEN
            is_free := false;
            CONTINUE;
        END IF;
        EXECUTE format($copy$
            UPDATE relay.held h SET slot = NULL, record_time = m.record_time, received_at = m.received_at, id = m.id,
                    key = m.key, key_bytes = m.key_bytes, type = m.type, headers = m.headers,
                    headers_bytes = m.headers_bytes, payload = m.payload, payload_bytes = m.payload_bytes
                FROM relay.%I m
                WHERE h.source = $1 AND h.lane = $2 AND h.slot = $3 AND m.source = $1 AND m.lane = $2
                      AND m.kafka_offset = h.kafka_offset
            $copy$, inbox_table || '#' || copy_held.slot)
            USING of_lane.source, of_lane.lane, copy_held.slot;
        SELECT l.next INTO next_offset FROM relay.lane l
            WHERE l.source = of_lane.source AND l.lane = of_lane.lane AND l.slot = copy_held.slot;
        CONTINUE WHEN NOT FOUND;
        EXECUTE format('SELECT EXISTS (SELECT FROM relay.%I m WHERE m.source = $1 AND m.lane = $2 '
                       'AND m.kafka_offset >= $3)', inbox_table || '#' || copy_held.slot)
            INTO is_open USING of_lane.source, of_lane.lane, next_offset;
        IF is_open THEN
            is_free := false;
        ELSE
            UPDATE relay.lane l SET slot = (l.slot + 1) % 4
                WHERE l.source = of_lane.source AND l.lane = of_lane.lane;
        END IF;
    END LOOP;
    IF is_free THEN
        -- Of every lane, wherever it stands: one that has not come as far as this slot has all of it before it.
        EXECUTE format($open$SELECT NOT EXISTS (
            SELECT FROM relay.source s
            CROSS JOIN LATERAL (SELECT generate_series(0, s.lanes - 1)::smallint AS lane) n
            CROSS JOIN LATERAL (SELECT l.next FROM relay.lane l WHERE l.source = s.id AND l.lane = n.lane
                                ORDER BY l.next DESC, l.change DESC LIMIT 1) p
            CROSS JOIN LATERAL (SELECT 1 FROM relay.%I m WHERE m.source = s.id AND m.lane = n.lane
                                    AND m.kafka_offset >= p.next LIMIT 1) m
            WHERE s.stream = $1)$open$, inbox_table || '#' || copy_held.slot) INTO is_free USING copy_held.stream;
    END IF;
    RETURN is_free;
END
$relay$;
COMMENT ON FUNCTION relay.copy_held(uuid, smallint) IS 'For cleaning: true if nothing in the slot is needed any more';

-- Rows of keys that have had nothing held for so long. Returns how many went.
CREATE OR REPLACE FUNCTION relay.forget_keys(stream uuid, older_than interval) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path TO pg_catalog, pg_temp AS $relay$
DECLARE
    of_lane record;
    gone bigint := 0;
    gone_here bigint;
BEGIN
    PERFORM relay.refuse_isolation('forget_keys');
    FOR of_lane IN
        SELECT DISTINCT k.source, k.lane FROM relay.held_key k JOIN relay.source s ON s.id = k.source
        WHERE s.stream = forget_keys.stream AND k.ended_at < clock_timestamp() - older_than ORDER BY 1, 2
    LOOP
        IF pg_try_advisory_xact_lock(relay.lane_lock(of_lane.source, of_lane.lane)) THEN
            DELETE FROM relay.held_key k WHERE k.source = of_lane.source AND k.lane = of_lane.lane
                AND k.due_at IS NULL AND k.ended_at < clock_timestamp() - older_than;
            GET DIAGNOSTICS gone_here = ROW_COUNT;
            gone := gone + gone_here;
        END IF;
    END LOOP;
    RETURN gone;
END
$relay$;

-- Refuses while a message is not finished. Waits for transactions that use it only so long that nobody else is taken for
-- the one to give way in a deadlock. Dead letters go too.
CREATE OR REPLACE FUNCTION relay.drop_inbox(name text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path TO pg_catalog, pg_temp SET lock_timeout TO '500ms' AS $relay$
DECLARE
    inbox_table constant text := relay.inbox_table(name);
    dropped relay.stream;
    is_open boolean;
    sources integer[];
    dead bigint;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'relay.drop_inbox needs isolation level READ COMMITTED, this transaction has %',
            upper(current_setting('transaction_isolation'))
            USING ERRCODE = 'invalid_transaction_state',
                  HINT = 'An older snapshot would not see the rows that were committed since.';
    END IF;
    PERFORM FROM relay.identity FOR UPDATE;
    dropped := relay.find_stream('inbox/' || drop_inbox.name);
    -- As a batch does: the ring before the tables.
    PERFORM FROM relay.ring r WHERE r.stream = dropped.uuid FOR UPDATE;
    EXECUTE format('LOCK TABLE relay.%I IN ACCESS EXCLUSIVE MODE', inbox_table);
    EXECUTE format('SELECT array_agg(s.id), bool_or(relay.%I(s.id)) FROM relay.source s WHERE s.stream = $1',
                   inbox_table || '#is_open')
        INTO sources, is_open USING dropped.uuid;
    IF is_open THEN
        RAISE EXCEPTION 'inbox "%" has messages that are not finished, it is not dropped', drop_inbox.name
            USING ERRCODE = 'object_in_use',
                  HINT = 'Let business code finish them first, or give them up with relay.reject.';
    END IF;
    EXECUTE format('DROP FUNCTION relay.%I(text, integer), relay.%I(text, integer, integer, smallint), relay.%I(), '
                   'relay.%I(integer), '
                   'relay.%I(integer, smallint, bigint, bigint, smallint)', inbox_table || '#take', inbox_table || '#find',
                   inbox_table || '#finish', inbox_table || '#is_open', inbox_table || '#hold');
    EXECUTE format('DROP TABLE relay.%I, relay.%I', inbox_table, inbox_table || '#id');
    DELETE FROM relay.held h WHERE h.source = ANY (sources);
    DELETE FROM relay.held_key k WHERE k.source = ANY (sources);
    DELETE FROM relay.lane l WHERE l.source = ANY (sources);
    DELETE FROM relay.source_offset o WHERE o.source = ANY (sources);
    DELETE FROM relay.source s WHERE s.stream = dropped.uuid;
    DELETE FROM relay.open_source o WHERE o.stream = dropped.uuid;
    DELETE FROM relay.ring r WHERE r.stream = dropped.uuid;
    DELETE FROM relay.subscription s WHERE s.stream = dropped.uuid;
    DELETE FROM relay.dead d WHERE d.stream = dropped.uuid;
    GET DIAGNOSTICS dead = ROW_COUNT;
    DELETE FROM relay.stream_state r WHERE r.stream = dropped.uuid;
    UPDATE relay.stream s SET dropped_at = clock_timestamp(), generation = s.generation + 1
        WHERE s.uuid = dropped.uuid;
    PERFORM relay.write_audit('drop_inbox', dropped.name, jsonb_build_object('uuid', dropped.uuid, 'dead_letters', dead));
END
$relay$;

DO $relay$
DECLARE
    internal regprocedure;
BEGIN
    FOR internal IN
        SELECT p.oid FROM pg_catalog.pg_proc p
        WHERE p.pronamespace = 'relay'::regnamespace AND p.proname IN (
            'take', 'done', 'retry', 'reject', 'claim', 'ack', 'nack', 'taken_item', 'has_taken', 'make_source',
            'make_inbox_functions', 'refuse_take', 'refuse_isolation', 'finish_held', 'refuse_order', 'finish_taken', 'note_due', 'refuse_delay',
            'finish_claimed', 'open_sources', 'copy_held', 'forget_keys', 'drop_inbox')
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', internal);
    END LOOP;
    -- Made again where they are, so that they are those of this file.
    PERFORM relay.make_inbox_functions(relay.inbox_table(s.short_name))
        FROM relay.stream s WHERE s.kind = 'inbox' AND s.dropped_at IS NULL;
END
$relay$;

DO $relay$
BEGIN
    IF NOT EXISTS (SELECT FROM relay.stream s WHERE s.name = 'inbox/main') THEN
        PERFORM relay.create_inbox('main');
    END IF;
END
$relay$;

INSERT INTO relay.schema_version (version, name) VALUES (4, 'inbox') ON CONFLICT DO NOTHING;

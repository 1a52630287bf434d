-- Schema relay: which streams there are, how far PostgreSQL knows them to be published, and what operators did.
-- Runs in one transaction of the runner, and may run again.

CREATE SCHEMA IF NOT EXISTS relay;
COMMENT ON SCHEMA relay IS 'boxrelay: outbox tables published to Kafka, exactly once and in order';

CREATE TABLE IF NOT EXISTS relay.schema_version (
    version integer PRIMARY KEY,
    name text NOT NULL,
    applied_at timestamptz DEFAULT now()
);
COMMENT ON TABLE relay.schema_version IS 'One row for each migration that was applied';

-- Partition numbers are drawn under the lock of this row, so a rollback leaves no gap and no number is used twice.
CREATE TABLE IF NOT EXISTS relay.identity (
    singleton boolean PRIMARY KEY DEFAULT true CONSTRAINT identity_is_one_row CHECK (singleton),
    name text,
    next_partition integer NOT NULL DEFAULT 0 CONSTRAINT next_partition_is_not_negative CHECK (next_partition >= 0)
);
COMMENT ON TABLE relay.identity IS 'One row: the relay that publishes this database';
COMMENT ON COLUMN relay.identity.name IS 'Name of the relay, claimed by its first run. NULL: no relay has run yet';
COMMENT ON COLUMN relay.identity.next_partition IS 'Partition of the positions topic that the next stream gets';

INSERT INTO relay.identity (singleton) VALUES (true) ON CONFLICT DO NOTHING;

-- A dropped stream keeps its row: its partition stays taken, and one made again under its name gets a new uuid, so
-- that it never meets the positions of the old one.
CREATE TABLE IF NOT EXISTS relay.stream (
    uuid uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text NOT NULL,
    kind text NOT NULL CONSTRAINT kind_is_outbox_or_inbox CHECK (kind IN ('outbox', 'inbox')),
    short_name text NOT NULL
        CONSTRAINT short_name_is_lower_case_and_short CHECK (short_name ~ '^[a-z][a-z0-9_]{0,39}$'),
    relation text NOT NULL,
    partition integer UNIQUE CONSTRAINT partition_is_not_negative CHECK (partition >= 0),
    generation bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    dropped_at timestamptz,
    paused_at timestamptz,
    paused_by text,
    paused_reason text,
    CONSTRAINT name_is_kind_and_short_name CHECK (name = kind || '/' || short_name)
);
CREATE UNIQUE INDEX IF NOT EXISTS stream_name_key ON relay.stream (name) WHERE dropped_at IS NULL;
COMMENT ON TABLE relay.stream IS 'Every delivery path that is or was registered';
COMMENT ON COLUMN relay.stream.name IS 'outbox/main';
COMMENT ON COLUMN relay.stream.relation IS 'The table, schema-qualified and quoted where needed';
COMMENT ON COLUMN relay.stream.partition IS 'Its own partition of the positions topic, never used for another stream';
COMMENT ON COLUMN relay.stream.generation IS 'Raised by pause, resume, rebase and drop, so that a relay notices';

-- The ring of ticks. Each tick updates one of 16 rows, so that a snapshot held elsewhere for long spreads the dead
-- versions over 16 chains. No index on a column that a tick writes, and free room in each page, keep updates HOT.
CREATE TABLE IF NOT EXISTS relay.tick (
    stream uuid NOT NULL REFERENCES relay.stream (uuid),
    slot smallint NOT NULL CONSTRAINT slot_is_in_the_ring CHECK (slot BETWEEN 0 AND 15),
    format smallint NOT NULL DEFAULT 1,
    number bigint NOT NULL,
    uuid uuid NOT NULL,
    incarnation uuid,
    known_number bigint,
    known_uuid uuid,
    known_snapshot pg_snapshot,
    known_offset bigint,
    known_at timestamptz,
    system_identifier bigint NOT NULL,
    database_oid oid NOT NULL,
    timeline integer NOT NULL,
    written_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (stream, slot),
    CONSTRAINT slot_is_number_modulo_16 CHECK (slot = (number % 16 + 16) % 16)
) WITH (fillfactor = 40);
COMMENT ON TABLE relay.tick IS 'The last 16 durable ticks of each stream. Slot is number modulo 16';
COMMENT ON COLUMN relay.tick.number IS 'Rises by one with each batch. Negative: the slot was not used yet';
COMMENT ON COLUMN relay.tick.known_number IS
    'Tick of the position that was known committed in Kafka when this tick was written. NULL: none was known';

-- What the relay says of itself. Only people and the status view read it, no decision rests on it.
CREATE TABLE IF NOT EXISTS relay.stream_state (
    stream uuid PRIMARY KEY REFERENCES relay.stream (uuid),
    state text NOT NULL,
    leader text,
    pending bigint,
    pending_is_bound boolean NOT NULL DEFAULT false,
    oldest_at timestamptz,
    published_rows bigint,
    rows_per_second double precision,
    error_class text,
    error_code text,
    error_text text,
    error_hint text,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 40);
COMMENT ON TABLE relay.stream_state IS 'Last report of the relay about each stream. Read the view relay.status instead';

CREATE TABLE IF NOT EXISTS relay.audit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor text NOT NULL DEFAULT session_user,
    action text NOT NULL,
    stream text,
    detail jsonb
);
COMMENT ON TABLE relay.audit IS 'Every action of an operator';

-- Refuses with the list of streams that there are. Returns the stream, locked against a change by somebody else.
CREATE OR REPLACE FUNCTION relay.find_stream(wanted text) RETURNS relay.stream
LANGUAGE plpgsql VOLATILE SET search_path TO pg_catalog, pg_temp AS $relay$
DECLARE
    found_stream relay.stream;
BEGIN
    SELECT * INTO found_stream FROM relay.stream s
        WHERE s.name = wanted AND s.dropped_at IS NULL FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no stream "%"', wanted
            USING ERRCODE = 'undefined_object',
                  HINT = 'Streams of this database are '
                         || coalesce((SELECT string_agg(s.name, ', ' ORDER BY s.name) FROM relay.stream s
                                          WHERE s.dropped_at IS NULL), 'none yet') || '.';
    END IF;
    RETURN found_stream;
END
$relay$;

-- A new stream with its uuid, its partition and its ring of ticks. Tick 0 stands before every row.
CREATE OR REPLACE FUNCTION relay.register_stream(kind text, short_name text, relation text) RETURNS uuid
LANGUAGE plpgsql VOLATILE SET search_path TO pg_catalog, pg_temp AS $relay$
DECLARE
    new_partition integer;
    new_uuid uuid;
BEGIN
    UPDATE relay.identity i SET next_partition = i.next_partition + 1 RETURNING i.next_partition - 1 INTO new_partition;
    INSERT INTO relay.stream (name, kind, short_name, relation, partition)
        VALUES (register_stream.kind || '/' || register_stream.short_name, register_stream.kind,
                register_stream.short_name, register_stream.relation, new_partition)
        RETURNING uuid INTO new_uuid;
    INSERT INTO relay.tick (stream, slot, number, uuid, system_identifier, database_oid, timeline)
        SELECT new_uuid, slot, CASE slot WHEN 0 THEN 0 ELSE slot - 16 END, gen_random_uuid(), control.system_identifier,
               (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()),
               ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::integer
        FROM generate_series(0, 15) AS slot, pg_control_system() AS control;
    RETURN new_uuid;
END
$relay$;

CREATE OR REPLACE FUNCTION relay.write_audit(action text, stream text, detail jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path TO pg_catalog, pg_temp AS $relay$
BEGIN
    INSERT INTO relay.audit (actor, action, stream, detail)
        VALUES (session_user, write_audit.action, write_audit.stream,
                jsonb_build_object('application_name', current_setting('application_name')) || write_audit.detail);
END
$relay$;

-- Kept over restarts of the relay. Pausing a paused stream replaces who and why.
CREATE OR REPLACE FUNCTION relay.pause(stream text, reason text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path TO pg_catalog, pg_temp AS $relay$
DECLARE
    found_stream relay.stream;
BEGIN
    found_stream := relay.find_stream(pause.stream);
    UPDATE relay.stream s
        SET paused_at = coalesce(s.paused_at, clock_timestamp()), paused_by = session_user,
            paused_reason = pause.reason, generation = s.generation + 1
        WHERE s.uuid = found_stream.uuid;
    PERFORM relay.write_audit('pause', pause.stream, jsonb_build_object('reason', pause.reason));
END
$relay$;

CREATE OR REPLACE FUNCTION relay.resume(stream text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path TO pg_catalog, pg_temp AS $relay$
DECLARE
    found_stream relay.stream;
BEGIN
    found_stream := relay.find_stream(resume.stream);
    IF found_stream.paused_at IS NULL THEN
        RAISE NOTICE 'stream "%" is not paused', resume.stream;
        RETURN;
    END IF;
    UPDATE relay.stream s
        SET paused_at = NULL, paused_by = NULL, paused_reason = NULL, generation = s.generation + 1
        WHERE s.uuid = found_stream.uuid;
    PERFORM relay.write_audit('resume', resume.stream, jsonb_build_object(
        'paused_at', found_stream.paused_at, 'paused_by', found_stream.paused_by, 'reason', found_stream.paused_reason));
END
$relay$;

REVOKE ALL ON FUNCTION relay.find_stream(text) FROM PUBLIC;
REVOKE ALL ON FUNCTION relay.register_stream(text, text, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION relay.write_audit(text, text, jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION relay.pause(text, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION relay.resume(text) FROM PUBLIC;

-- A report older than 30 seconds says nothing of now. The age of the oldest row goes on rising even then.
CREATE OR REPLACE VIEW relay.status AS
SELECT s.name AS stream,
       CASE WHEN r.updated_at > clock_timestamp() - interval '30 seconds' THEN r.state ELSE 'unknown' END AS state,
       r.pending,
       r.pending_is_bound,
       CASE WHEN r.pending > 0 THEN greatest(clock_timestamp() - r.oldest_at, interval '0') END AS oldest_age,
       r.rows_per_second,
       0::bigint AS dead,
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
COMMENT ON VIEW relay.status IS 'A row for each stream. State unknown: no relay has reported for 30 seconds';

INSERT INTO relay.schema_version (version, name) VALUES (1, 'relay') ON CONFLICT DO NOTHING;

-- Cleaning of published rows: the ring of slots turns, and a slot that is published and old is emptied by TRUNCATE.
-- Runs in one transaction, and may run again.
--
--   empty --(turn)--> open --(turn)--> closed --(all rows in the known position)--> covered --(retention)--> empty

CREATE TABLE IF NOT EXISTS relay.slot (
    stream uuid NOT NULL REFERENCES relay.stream (uuid),
    slot smallint NOT NULL CONSTRAINT slot_is_in_the_ring CHECK (slot BETWEEN 0 AND 7),
    turn bigint NOT NULL,
    opened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    closed_at timestamptz,
    covered_at timestamptz,
    covered_snapshot pg_snapshot,
    emptied_at timestamptz,
    PRIMARY KEY (stream, slot),
    CONSTRAINT covered_with_its_snapshot CHECK ((covered_at IS NULL) = (covered_snapshot IS NULL))
);
COMMENT ON TABLE relay.slot IS 'The eight slots of each outbox. The open one is where its sequence stands';
COMMENT ON COLUMN relay.slot.turn IS 'seq >> 32 of its rows';
COMMENT ON COLUMN relay.slot.opened_at IS 'When rows were first seen in it';
COMMENT ON COLUMN relay.slot.covered_at IS 'When all its rows were first seen published, by covered_snapshot';

-- What the last look of a relay found. Only people and the view cleanup read it, no decision rests on it.
CREATE TABLE IF NOT EXISTS relay.cleanup_state (
    stream uuid PRIMARY KEY REFERENCES relay.stream (uuid),
    size_bytes bigint,
    oldest_at timestamptz,
    held_since timestamptz,
    held_reason text,
    held_by text,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 40);
COMMENT ON TABLE relay.cleanup_state IS 'Last report about each outbox. Read the view relay.cleanup instead';

CREATE OR REPLACE FUNCTION relay.forget_slots() RETURNS trigger
LANGUAGE plpgsql SET search_path TO pg_catalog, pg_temp AS $relay$
BEGIN
    DELETE FROM relay.slot s WHERE s.stream = NEW.uuid;
    DELETE FROM relay.cleanup_state c WHERE c.stream = NEW.uuid;
    RETURN NULL;
END
$relay$;

CREATE OR REPLACE TRIGGER forget_slots AFTER UPDATE OF dropped_at ON relay.stream
    FOR EACH ROW WHEN (NEW.dropped_at IS NOT NULL) EXECUTE FUNCTION relay.forget_slots();

-- Where the sequence stands. It is not undone by a rollback, so it is the truth about the open slot.
CREATE OR REPLACE FUNCTION relay.open_turn(outbox_table text) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path TO pg_catalog, pg_temp AS $relay$
DECLARE
    found_turn bigint;
BEGIN
    EXECUTE format('SELECT last_value >> 32 FROM relay.%I', outbox_table || '#seq') INTO found_turn;
    RETURN found_turn;
END
$relay$;

-- P of the position that PostgreSQL itself holds as committed in Kafka. NULL: none is known, or the ticks were
-- written in another database, whose transaction ids say nothing here.
CREATE OR REPLACE FUNCTION relay.known_snapshot(stream uuid) RETURNS pg_snapshot
LANGUAGE plpgsql VOLATILE SET search_path TO pg_catalog, pg_temp AS $relay$
BEGIN
    RETURN (SELECT CASE WHEN t.system_identifier = control.system_identifier
                             AND t.database_oid = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
                        THEN t.known_snapshot END
                FROM relay.tick t, pg_control_system() AS control
                WHERE t.stream = known_snapshot.stream ORDER BY t.number DESC LIMIT 1);
END
$relay$;

-- What is to be done with each of the eight slots. Writes nothing. A slot has rows if its file is not empty, so rows
-- of open and of failed transactions count too.
CREATE OR REPLACE FUNCTION relay.slot_steps(of_stream relay.stream, retention interval)
RETURNS TABLE (slot smallint, turn bigint, step text, bytes bigint, rows_since timestamptz, waits_since timestamptz)
LANGUAGE plpgsql VOLATILE SET search_path TO pg_catalog, pg_temp AS $relay$
#variable_conflict use_variable
DECLARE
    outbox_table constant text := relay.outbox_table(of_stream.short_name);
    open_turn constant bigint := relay.open_turn(outbox_table);
    known constant pg_snapshot := relay.known_snapshot(of_stream.uuid);
    now constant timestamptz := clock_timestamp();
    noted relay.slot;
    leaf text;
    next_leaf text;
BEGIN
    FOR number IN 0..7 LOOP
        slot := number;
        turn := open_turn - ((open_turn - number) & 7);
        leaf := outbox_table || '#' || number;
        bytes := pg_total_relation_size(format('relay.%I', leaf)::regclass);
        step := NULL;
        rows_since := NULL;
        waits_since := NULL;
        IF pg_relation_size(format('relay.%I', leaf)::regclass) > 0 THEN
            SELECT * INTO noted FROM relay.slot s WHERE s.stream = of_stream.uuid AND s.slot = number;
            rows_since := coalesce(noted.opened_at, now);
            IF number = (open_turn & 7) THEN
                next_leaf := outbox_table || '#' || ((number + 1) & 7);
                IF noted.turn IS DISTINCT FROM open_turn OR noted.closed_at IS NOT NULL THEN
                    step := 'open';
                    rows_since := now;
                ELSIF noted.opened_at <= now - retention / 4
                      AND pg_relation_size(format('relay.%I', next_leaf)::regclass) = 0 THEN
                    step := 'turn';
                END IF;
            ELSIF noted.stream IS NULL OR noted.closed_at IS NULL OR noted.emptied_at IS NOT NULL THEN
                step := 'close';
            ELSIF known IS NULL OR relay.outbox_has_unpublished(leaf, known) THEN
                step := CASE WHEN noted.covered_at IS NOT NULL THEN 'uncover' END;
                waits_since := noted.closed_at;
            ELSIF noted.covered_at IS NULL OR relay.outbox_has_unpublished(leaf, noted.covered_snapshot) THEN
                step := 'cover';
            ELSIF noted.covered_at <= now - retention THEN
                step := 'empty';
            END IF;
        END IF;
        RETURN NEXT;
    END LOOP;
END
$relay$;

-- [C2] Under the lock no transaction that wrote to the slot is open any more, and the looks that follow are new
-- statements: they see all that was committed while this one waited.
CREATE OR REPLACE FUNCTION relay.empty_slot(of_stream relay.stream, slot smallint) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path TO pg_catalog, pg_temp AS $relay$
DECLARE
    outbox_table constant text := relay.outbox_table(of_stream.short_name);
    leaf constant text := outbox_table || '#' || slot;
    known pg_snapshot;
    covered pg_snapshot;
BEGIN
    EXECUTE format('LOCK TABLE ONLY relay.%I IN ACCESS EXCLUSIVE MODE', leaf);
    known := relay.known_snapshot(of_stream.uuid);
    SELECT s.covered_snapshot INTO covered FROM relay.slot s
        WHERE s.stream = of_stream.uuid AND s.slot = empty_slot.slot;
    IF (relay.open_turn(outbox_table) & 7) = slot OR known IS NULL OR covered IS NULL
       OR relay.outbox_has_unpublished(leaf, known) OR relay.outbox_has_unpublished(leaf, covered) THEN
        RETURN false;
    END IF;
    EXECUTE format('TRUNCATE TABLE ONLY relay.%I', leaf);
    UPDATE relay.slot s SET emptied_at = clock_timestamp()
        WHERE s.stream = of_stream.uuid AND s.slot = empty_slot.slot;
    RETURN true;
END
$relay$;

-- Who holds a lock that an ACCESS EXCLUSIVE lock has to wait for: on a slot with its indexes and TOAST table, or on
-- the row of the stream. Without pg_read_all_stats the age of a transaction of another role is not shown.
CREATE OR REPLACE FUNCTION relay.lock_holders(outbox_table text) RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path TO pg_catalog, pg_temp AS $relay$
DECLARE
    slots constant oid[] := ARRAY(SELECT to_regclass(format('relay.%I', outbox_table || '#' || n))::oid
                                      FROM generate_series(0, 7) AS n);
BEGIN
    RETURN (
        SELECT string_agg(holder.words, ', ') FROM (
            SELECT DISTINCT CASE
                WHEN l.pid IS NULL THEN format('prepared transaction %L, prepared %s UTC', p.gid,
                                               date_trunc('second', p.prepared AT TIME ZONE 'UTC'))
                ELSE format('pid %s (%s)%s', l.pid, coalesce(nullif(a.application_name, ''), a.backend_type, 'no name'),
                            coalesce(' in a transaction since '
                                     || date_trunc('second', a.xact_start AT TIME ZONE 'UTC') || ' UTC',
                                     ', the age of its transaction is not visible to the relay')) END AS words
            FROM pg_locks l
            LEFT JOIN pg_stat_activity a ON a.pid = l.pid
            LEFT JOIN pg_locks own ON l.pid IS NULL AND own.pid IS NULL AND own.locktype = 'transactionid'
                                      AND own.virtualtransaction = l.virtualtransaction
            LEFT JOIN pg_prepared_xacts p ON p.transaction = own.transactionid
            WHERE l.locktype = 'relation' AND l.granted AND l.pid IS DISTINCT FROM pg_backend_pid()
                  AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
                  AND (l.relation = ANY (slots)
                       OR l.relation IN (SELECT i.indexrelid FROM pg_index i WHERE i.indrelid = ANY (slots))
                       OR l.relation IN (SELECT c.reltoastrelid FROM pg_class c WHERE c.oid = ANY (slots))
                       OR (l.relation = 'relay.stream'::regclass AND l.mode IN ('RowShareLock', 'RowExclusiveLock')))
            ORDER BY 1 LIMIT 3) AS holder);
END
$relay$;

-- Why a closed slot waits though nobody holds a lock.
CREATE OR REPLACE FUNCTION relay.why_unpublished(of_stream relay.stream) RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path TO pg_catalog, pg_temp AS $relay$
BEGIN
    RETURN CASE
        WHEN of_stream.paused_at IS NOT NULL THEN format('rows wait: the stream was paused by %s', of_stream.paused_by)
        WHEN relay.known_snapshot(of_stream.uuid) IS NULL THEN 'rows wait: nothing is known to be published yet'
        ELSE coalesce((SELECT format('rows wait: the stream is in state %s', r.state)
                           FROM relay.stream_state r WHERE r.stream = of_stream.uuid
                                AND r.updated_at > clock_timestamp() - interval '30 seconds'),
                      'rows wait: no relay publishes the stream') END;
END
$relay$;

-- Written only where something changed, and for an outbox that never had rows not at all.
CREATE OR REPLACE FUNCTION relay.report_cleanup(of_stream relay.stream, seen relay.cleanup_state)
RETURNS relay.cleanup_state
LANGUAGE plpgsql VOLATILE SET search_path TO pg_catalog, pg_temp AS $relay$
DECLARE
    before relay.cleanup_state;
BEGIN
    SELECT * INTO before FROM relay.cleanup_state c WHERE c.stream = of_stream.uuid;
    IF seen.held_reason = 'lock' THEN
        seen.size_bytes := coalesce(seen.size_bytes, before.size_bytes);
        seen.oldest_at := coalesce(seen.oldest_at, before.oldest_at);
        IF before.held_reason = 'lock' THEN
            seen.held_since := before.held_since;
            seen.held_by := coalesce(seen.held_by, before.held_by);
        END IF;
    END IF;
    IF (before.stream IS NULL AND seen.oldest_at IS NULL AND seen.held_reason IS NULL)
       OR (before.size_bytes, before.oldest_at, before.held_since, before.held_reason, before.held_by)
          IS NOT DISTINCT FROM (seen.size_bytes, seen.oldest_at, seen.held_since, seen.held_reason, seen.held_by) THEN
        RETURN seen;
    END IF;
    BEGIN
        INSERT INTO relay.cleanup_state AS c (stream, size_bytes, oldest_at, held_since, held_reason, held_by)
            VALUES (of_stream.uuid, seen.size_bytes, seen.oldest_at, seen.held_since, seen.held_reason, seen.held_by)
            ON CONFLICT (stream) DO UPDATE
            SET size_bytes = excluded.size_bytes, oldest_at = excluded.oldest_at, held_since = excluded.held_since,
                held_reason = excluded.held_reason, held_by = excluded.held_by, updated_at = clock_timestamp();
    EXCEPTION WHEN lock_not_available THEN
        -- Another instance reports just now.
        NULL;
    END;
    RETURN seen;
END
$relay$;

-- Takes one step of the ring under the lock of the stream, which nothing that writes rows or ticks touches. What was
-- seen before the lock is looked at anew behind it. Returns the step, or NULL if there is none any more.
CREATE OR REPLACE FUNCTION relay.take_step(of_stream relay.stream, retention interval, OUT step text, OUT slot smallint)
LANGUAGE plpgsql VOLATILE SET search_path TO pg_catalog, pg_temp AS $relay$
#variable_conflict use_variable
DECLARE
    outbox_table constant text := relay.outbox_table(of_stream.short_name);
    now constant timestamptz := clock_timestamp();
    turn bigint;
BEGIN
    PERFORM FROM relay.stream s WHERE s.uuid = of_stream.uuid AND s.dropped_at IS NULL FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT due.step, due.slot, due.turn INTO step, slot, turn FROM relay.slot_steps(of_stream, retention) due
        WHERE due.step IS NOT NULL ORDER BY due.step = 'empty', due.step <> 'turn', due.slot LIMIT 1;
    IF step = 'turn' THEN
        -- [C1] The target is computed here, under the lock: a number handed out stays below it, and nobody else moves.
        PERFORM setval(format('relay.%I', outbox_table || '#seq')::regclass, (turn + 1) << 32, false);
        UPDATE relay.slot s SET closed_at = now WHERE s.stream = of_stream.uuid AND s.slot = take_step.slot;
    ELSIF step = 'open' THEN
        INSERT INTO relay.slot AS s (stream, slot, turn) VALUES (of_stream.uuid, slot, turn)
            ON CONFLICT ON CONSTRAINT slot_pkey DO UPDATE
            SET turn = excluded.turn, opened_at = excluded.opened_at, closed_at = NULL, covered_at = NULL,
                covered_snapshot = NULL, emptied_at = NULL;
    ELSIF step = 'close' THEN
        INSERT INTO relay.slot AS s (stream, slot, turn, closed_at) VALUES (of_stream.uuid, slot, turn, now)
            ON CONFLICT ON CONSTRAINT slot_pkey DO UPDATE
            SET turn = excluded.turn,
                opened_at = CASE WHEN s.emptied_at IS NULL THEN s.opened_at ELSE excluded.opened_at END,
                closed_at = excluded.closed_at, covered_at = NULL, covered_snapshot = NULL, emptied_at = NULL;
    ELSIF step IN ('cover', 'uncover') THEN
        UPDATE relay.slot s
            SET covered_at = CASE step WHEN 'cover' THEN now END,
                covered_snapshot = CASE step WHEN 'cover' THEN relay.known_snapshot(of_stream.uuid) END
            WHERE s.stream = of_stream.uuid AND s.slot = take_step.slot;
    ELSIF step = 'empty' THEN
        IF NOT relay.empty_slot(of_stream, slot) THEN
            step := 'keep';
        END IF;
    END IF;
END
$relay$;

-- One step of cleaning, in a transaction of its own. Call it again until step is nothing or later.
--   nothing: all is done that is due. later: a lock was not got within 100 ms, held_by says whose.
--   open, close, cover, uncover: the state of that slot was noted. keep: it got rows meanwhile.
--   turn [C1]: that slot was closed, new rows go into the next. empty [C2]: its rows are gone.
CREATE OR REPLACE FUNCTION relay.clean(stream uuid, retention interval, OUT step text, OUT slot smallint,
    OUT size_bytes bigint, OUT oldest_age interval, OUT held_for interval, OUT held_reason text, OUT held_by text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path TO pg_catalog, pg_temp SET lock_timeout TO '100ms'
SET enable_seqscan TO off SET jit TO off AS $relay$
#variable_conflict use_variable
DECLARE
    of_stream relay.stream;
    seen relay.cleanup_state;
    is_due boolean;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'relay.clean needs isolation level READ COMMITTED, this transaction has %',
            upper(current_setting('transaction_isolation'))
            USING ERRCODE = 'invalid_transaction_state',
                  HINT = 'An older snapshot would not see the rows that were committed since.';
    ELSIF pg_current_xact_id_if_assigned() IS NOT NULL THEN
        RAISE EXCEPTION 'relay.clean needs a transaction of its own, this one has written already'
            USING ERRCODE = 'invalid_transaction_state',
                  HINT = 'A slot stays locked to the end of the transaction that emptied it.';
    ELSIF retention IS NULL OR retention < interval '0' THEN
        RAISE EXCEPTION 'retention is NULL or negative' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    step := 'nothing';
    SELECT * INTO of_stream FROM relay.stream s WHERE s.uuid = stream AND s.kind = 'outbox' AND s.dropped_at IS NULL;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    BEGIN
        SELECT bool_or(due.step IS NOT NULL), sum(due.bytes), min(due.rows_since), min(due.waits_since)
            INTO is_due, seen.size_bytes, seen.oldest_at, seen.held_since
            FROM relay.slot_steps(of_stream, retention) due;
        IF is_due THEN
            SELECT coalesce(taken.step, 'nothing'), taken.slot INTO step, slot
                FROM relay.take_step(of_stream, retention) taken;
        END IF;
    EXCEPTION WHEN lock_not_available THEN
        step := 'later';
        slot := NULL;
    END;
    IF step = 'later' THEN
        seen.held_since := clock_timestamp();
        seen.held_reason := 'lock';
        seen.held_by := relay.lock_holders(relay.outbox_table(of_stream.short_name));
    ELSIF seen.held_since < clock_timestamp() - greatest(retention / 8, interval '5 seconds') THEN
        seen.held_reason := 'position';
        seen.held_by := relay.why_unpublished(of_stream);
    ELSE
        seen.held_since := NULL;
    END IF;
    IF step IN ('nothing', 'later') THEN
        seen := relay.report_cleanup(of_stream, seen);
        size_bytes := seen.size_bytes;
        oldest_age := clock_timestamp() - seen.oldest_at;
        held_for := clock_timestamp() - seen.held_since;
        held_reason := seen.held_reason;
        held_by := seen.held_by;
    END IF;
END
$relay$;
COMMENT ON FUNCTION relay.clean(uuid, interval) IS
    'One step of cleaning an outbox: published rows older than the retention. Call it until step is nothing or later';

REVOKE ALL ON FUNCTION relay.forget_slots() FROM PUBLIC;
REVOKE ALL ON FUNCTION relay.open_turn(text) FROM PUBLIC;
REVOKE ALL ON FUNCTION relay.known_snapshot(uuid) FROM PUBLIC;
REVOKE ALL ON FUNCTION relay.slot_steps(relay.stream, interval) FROM PUBLIC;
REVOKE ALL ON FUNCTION relay.empty_slot(relay.stream, smallint) FROM PUBLIC;
REVOKE ALL ON FUNCTION relay.lock_holders(text) FROM PUBLIC;
REVOKE ALL ON FUNCTION relay.why_unpublished(relay.stream) FROM PUBLIC;
REVOKE ALL ON FUNCTION relay.report_cleanup(relay.stream, relay.cleanup_state) FROM PUBLIC;
REVOKE ALL ON FUNCTION relay.take_step(relay.stream, interval) FROM PUBLIC;
REVOKE ALL ON FUNCTION relay.clean(uuid, interval) FROM PUBLIC;

-- A view of its own: relay.status could not get more columns and still be made again by the migration that made it.
CREATE OR REPLACE VIEW relay.cleanup AS
SELECT s.name AS stream,
       c.size_bytes,
       clock_timestamp() - c.oldest_at AS oldest_slot_age,
       clock_timestamp() - c.held_since AS held_for,
       c.held_reason,
       c.held_by,
       c.updated_at
FROM relay.stream s
LEFT JOIN relay.cleanup_state c ON c.stream = s.uuid
WHERE s.kind = 'outbox' AND s.dropped_at IS NULL;
COMMENT ON VIEW relay.cleanup IS 'How large each outbox is, how old its oldest slot is, what holds cleaning back';

INSERT INTO relay.schema_version (version, name) VALUES (3, 'cleanup') ON CONFLICT DO NOTHING;

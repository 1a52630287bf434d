-- Cleaning of inboxes: the rings of messages and ids turn, and what is old enough is emptied by TRUNCATE.
-- Runs in one transaction, and may run again.
--
--   slot:       open --(half of the retention)--> closed --(all its messages finished)--> finished --(retention)--> empty
--   generation: open --(half of the retention of ids)--> closed --(retention of ids)--> empty

CREATE TABLE IF NOT EXISTS relay.closed_slot (
    stream uuid NOT NULL REFERENCES relay.stream (uuid),
    slot smallint NOT NULL CONSTRAINT slot_is_in_the_ring CHECK (slot BETWEEN 0 AND 3),
    closed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    PRIMARY KEY (stream, slot)
);
COMMENT ON TABLE relay.closed_slot IS 'Slots of inboxes that get no more messages and are not empty yet';
COMMENT ON COLUMN relay.closed_slot.finished_at IS 'When nothing unfinished was first seen in it';

CREATE TABLE IF NOT EXISTS relay.closed_generation (
    stream uuid NOT NULL REFERENCES relay.stream (uuid),
    generation smallint NOT NULL CONSTRAINT generation_is_in_the_ring CHECK (generation BETWEEN 0 AND 3),
    closed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (stream, generation)
);
COMMENT ON TABLE relay.closed_generation IS 'Generations of ids that get no more ids and are not forgotten yet';

-- What an inbox remembers to clean goes with it.
CREATE OR REPLACE FUNCTION relay.forget_rings() RETURNS trigger
LANGUAGE plpgsql SET search_path TO pg_catalog, pg_temp AS $relay$
BEGIN
    DELETE FROM relay.closed_slot c WHERE c.stream = NEW.uuid;
    DELETE FROM relay.closed_generation c WHERE c.stream = NEW.uuid;
    RETURN NULL;
END
$relay$;

CREATE OR REPLACE TRIGGER forget_rings AFTER UPDATE OF dropped_at ON relay.stream
    FOR EACH ROW WHEN (NEW.dropped_at IS NOT NULL) EXECUTE FUNCTION relay.forget_rings();

-- Opens the next slot, or generation, of the ring if the open one is older than that and the next one is empty. [I4]
-- The update waits for the batches that hold the row, and later ones wait for it: no batch goes by the old one.
CREATE OR REPLACE FUNCTION relay.turn_ring(of_stream relay.stream, inbox_table text, slot_age interval,
    generation_age interval) RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path TO pg_catalog, pg_temp AS $relay$
DECLARE
    ring relay.ring;
BEGIN
    SELECT * INTO STRICT ring FROM relay.ring r WHERE r.stream = of_stream.uuid;
    IF ring.slot_since < clock_timestamp() - slot_age
       AND pg_relation_size(format('relay.%I', inbox_table || '#' || ring.slot)::regclass) > 0
       AND pg_relation_size(format('relay.%I', inbox_table || '#' || (ring.slot + 1) % 4)::regclass) = 0 THEN
        UPDATE relay.ring r SET slot = (ring.slot + 1) % 4, slot_since = clock_timestamp()
            WHERE r.stream = of_stream.uuid AND r.slot = ring.slot;
        IF FOUND THEN
            INSERT INTO relay.closed_slot (stream, slot) VALUES (of_stream.uuid, ring.slot);
            RETURN 'turn';
        END IF;
    END IF;
    IF ring.generation_since < clock_timestamp() - generation_age
       AND pg_relation_size(format('relay.%I', inbox_table || '#id' || ring.generation)::regclass) > 0
       AND pg_relation_size(format('relay.%I', inbox_table || '#id' || (ring.generation + 1) % 4)::regclass) = 0 THEN
        UPDATE relay.ring r SET generation = (ring.generation + 1) % 4, generation_since = clock_timestamp()
            WHERE r.stream = of_stream.uuid AND r.generation = ring.generation;
        IF FOUND THEN
            INSERT INTO relay.closed_generation (stream, generation) VALUES (of_stream.uuid, ring.generation);
            RETURN 'turn ids';
        END IF;
    END IF;
    RETURN NULL;
END
$relay$;

-- A closed slot whose messages are all finished is noted, and once that is the retention ago it is emptied. What is
-- held has been copied out of it before, under the locks of its lanes, which last to the end of this transaction.
CREATE OR REPLACE FUNCTION relay.clean_slots(of_stream relay.stream, inbox_table text, retention interval) RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path TO pg_catalog, pg_temp AS $relay$
DECLARE
    closed relay.closed_slot;
BEGIN
    FOR closed IN
        SELECT c.* FROM relay.closed_slot c WHERE c.stream = of_stream.uuid
               AND (c.finished_at IS NULL OR c.finished_at < clock_timestamp() - retention)
            ORDER BY c.closed_at
    LOOP
        IF closed.finished_at IS NULL THEN
            CONTINUE WHEN NOT relay.copy_held(of_stream.uuid, closed.slot);
            UPDATE relay.closed_slot c SET finished_at = clock_timestamp()
                WHERE c.stream = of_stream.uuid AND c.slot = closed.slot;
            RETURN 'finish';
        END IF;
        EXECUTE format('LOCK TABLE ONLY relay.%I IN ACCESS EXCLUSIVE MODE', inbox_table || '#' || closed.slot);
        -- Under the lock, by new statements: nothing can come back into a closed slot, but this costs little.
        CONTINUE WHEN NOT relay.copy_held(of_stream.uuid, closed.slot);
        EXECUTE format('TRUNCATE TABLE ONLY relay.%I', inbox_table || '#' || closed.slot);
        DELETE FROM relay.closed_slot c WHERE c.stream = of_stream.uuid AND c.slot = closed.slot;
        RETURN 'empty';
    END LOOP;
    RETURN NULL;
END
$relay$;

CREATE OR REPLACE FUNCTION relay.clean_ids(of_stream relay.stream, inbox_table text, id_retention interval) RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path TO pg_catalog, pg_temp AS $relay$
DECLARE
    old relay.closed_generation;
BEGIN
    FOR round IN 1..2 LOOP
        -- A partition that was rebased, and has not been read to where this generation was closed, needs it to the end.
        SELECT c.* INTO old FROM relay.closed_generation c
            WHERE c.stream = of_stream.uuid AND c.closed_at < clock_timestamp() - id_retention
                  AND NOT EXISTS (SELECT FROM relay.source s JOIN relay.source_offset o ON o.source = s.id
                                  WHERE s.stream = of_stream.uuid AND s.generation > 0
                                        AND s.created_at > clock_timestamp() - id_retention
                                        AND (o.witness_time IS NULL OR o.witness_time < c.closed_at))
            ORDER BY c.closed_at LIMIT 1;
        IF NOT FOUND THEN
            RETURN NULL;
        END IF;
        -- As a batch does: the ring before the tables. Then again: another may have emptied it, and opened it anew.
        PERFORM FROM relay.ring r WHERE r.stream = of_stream.uuid FOR NO KEY UPDATE;
    END LOOP;
    EXECUTE format('TRUNCATE TABLE ONLY relay.%I', inbox_table || '#id' || old.generation);
    DELETE FROM relay.closed_generation c WHERE c.stream = of_stream.uuid AND c.generation = old.generation;
    UPDATE relay.ring r SET ids_since = old.closed_at WHERE r.stream = of_stream.uuid;
    RETURN 'forget ids';
END
$relay$;

-- One step of cleaning, in a transaction of its own. Call it again until the step is nothing or later.
--   nothing: all is done that is due. later: a lock was not got within 100 ms.
--   turn, turn ids: new messages, new ids, go into the next slot or generation. finish: a slot has nothing unfinished.
--   empty: its messages are gone. forget ids: those of the oldest generation are gone.
CREATE OR REPLACE FUNCTION relay.clean_inbox(stream uuid, retention interval, id_retention interval) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path TO pg_catalog, pg_temp SET lock_timeout TO '100ms'
SET enable_seqscan TO off SET jit TO off AS $relay$
DECLARE
    of_stream relay.stream;
    inbox_table text;
    step text;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'relay.clean_inbox needs isolation level READ COMMITTED, this transaction has %',
            upper(current_setting('transaction_isolation'))
            USING ERRCODE = 'invalid_transaction_state',
                  HINT = 'An older snapshot would not see the rows that were committed since.';
    ELSIF retention IS NULL OR retention < interval '0' OR id_retention IS NULL OR id_retention < retention THEN
        RAISE EXCEPTION 'a retention is NULL or negative, or that of ids shorter than that of messages'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT * INTO of_stream FROM relay.stream s
        WHERE s.uuid = clean_inbox.stream AND s.kind = 'inbox' AND s.dropped_at IS NULL;
    IF NOT FOUND THEN
        RETURN 'nothing';
    END IF;
    inbox_table := relay.inbox_table(of_stream.short_name);
    BEGIN
        step := coalesce(relay.turn_ring(of_stream, inbox_table, retention / 2, id_retention / 2),
                         relay.clean_slots(of_stream, inbox_table, retention),
                         relay.clean_ids(of_stream, inbox_table, id_retention));
    EXCEPTION WHEN lock_not_available THEN
        RETURN 'later';
    END;
    IF step IS NULL AND relay.forget_keys(of_stream.uuid, interval '1 hour') > 0 THEN
        step := 'forget keys';
    END IF;
    RETURN coalesce(step, 'nothing');
END
$relay$;
COMMENT ON FUNCTION relay.clean_inbox(uuid, interval, interval) IS
    'One step of cleaning an inbox: finished messages and ids older than their retention. Call it until nothing or later';

REVOKE ALL ON FUNCTION relay.forget_rings() FROM PUBLIC;
REVOKE ALL ON FUNCTION relay.turn_ring(relay.stream, text, interval, interval) FROM PUBLIC;
REVOKE ALL ON FUNCTION relay.clean_slots(relay.stream, text, interval) FROM PUBLIC;
REVOKE ALL ON FUNCTION relay.clean_ids(relay.stream, text, interval) FROM PUBLIC;
REVOKE ALL ON FUNCTION relay.clean_inbox(uuid, interval, interval) FROM PUBLIC;

INSERT INTO relay.schema_version (version, name) VALUES (5, 'inbox_cleanup') ON CONFLICT DO NOTHING;

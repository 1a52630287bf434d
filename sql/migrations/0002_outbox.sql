-- Outbox tables, and the functions that make, drop and write them. Runs in one transaction, and may run again.

-- How many headers a text holds, the same name twice counted twice. Called only for long texts.
CREATE OR REPLACE FUNCTION relay.header_count(headers text) RETURNS integer
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path TO pg_catalog, pg_temp AS $relay$
BEGIN
    RETURN (SELECT count(*) FROM json_object_keys(headers::json));
END
$relay$;
COMMENT ON FUNCTION relay.header_count(text) IS 'For the check of outbox tables';

-- What the relay could never publish is refused at the INSERT, where somebody can still mend it. Its cost is the work
-- that the server does anew. It parses a constraint for each statement, so there is one, with the row as its only
-- argument. It looks up the functions of a condition in each transaction, so the first condition, which passes nearly
-- every row, has few of them. The reason is looked for only when no condition is met. No pinned search_path, for the
-- same thrift.
CREATE OR REPLACE FUNCTION relay.outbox_row_is_good(new_row record) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $relay$
BEGIN
    IF new_row.topic COLLATE "C" !~ '[^a-zA-Z0-9._-]|^[.]{0,2}$' AND octet_length(new_row.topic) <= 249
       AND (new_row.key IS NULL OR new_row.key_bytes IS NULL)
       AND (new_row.payload IS NULL OR new_row.payload_bytes IS NULL) AND isfinite(new_row.created_at) THEN
        IF new_row.headers IS NULL AND new_row.partition IS NULL THEN
            RETURN true;
        ELSIF (new_row.partition IS NULL OR new_row.partition >= 0)
              AND (new_row.headers IS NULL
                   OR (new_row.headers::jsonb @@ 'strict $.type() == "object" && !($.*.type() != "string")'
                       AND (octet_length(new_row.headers) < 606 OR relay.header_count(new_row.headers) <= 100))) THEN
            RETURN true;
        END IF;
    END IF;
    IF octet_length(new_row.topic) > 249 OR new_row.topic COLLATE "C" ~ '[^a-zA-Z0-9._-]|^[.]{0,2}$' THEN
        RAISE EXCEPTION '"%" is not a name that a Kafka topic can have', left(new_row.topic, 300)
            USING ERRCODE = 'check_violation', COLUMN = 'topic',
                  HINT = 'A name has 1 to 249 of the characters a-z, A-Z, 0-9, dot, underscore and hyphen.';
    ELSIF new_row.key IS NOT NULL AND new_row.key_bytes IS NOT NULL THEN
        RAISE EXCEPTION 'key and key_bytes are both set' USING ERRCODE = 'check_violation', COLUMN = 'key_bytes',
            HINT = 'A record has one key. Leave both NULL for a record without a key.';
    ELSIF new_row.payload IS NOT NULL AND new_row.payload_bytes IS NOT NULL THEN
        RAISE EXCEPTION 'payload and payload_bytes are both set'
            USING ERRCODE = 'check_violation', COLUMN = 'payload_bytes',
                  HINT = 'A record has one value. Leave both NULL for a tombstone.';
    ELSIF new_row.partition < 0 THEN
        RAISE EXCEPTION 'partition % is negative', new_row.partition
            USING ERRCODE = 'check_violation', COLUMN = 'partition',
                  HINT = 'Leave it NULL to have the partition chosen by the key.';
    ELSIF NOT isfinite(new_row.created_at) THEN
        RAISE EXCEPTION 'created_at is not finite' USING ERRCODE = 'check_violation', COLUMN = 'created_at',
            HINT = 'Leave it out to have it set to the time of the INSERT.';
    ELSIF new_row.headers::jsonb @@ 'strict $.type() == "object" && !($.*.type() != "string")' THEN
        RAISE EXCEPTION 'a row has % headers, at most 100 can be sent', relay.header_count(new_row.headers)
            USING ERRCODE = 'check_violation', COLUMN = 'headers';
    END IF;
    RAISE EXCEPTION 'headers are not a flat JSON object of strings' USING ERRCODE = 'check_violation',
        COLUMN = 'headers', HINT = 'As in {"traceparent": "00-...", "attempt": "1"}, numbers quoted too.';
END
$relay$;
COMMENT ON FUNCTION relay.outbox_row_is_good(record) IS
    'For the check of outbox tables. Refuses what could never be published';

CREATE OR REPLACE FUNCTION relay.refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path TO pg_catalog, pg_temp AS $relay$
BEGIN
    RAISE EXCEPTION '% of relay.% refused: an outbox is append only', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'object_not_in_prerequisite_state',
              HINT = 'Write another row instead. Published rows are removed by the relay, by age.';
END
$relay$;

-- Least rights on one outbox table, for those of the optional roles that exist.
CREATE OR REPLACE FUNCTION relay.grant_outbox(outbox_table text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path TO pg_catalog, pg_temp AS $relay$
DECLARE
    written constant text :=
        'topic, key, key_bytes, payload, payload_bytes, type, headers, id, partition, created_at';
BEGIN
    IF to_regrole('relay_app') IS NOT NULL THEN
        EXECUTE format('GRANT INSERT (%s), SELECT (%s) ON TABLE relay.%I TO relay_app', written, written, outbox_table);
    END IF;
    IF to_regrole('relay_daemon') IS NOT NULL THEN
        EXECUTE format('GRANT SELECT ON TABLE relay.%I TO relay_daemon', outbox_table);
        EXECUTE format('GRANT SELECT ON SEQUENCE relay.%I TO relay_daemon', outbox_table || '#seq');
    END IF;
END
$relay$;

-- The table of one outbox. Names with a # cannot be the name of another outbox.
-- xid stands first, so that the id of the transaction exists before seq is drawn.
-- The eight partitions are a ring of slots, each 2^32 numbers wide.
CREATE OR REPLACE FUNCTION relay.make_outbox_table(outbox_table text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path TO pg_catalog, pg_temp AS $relay$
DECLARE
    names text[] := ARRAY[outbox_table];
    refused text;
BEGIN
    EXECUTE format($make$
        CREATE TABLE relay.%1$I (
            xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
            seq bigint GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME relay.%2$I CACHE 1 NO CYCLE),
            topic text NOT NULL,
            key text,
            key_bytes bytea,
            payload text,
            payload_bytes bytea,
            type text,
            headers text,
            id uuid NOT NULL DEFAULT gen_random_uuid(),
            partition integer,
            created_at timestamptz NOT NULL DEFAULT clock_timestamp()
        ) PARTITION BY LIST (((seq >> 32) & 7))
        $make$, outbox_table, outbox_table || '#seq');
    -- pglz, the default, costs a writer several times as much for payloads over 2 kB. Not every build has lz4.
    IF EXISTS (SELECT FROM pg_settings s WHERE s.name = 'default_toast_compression' AND 'lz4' = ANY (s.enumvals)) THEN
        EXECUTE format('ALTER TABLE relay.%I ALTER COLUMN payload SET COMPRESSION lz4, '
                       'ALTER COLUMN payload_bytes SET COMPRESSION lz4', outbox_table);
    END IF;
    -- Rows are never updated, and a slot is emptied by TRUNCATE: a vacuum after inserts would be work for nothing.
    -- A constraint on the row as a whole is not inherited, so each slot has its own.
    FOR slot IN 0..7 LOOP
        EXECUTE format('CREATE TABLE relay.%1$I PARTITION OF relay.%2$I '
                       '(CONSTRAINT row_is_good CHECK (relay.outbox_row_is_good(%1$I.*))) FOR VALUES IN (%3$s) '
                       'WITH (autovacuum_vacuum_insert_threshold = -1)',
                       outbox_table || '#' || slot, outbox_table, slot);
        names := names || (outbox_table || '#' || slot);
    END LOOP;
    EXECUTE format('CREATE INDEX %I ON relay.%I (xid, seq)', outbox_table || '#xid', outbox_table);
    EXECUTE format('CREATE INDEX %I ON relay.%I (seq)', outbox_table || '#order', outbox_table);
    FOREACH refused IN ARRAY names LOOP
        EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON relay.%I '
                       'FOR EACH STATEMENT EXECUTE FUNCTION relay.refuse_change()', refused);
    END LOOP;
END
$relay$;

-- relay.outbox for main, relay.outbox_audit for audit.
CREATE OR REPLACE FUNCTION relay.outbox_table(name text) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path TO pg_catalog, pg_temp AS $relay$
BEGIN
    IF name IS NULL OR name COLLATE "C" !~ '^[a-z][a-z0-9_]{0,39}$' THEN
        RAISE EXCEPTION '"%" cannot be the name of an outbox', name
            USING ERRCODE = 'invalid_name',
                  HINT = 'A name is a lower case letter and up to 39 lower case letters, digits and underscores.';
    END IF;
    RETURN CASE name WHEN 'main' THEN 'outbox' ELSE 'outbox_' || name END;
END
$relay$;

-- Makes the table and registers the stream. One that exists is left as it is. Returns the uuid of the stream.
CREATE OR REPLACE FUNCTION relay.create_outbox(name text) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path TO pg_catalog, pg_temp AS $relay$
DECLARE
    outbox_table constant text := relay.outbox_table(name);
    stream_name constant text := 'outbox/' || name;
    stream_uuid uuid;
BEGIN
    -- Two callers at once: the second waits here, then sees what the first made.
    PERFORM FROM relay.identity FOR UPDATE;
    SELECT s.uuid INTO stream_uuid FROM relay.stream s WHERE s.name = stream_name AND s.dropped_at IS NULL;
    IF FOUND THEN
        RAISE NOTICE 'outbox "%" exists already, left as it is', create_outbox.name;
        RETURN stream_uuid;
    END IF;
    PERFORM relay.make_outbox_table(outbox_table);
    PERFORM relay.grant_outbox(outbox_table);
    stream_uuid := relay.register_stream('outbox', create_outbox.name, format('relay.%I', outbox_table));
    PERFORM relay.write_audit('create_outbox', stream_name, jsonb_build_object('uuid', stream_uuid));
    RETURN stream_uuid;
END
$relay$;

-- Rows that Kafka is not known to have: those of transactions that were not done in the known position.
-- Two conditions on the index instead of one on every row.
CREATE OR REPLACE FUNCTION relay.outbox_has_unpublished(outbox_table text, known pg_snapshot) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path TO pg_catalog, pg_temp AS $relay$
DECLARE
    found_one boolean;
BEGIN
    IF known IS NULL THEN
        EXECUTE format('SELECT EXISTS (SELECT FROM relay.%I)', outbox_table) INTO found_one;
    ELSE
        EXECUTE format('SELECT EXISTS (SELECT FROM relay.%1$I WHERE xid >= pg_snapshot_xmax($1)) '
                       'OR EXISTS (SELECT FROM relay.%1$I WHERE xid = ANY (ARRAY(SELECT pg_snapshot_xip($1))))',
                       outbox_table)
            INTO found_one USING known;
    END IF;
    RETURN found_one;
END
$relay$;

-- Refuses while something is unpublished or on its way. Waits at most 5 seconds for transactions that write to it.
CREATE OR REPLACE FUNCTION relay.drop_outbox(name text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path TO pg_catalog, pg_temp SET lock_timeout TO '5s' AS $relay$
DECLARE
    outbox_table constant text := relay.outbox_table(name);
    dropped relay.stream;
    known pg_snapshot;
    busy text;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'relay.drop_outbox needs isolation level READ COMMITTED, this transaction has %',
            upper(current_setting('transaction_isolation'))
            USING ERRCODE = 'invalid_transaction_state',
                  HINT = 'An older snapshot would not see the rows that were committed since.';
    END IF;
    PERFORM FROM relay.identity FOR UPDATE;
    dropped := relay.find_stream('outbox/' || drop_outbox.name);
    EXECUTE format('LOCK TABLE relay.%I IN ACCESS EXCLUSIVE MODE', outbox_table);
    SELECT t.known_snapshot INTO known FROM relay.tick t WHERE t.stream = dropped.uuid ORDER BY t.number DESC LIMIT 1;
    IF relay.outbox_has_unpublished(outbox_table, known) THEN
        RAISE EXCEPTION 'outbox "%" has rows that are not known to be published, it is not dropped', drop_outbox.name
            USING ERRCODE = 'object_in_use',
                  HINT = format('Let the relay publish them first, or give them up with boxrelay rebase %s %s.',
                                dropped.name, '-' || '-to now');
    END IF;
    SELECT r.state INTO busy FROM relay.stream_state r
        WHERE r.stream = dropped.uuid AND r.state IN ('read', 'tick', 'commit')
              AND r.updated_at > clock_timestamp() - interval '30 seconds';
    IF FOUND THEN
        RAISE EXCEPTION 'outbox "%" is being published just now (state %), it is not dropped', drop_outbox.name, busy
            USING ERRCODE = 'object_in_use', HINT = 'Stop writing to it and try again in some seconds.';
    END IF;
    EXECUTE format('DROP TABLE relay.%I', outbox_table);
    DELETE FROM relay.tick t WHERE t.stream = dropped.uuid;
    DELETE FROM relay.stream_state r WHERE r.stream = dropped.uuid;
    UPDATE relay.stream s SET dropped_at = clock_timestamp(), generation = s.generation + 1
        WHERE s.uuid = dropped.uuid;
    PERFORM relay.write_audit('drop_outbox', dropped.name, jsonb_build_object('uuid', dropped.uuid));
END
$relay$;

REVOKE ALL ON FUNCTION relay.grant_outbox(text) FROM PUBLIC;
REVOKE ALL ON FUNCTION relay.make_outbox_table(text) FROM PUBLIC;
REVOKE ALL ON FUNCTION relay.create_outbox(text) FROM PUBLIC;
REVOKE ALL ON FUNCTION relay.outbox_has_unpublished(text, pg_snapshot) FROM PUBLIC;
REVOKE ALL ON FUNCTION relay.drop_outbox(text) FROM PUBLIC;

-- The table to write to. The caller needs no right to read relay.stream.
CREATE OR REPLACE FUNCTION relay.existing_outbox(name text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path TO pg_catalog, pg_temp AS $relay$
DECLARE
    outbox_table constant text := relay.outbox_table(name);
BEGIN
    IF to_regclass(format('relay.%I', outbox_table)) IS NULL THEN
        RAISE EXCEPTION 'there is no outbox "%"', name
            USING ERRCODE = 'undefined_table',
                  HINT = format('SELECT relay.create_outbox(%L) in a migration makes it.', name);
    END IF;
    RETURN outbox_table;
END
$relay$;

-- The publish functions run with the rights of their caller, who needs what an INSERT of the same row needs.
-- plpgsql, because a function in SQL is planned again at every call. No pinned search_path, which would cost a
-- tenth of a call, so names are qualified here.
CREATE OR REPLACE FUNCTION relay.publish(topic text, key text, payload text, type text DEFAULT NULL,
    headers text DEFAULT NULL, id uuid DEFAULT NULL, outbox text DEFAULT 'main') RETURNS uuid
LANGUAGE plpgsql VOLATILE AS $relay$
#variable_conflict use_variable
BEGIN
    id := coalesce(id, pg_catalog.gen_random_uuid());
    IF outbox OPERATOR(pg_catalog.=) 'main' THEN
        INSERT INTO relay.outbox (topic, key, payload, type, headers, id)
            VALUES (topic, key, payload, type, headers, id);
    ELSE
        EXECUTE pg_catalog.format('INSERT INTO relay.%I (topic, key, payload, type, headers, id) '
                                  'VALUES ($1, $2, $3, $4, $5, $6)', relay.existing_outbox(outbox))
            USING topic, key, payload, type, headers, id;
    END IF;
    RETURN id;
END
$relay$;
COMMENT ON FUNCTION relay.publish(text, text, text, text, text, uuid, text) IS
    'Writes one row to an outbox and returns its event id';

CREATE OR REPLACE FUNCTION relay.publish(topic text, key text, payload bytea, type text DEFAULT NULL,
    headers text DEFAULT NULL, id uuid DEFAULT NULL, outbox text DEFAULT 'main') RETURNS uuid
LANGUAGE plpgsql VOLATILE AS $relay$
#variable_conflict use_variable
BEGIN
    id := coalesce(id, pg_catalog.gen_random_uuid());
    IF outbox OPERATOR(pg_catalog.=) 'main' THEN
        INSERT INTO relay.outbox (topic, key, payload_bytes, type, headers, id)
            VALUES (topic, key, payload, type, headers, id);
    ELSE
        EXECUTE pg_catalog.format('INSERT INTO relay.%I (topic, key, payload_bytes, type, headers, id) '
                                  'VALUES ($1, $2, $3, $4, $5, $6)', relay.existing_outbox(outbox))
            USING topic, key, payload, type, headers, id;
    END IF;
    RETURN id;
END
$relay$;

-- One writer of a key at a time, from here to the end of its transaction: rows of one key then have the order of
-- their commits. The number of the lock is a hash, two keys with the same one only wait for each other.
CREATE OR REPLACE FUNCTION relay.lock_key(outbox text, key text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path TO pg_catalog, pg_temp AS $relay$
BEGIN
    IF key IS NULL THEN
        RAISE EXCEPTION 'relay.publish_ordered needs a key'
            USING ERRCODE = 'null_value_not_allowed',
                  HINT = 'Order is per key. relay.publish takes rows without one.';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended(outbox || '/' || key, 7426001));
END
$relay$;

-- The other types of payload and headers, and publish_ordered. Headers have a default in one function only for each
-- type of payload, else a call without them would not be unique. So json and jsonb headers are given by name, and
-- an untyped literal or NULL is taken as text.
DO $relay$
DECLARE
    payload_type text;
    headers_type text;
    function_name text;
    signature text;
    ordered text;
BEGIN
    FOREACH function_name IN ARRAY ARRAY['publish', 'publish_ordered'] LOOP
        FOREACH payload_type IN ARRAY ARRAY['text', 'bytea', 'json', 'jsonb'] LOOP
            FOREACH headers_type IN ARRAY ARRAY['text', 'json', 'jsonb'] LOOP
                CONTINUE WHEN function_name = 'publish' AND payload_type IN ('text', 'bytea') AND headers_type = 'text';
                signature := CASE headers_type
                    WHEN 'text' THEN 'type text DEFAULT NULL, headers text DEFAULT NULL'
                    ELSE 'headers ' || headers_type || ', type text DEFAULT NULL' END;
                ordered := CASE function_name
                    WHEN 'publish_ordered' THEN 'PERFORM relay.lock_key(outbox, key);' ELSE '' END;
                EXECUTE format($make$
CREATE OR REPLACE FUNCTION relay.%1$s(topic text, key text, payload %2$s, %3$s,
    id uuid DEFAULT NULL, outbox text DEFAULT 'main') RETURNS uuid
LANGUAGE plpgsql VOLATILE AS $publish$
BEGIN
    %4$s
    RETURN relay.publish(topic, key, payload::%5$s, type, headers::text, id, outbox);
END
$publish$
                    $make$, function_name, payload_type, signature, ordered,
                    CASE payload_type WHEN 'bytea' THEN 'bytea' ELSE 'text' END);
            END LOOP;
        END LOOP;
    END LOOP;
END
$relay$;

DO $relay$
BEGIN
    IF NOT EXISTS (SELECT FROM relay.stream s WHERE s.name = 'outbox/main') THEN
        PERFORM relay.create_outbox('main');
    END IF;
END
$relay$;

INSERT INTO relay.schema_version (version, name) VALUES (2, 'outbox') ON CONFLICT DO NOTHING;

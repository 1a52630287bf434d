-- Roles and least rights. Optional, and may run again: after each migration, and after the roles were made by hand.
-- relay_owner owns schema relay. relay_app is granted to whoever writes rows, relay_daemon to the user of the relay.
-- The three are made without LOGIN, as groups. Run by a superuser, or by the owner of schema relay with CREATEROLE.

DO $relay$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['relay_owner', 'relay_app', 'relay_daemon'] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname = wanted) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                -- Roles belong to the whole cluster: another database was a moment earlier.
                NULL;
            END;
        END IF;
    END LOOP;
END
$relay$;

-- SECURITY DEFINER functions run as relay_owner from here on, not as whoever migrated. Whoever owned the schema until
-- now becomes a member of relay_owner, so that later migrations still may.
DO $relay$
DECLARE
    previous_owner name;
    owned record;
BEGIN
    SELECT r.rolname INTO previous_owner
        FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_roles r ON r.oid = n.nspowner
        WHERE n.nspname = 'relay' AND NOT r.rolsuper;
    IF previous_owner <> 'relay_owner' AND NOT pg_has_role(previous_owner, 'relay_owner', 'USAGE') THEN
        EXECUTE format('GRANT relay_owner TO %I', previous_owner);
    END IF;
    IF NOT pg_has_role(current_user, 'relay_owner', 'USAGE') THEN
        EXECUTE format('GRANT relay_owner TO %I', current_user);
    END IF;
    ALTER SCHEMA relay OWNER TO relay_owner;
    -- Partitions are in the list by themselves. Sequences of identity columns follow their tables.
    FOR owned IN
        SELECT format('ALTER %s relay.%I OWNER TO relay_owner',
                      CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'c' THEN 'TYPE' ELSE 'TABLE' END, c.relname) AS command
            FROM pg_catalog.pg_class c
            WHERE c.relnamespace = 'relay'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'c')
                  AND c.relowner <> 'relay_owner'::regrole
        UNION ALL
        SELECT format('ALTER FUNCTION %s OWNER TO relay_owner', p.oid::regprocedure)
            FROM pg_catalog.pg_proc p
            WHERE p.pronamespace = 'relay'::regnamespace AND p.proowner <> 'relay_owner'::regrole
    LOOP
        EXECUTE owned.command;
    END LOOP;
END
$relay$;

GRANT USAGE ON SCHEMA relay TO relay_app, relay_daemon;

-- Writers: the columns of an outbox that are theirs, and what writes them. Outbox tables get their own grants below.
DO $relay$
DECLARE
    publishing regprocedure;
    outbox record;
BEGIN
    FOR publishing IN
        SELECT p.oid FROM pg_catalog.pg_proc p
            WHERE p.pronamespace = 'relay'::regnamespace AND p.proname IN ('publish', 'publish_ordered')
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO relay_app', publishing);
    END LOOP;
    FOR outbox IN SELECT s.short_name FROM relay.stream s WHERE s.kind = 'outbox' AND s.dropped_at IS NULL LOOP
        PERFORM relay.grant_outbox(relay.outbox_table(outbox.short_name));
    END LOOP;
END
$relay$;

-- The relay: reads rows, writes ticks and its reports, claims the database, and takes its part in pause and rebase.
GRANT SELECT ON TABLE relay.schema_version, relay.stream, relay.identity, relay.status, relay.audit TO relay_daemon;
GRANT UPDATE (name) ON TABLE relay.identity TO relay_daemon;
GRANT UPDATE (generation) ON TABLE relay.stream TO relay_daemon;
GRANT SELECT, INSERT, UPDATE ON TABLE relay.tick, relay.stream_state TO relay_daemon;
GRANT INSERT (actor, action, stream, detail) ON TABLE relay.audit TO relay_daemon;
GRANT EXECUTE ON FUNCTION relay.pause(text, text), relay.resume(text) TO relay_daemon;

-- Cleaning, where migration 3 was applied. The owner sees how old the transactions are that hold it back only with
-- pg_read_all_stats, which not everybody may grant. Without it their age stays unknown.
DO $relay$
BEGIN
    IF to_regprocedure('relay.clean(uuid, interval)') IS NULL THEN
        RETURN;
    END IF;
    GRANT SELECT ON TABLE relay.slot, relay.cleanup TO relay_daemon;
    GRANT EXECUTE ON FUNCTION relay.clean(uuid, interval) TO relay_daemon;
    BEGIN
        IF NOT pg_has_role('relay_owner', 'pg_read_all_stats', 'USAGE') THEN
            GRANT pg_read_all_stats TO relay_owner;
        END IF;
    EXCEPTION WHEN insufficient_privilege THEN
        RAISE NOTICE 'pg_read_all_stats is not granted to relay_owner, the age of a transaction that holds cleaning '
                     'back stays unknown';
    END;
END
$relay$;

-- Inboxes, where migration 4 was applied. Business code takes messages, the relay stores them.
DO $relay$
DECLARE
    taking regprocedure;
    inbox record;
BEGIN
    IF to_regclass('relay.subscription') IS NULL THEN
        RETURN;
    END IF;
    FOR taking IN
        SELECT p.oid FROM pg_catalog.pg_proc p
            WHERE p.pronamespace = 'relay'::regnamespace
                  AND p.proname IN ('take', 'done', 'retry', 'reject', 'claim', 'ack', 'nack')
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO relay_app', taking);
    END LOOP;
    GRANT SELECT ON TABLE relay.subscription, relay.ring, relay.source, relay.source_offset, relay.lane, relay.held,
        relay.held_key, relay.dead, relay.dead_letter TO relay_daemon;
    -- FOR SHARE needs the right to update a column.
    GRANT UPDATE (slot_since) ON TABLE relay.ring TO relay_daemon;
    GRANT UPDATE (started_at) ON TABLE relay.subscription TO relay_daemon;
    GRANT UPDATE ON TABLE relay.source_offset TO relay_daemon;
    GRANT INSERT ON TABLE relay.dead TO relay_daemon;
    GRANT EXECUTE ON FUNCTION relay.make_source(uuid, text, integer, integer, bigint) TO relay_daemon;
    FOR inbox IN SELECT s.short_name FROM relay.stream s WHERE s.kind = 'inbox' AND s.dropped_at IS NULL LOOP
        PERFORM relay.grant_inbox(relay.inbox_table(inbox.short_name));
    END LOOP;
END
$relay$;

-- Cleaning of inboxes, where migration 5 was applied.
DO $relay$
BEGIN
    IF to_regprocedure('relay.clean_inbox(uuid, interval, interval)') IS NULL THEN
        RETURN;
    END IF;
    GRANT SELECT ON TABLE relay.closed_slot, relay.closed_generation TO relay_daemon;
    GRANT EXECUTE ON FUNCTION relay.clean_inbox(uuid, interval, interval) TO relay_daemon;
END
$relay$;

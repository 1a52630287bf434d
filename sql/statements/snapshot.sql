-- What a tick transaction stands on; the first statement in it, so its snapshot is the transaction's.
SELECT pg_current_snapshot()::text,
       pg_is_in_recovery(),
       stream.paused_at IS NOT NULL,
       CASE WHEN pg_is_in_recovery() THEN '00000000'
            ELSE substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) END
FROM relay.stream
WHERE stream.uuid = $1::text::uuid AND stream.dropped_at IS NULL

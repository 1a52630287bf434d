-- What a tick transaction stands on; the first statement in it, so its snapshot is the transaction's. The sequence is
-- read after the snapshot was taken, so no row that is done in it has a larger seq; and before the transaction gets its
-- id by writing the tick, so what it has reached is the floor of the snapshots to come (core/position.h).
SELECT pg_current_snapshot()::text,
       pg_is_in_recovery(),
       stream.paused_at IS NOT NULL,
       CASE WHEN pg_is_in_recovery() THEN '00000000'
            ELSE substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) END,
       (SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM relay."outbox#seq")
FROM relay.stream
WHERE stream.uuid = $1::uuid AND stream.dropped_at IS NULL

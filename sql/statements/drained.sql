-- Is every row that was done in snapshot $2 published by the stored known position of stream $1 [L4]?
SELECT NOT EXISTS (
    SELECT
    FROM relay.outbox AS waiting
    WHERE waiting.xid < pg_snapshot_xmax($2::pg_snapshot)
      AND waiting.xid >= coalesce((SELECT pg_snapshot_xmin(newest.known_snapshot) FROM relay.tick AS newest
                               WHERE newest.stream = $1::uuid ORDER BY newest.number DESC LIMIT 1), '3'::xid8)
      AND pg_visible_in_snapshot(waiting.xid, $2::pg_snapshot)
      AND NOT coalesce(pg_visible_in_snapshot(waiting.xid, (SELECT newest.known_snapshot FROM relay.tick AS newest
                               WHERE newest.stream = $1::uuid ORDER BY newest.number DESC LIMIT 1)), false))

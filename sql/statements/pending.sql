-- Rows not yet published, counted to $5 at most, and when the oldest of those counted was written.
-- $1 from, $2 until, $3 excluded, $4 late of the window from the position to now.
SELECT count(*), coalesce((extract(epoch FROM min(created_at)) * 1000)::bigint, 0)
FROM (
    SELECT created_at
    FROM relay.outbox
    WHERE xid >= $1::xid8 AND xid < $2::xid8 AND xid <> ALL ($3::xid8[])
    UNION ALL
    SELECT created_at
    FROM relay.outbox
    WHERE xid = ANY ($4::xid8[]) AND xid < $2::xid8
    LIMIT $5::bigint
) AS waiting

-- The same while a large window is being sliced, when all but a few rows that wait stand behind the last one sent; those
-- few, of late transactions, are not counted. $1 to $3 and $5 as in pending.sql; $4 the last seq that was sent.
SELECT count(*), coalesce((extract(epoch FROM min(created_at)) * 1000)::bigint, 0)
FROM (
    SELECT created_at
    FROM relay.outbox
    WHERE seq > $4::bigint
      AND xid >= $1::xid8 AND xid < $2::xid8 AND xid <> ALL ($3::xid8[])
    ORDER BY seq
    LIMIT $5::bigint
) AS waiting

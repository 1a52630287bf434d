-- Rows not yet published, counted to $6 at most, and when the oldest of those counted was written.
-- $1 from, $2 until, $3 excluded, $4 late of the window from the position to now; $5 rows with a smaller or equal seq
-- of the window that is being sliced are published: $7 its until, $8 its excluded ('' and '{}' while not slicing).
SELECT count(*), coalesce((extract(epoch FROM min(created_at)) * 1000)::bigint, 0)
FROM (
    SELECT created_at
    FROM relay.outbox
    WHERE xid >= $1::text::xid8 AND xid < $2::text::xid8 AND xid <> ALL ($3::text::xid8[])
      AND NOT (seq <= $5::text::bigint AND xid < $7::text::xid8 AND xid <> ALL ($8::text::xid8[]))
    UNION ALL
    SELECT created_at
    FROM relay.outbox
    WHERE xid = ANY ($4::text::xid8[]) AND xid < $2::text::xid8
      AND NOT (seq <= $5::text::bigint AND xid < $7::text::xid8 AND xid <> ALL ($8::text::xid8[]))
    LIMIT $6::text::bigint
) AS waiting

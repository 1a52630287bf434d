-- The smallest seq of a window larger than a batch: where its first slice starts.
-- $1 from, $2 until, $3 excluded, $4 late: include/core/snapshot.h, struct window.
SELECT coalesce(min(seq), 0)
FROM (
    SELECT seq
    FROM relay.outbox
    WHERE xid >= $1::text::xid8 AND xid < $2::text::xid8 AND xid <> ALL ($3::text::xid8[])
    UNION ALL
    SELECT seq
    FROM relay.outbox
    WHERE xid = ANY ($4::text::xid8[]) AND xid < $2::text::xid8
) AS rows

-- How large is the window: rows (counted to $5 at most), their bytes and the smallest seq among those counted.
-- $1 from, $2 until, $3 excluded, $4 late: include/core/snapshot.h, struct window.
SELECT count(*), coalesce(sum(bytes), 0)::bigint, coalesce(min(seq), 0)
FROM (
    SELECT seq, 200 + coalesce(octet_length(payload), 0) + coalesce(octet_length(payload_bytes), 0) AS bytes
    FROM relay.outbox
    WHERE xid >= $1::text::xid8 AND xid < $2::text::xid8 AND xid <> ALL ($3::text::xid8[])
    UNION ALL
    SELECT seq, 200 + coalesce(octet_length(payload), 0) + coalesce(octet_length(payload_bytes), 0)
    FROM relay.outbox
    WHERE xid = ANY ($4::text::xid8[]) AND xid < $2::text::xid8
    LIMIT $5::text::bigint
) AS counted

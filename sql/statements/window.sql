-- The rows of a window in any order, one more than a batch at most; the reader sorts them by seq.
-- $1 from, $2 until, $3 excluded, $4 late: include/core/snapshot.h, struct window; $5 rows at most.
SELECT seq, topic, key, key_bytes, payload, payload_bytes, type, headers, id, partition, created_at
FROM relay.outbox
WHERE xid >= $1::text::xid8 AND xid < $2::text::xid8 AND xid <> ALL ($3::text::xid8[])
UNION ALL
SELECT seq, topic, key, key_bytes, payload, payload_bytes, type, headers, id, partition, created_at
FROM relay.outbox
WHERE xid = ANY ($4::text::xid8[]) AND xid < $2::text::xid8
LIMIT $5::text::bigint

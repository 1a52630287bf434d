-- The same with late transactions. $1 to $4 as in window.sql; $5 the late ones.
SELECT seq, topic, key, key_bytes, payload, payload_bytes, type, headers, id, partition, created_at
FROM relay.outbox
WHERE xid >= $1::xid8 AND xid < $2::xid8 AND xid <> ALL ($3::xid8[])
UNION ALL
SELECT seq, topic, key, key_bytes, payload, payload_bytes, type, headers, id, partition, created_at
FROM relay.outbox
WHERE xid = ANY ($5::xid8[]) AND xid < $2::xid8
LIMIT $4::bigint

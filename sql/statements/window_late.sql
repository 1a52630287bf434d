-- The same with late transactions. $1 to $6 as in window.sql; $7 the late ones, $8 first and $9 last slot of their rows.
SELECT seq, topic, key, key_bytes, payload, payload_bytes, type, headers, id, partition, created_at
FROM relay.outbox
WHERE xid >= $1::xid8 AND xid < $2::xid8 AND xid <> ALL ($3::xid8[])
  AND ((seq >> 32) & 7) BETWEEN $5::bigint AND $6::bigint
UNION ALL
SELECT seq, topic, key, key_bytes, payload, payload_bytes, type, headers, id, partition, created_at
FROM relay.outbox
WHERE xid = ANY ($7::xid8[]) AND xid < $2::xid8
  AND ((seq >> 32) & 7) BETWEEN $8::bigint AND $9::bigint
LIMIT $4::bigint

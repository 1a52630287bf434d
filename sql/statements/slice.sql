-- The next rows of a window larger than a batch, by the index on seq [W2]; no late transaction is in the window.
-- $1 from, $2 until, $3 excluded: include/core/snapshot.h, struct window; $4 reads behind this seq, $5 and not beyond
-- this one; $6 rows at most.
SELECT seq, topic, key, key_bytes, payload, payload_bytes, type, headers, id, partition, created_at
FROM relay.outbox
WHERE seq > $4::bigint AND seq <= $5::bigint
  AND xid >= $1::xid8 AND xid < $2::xid8 AND xid <> ALL ($3::xid8[])
ORDER BY seq
LIMIT $6::bigint

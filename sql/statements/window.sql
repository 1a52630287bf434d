-- The rows of a window in any order, one more than a batch at most; the reader sorts them by seq. No late transaction is
-- in the window. $1 from, $2 until, $3 excluded: include/core/snapshot.h, struct window; $4 rows at most; $5 first and
-- $6 last slot that can have them: include/core/slots.h. The others are left out when execution begins.
SELECT seq, topic, key, key_bytes, payload, payload_bytes, type, headers, id, partition, created_at
FROM relay.outbox
WHERE xid >= $1::xid8 AND xid < $2::xid8 AND xid <> ALL ($3::xid8[])
  AND ((seq >> 32) & 7) BETWEEN $5::bigint AND $6::bigint
LIMIT $4::bigint

-- The same with late transactions, whose rows may stand anywhere: they are found by their xid, so that the age of a
-- transaction does not matter [W1]. $1 to $6 as in slice.sql; $7 the late ones, $8 the last seq that was sent.
SELECT seq, topic, key, key_bytes, payload, payload_bytes, type, headers, id, partition, created_at
FROM (
    (SELECT seq, topic, key, key_bytes, payload, payload_bytes, type, headers, id, partition, created_at
     FROM relay.outbox
     WHERE seq > $4::bigint AND seq <= $5::bigint
       AND xid >= $1::xid8 AND xid < $2::xid8 AND xid <> ALL ($3::xid8[])
     ORDER BY seq
     LIMIT $6::bigint)
    UNION ALL
    SELECT of_one.*
    FROM unnest($7::xid8[]) AS late (xid),
         LATERAL (SELECT seq, topic, key, key_bytes, payload, payload_bytes, type, headers, id, partition, created_at
                  FROM relay.outbox AS waiting
                  WHERE waiting.xid = late.xid AND waiting.xid < $2::xid8 AND waiting.seq > $8::bigint
                  ORDER BY waiting.seq
                  LIMIT $6::bigint) AS of_one
) AS merged
ORDER BY seq
LIMIT $6::bigint

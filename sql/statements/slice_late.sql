-- The same with late transactions, whose rows may stand anywhere: they are found by their xid, so that the age of a
-- transaction does not matter [W1]. $1 to $6 as in slice.sql; $7 the late ones, $8 the last seq that was sent.
SELECT seq, topic, key, key_bytes, payload, payload_bytes, type, headers, id, partition, created_at
FROM (
    (SELECT seq, topic, key, key_bytes, payload, payload_bytes, type, headers, id, partition, created_at
     FROM relay.outbox
     WHERE seq > $4::text::bigint AND seq <= $5::text::bigint
       AND xid >= $1::text::xid8 AND xid < $2::text::xid8 AND xid <> ALL ($3::text::xid8[])
     ORDER BY seq
     LIMIT $6::text::bigint)
    UNION ALL
    SELECT of_one.*
    FROM unnest($7::text::xid8[]) AS late (xid),
         LATERAL (SELECT seq, topic, key, key_bytes, payload, payload_bytes, type, headers, id, partition, created_at
                  FROM relay.outbox AS waiting
                  WHERE waiting.xid = late.xid AND waiting.xid < $2::text::xid8 AND waiting.seq > $8::text::bigint
                  ORDER BY waiting.seq
                  LIMIT $6::text::bigint) AS of_one
) AS merged
ORDER BY seq
LIMIT $6::text::bigint

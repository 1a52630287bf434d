-- A message that is set aside, with all it had.
INSERT INTO relay.dead (stream, class, reason, topic, partition, kafka_offset, message_id, key, key_bytes, headers,
                        headers_bytes, payload_bytes, record_time)
VALUES ($1::uuid, $2, $3, $4, $5::integer, $6::bigint, $7, $8, $9, $10, $11, $12,
        to_timestamp($13::bigint / 1000.0))

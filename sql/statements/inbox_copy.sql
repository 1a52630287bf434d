-- Messages of a batch, in binary form.
COPY relay.inbox (slot, source, lane, kafka_offset, key_hash, record_time, id, key, key_bytes, type, headers, headers_bytes,
                  payload, payload_bytes) FROM STDIN (FORMAT binary)

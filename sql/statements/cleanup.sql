-- A row an outbox for people: what relay.cleanup shows, ages in seconds. From schema version 3 on.
SELECT stream, size_bytes, extract(epoch FROM oldest_slot_age), extract(epoch FROM held_for), held_reason, held_by
FROM relay.cleanup
ORDER BY stream

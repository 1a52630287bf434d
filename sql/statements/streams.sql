-- Every registered outbox, with what makes a relay look again: a changed generation.
SELECT name, short_name, uuid, partition, generation, paused_at IS NOT NULL, relation
FROM relay.stream
WHERE kind = 'outbox' AND dropped_at IS NULL
ORDER BY name

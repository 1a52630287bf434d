-- Where each partition stands in its newest generation.
SELECT DISTINCT ON (s.topic, s.partition) s.topic, s.partition, o.next, s.id
FROM relay.source AS s
JOIN relay.source_offset AS o ON o.source = s.id
WHERE s.stream = $1::uuid
ORDER BY s.topic, s.partition, s.generation DESC

-- [I3] Stores the ids that are new. By id, so that two instances cannot wait for each other; of one id the first.
INSERT INTO relay."inbox#id" (generation, id, payload_hash)
SELECT $1::smallint, n.id, n.payload_hash
FROM unnest($2::uuid[], $3::uuid[]) WITH ORDINALITY AS n (id, payload_hash, number)
WHERE NOT EXISTS (SELECT FROM relay."inbox#id" AS o WHERE o.id = n.id AND o.generation <> $1::smallint)
ORDER BY n.id, n.number
ON CONFLICT DO NOTHING
RETURNING id

-- [I4] Generations that hold ids, but for the open one, with their first and last id. They get no more, so this holds
-- until the ring turns again.
SELECT n.generation, first.id, last.id
FROM generate_series(0, 3) AS n (generation),
     LATERAL (SELECT o.id FROM relay."inbox#id" AS o WHERE o.generation = n.generation::smallint
              ORDER BY o.id LIMIT 1) AS first,
     LATERAL (SELECT o.id FROM relay."inbox#id" AS o WHERE o.generation = n.generation::smallint
              ORDER BY o.id DESC LIMIT 1) AS last
WHERE n.generation <> $1::smallint

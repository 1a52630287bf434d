-- [I4] Generations that hold ids, but for the open one. They get no more, so this holds until the ring turns again.
SELECT n.generation FROM generate_series(0, 7) AS n (generation)
WHERE n.generation <> $1::smallint
      AND (SELECT true FROM relay."inbox#id" AS o WHERE o.generation = n.generation::smallint LIMIT 1)

-- A partition is read anew from an offset, as its next generation.
SELECT relay.make_source($1::uuid, $2, $3::integer, (
    SELECT max(s.generation) + 1 FROM relay.source AS s
    WHERE s.stream = $1::uuid AND s.topic = $2 AND s.partition = $3::integer), $4::bigint)

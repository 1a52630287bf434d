-- A partition that is read for the first time; another instance may be a moment faster.
SELECT relay.make_source($1::uuid, $2, $3::integer, 0, $4::bigint)
WHERE NOT EXISTS (SELECT FROM relay.source WHERE stream = $1::uuid AND topic = $2 AND partition = $3::integer)

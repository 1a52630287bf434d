-- [I4] Where rows and ids go; kept from turning until the end of the batch. And whether an operator paused the stream.
SELECT r.slot, r.generation, s.paused_at IS NOT NULL, (extract(epoch FROM r.generation_since) * 1000000)::bigint
FROM relay.ring AS r
JOIN relay.stream AS s ON s.uuid = r.stream
WHERE r.stream = $1::uuid AND s.dropped_at IS NULL
FOR SHARE OF r

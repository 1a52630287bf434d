-- [I3] Which of these ids one generation has. It sees what was committed until now, the ring being locked.
SELECT id, payload_hash FROM relay."inbox#id" WHERE generation = $1::smallint AND id = ANY ($2::uuid[])

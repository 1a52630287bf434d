-- [I3] Ids that are new, in binary form and by id, so that two instances cannot wait for each other. One that another
-- session stored meanwhile, or that was not looked for, fails with 23505.
COPY relay."inbox#id" (generation, id, payload_hash) FROM STDIN (FORMAT binary)

-- [I3] In a statement of its own: it sees what a concurrent insert has committed meanwhile.
SELECT id, payload_hash FROM relay."inbox#id" WHERE id = ANY ($1::uuid[])

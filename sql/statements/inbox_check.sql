-- Does PostgreSQL take it as JSON? Fails if not.
SELECT $1::text::jsonb IS NULL

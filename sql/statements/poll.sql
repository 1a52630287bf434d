-- Has any transaction begun or ended since the last full window [C4]?
SELECT pg_current_snapshot()::text

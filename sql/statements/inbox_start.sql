-- The policy for a first start is applied once: no row for whoever comes second, who waits here for the first.
UPDATE relay.subscription SET started_at = clock_timestamp()
WHERE stream = $1::uuid AND started_at IS NULL
RETURNING started_at

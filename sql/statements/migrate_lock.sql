-- One migration of this database at a time, to the end of its transaction; waits no longer than lock_timeout.
SELECT pg_advisory_xact_lock(7426000)

-- A transaction with an id of its own: snapshots taken later have a larger xmax.
SELECT pg_current_xact_id()

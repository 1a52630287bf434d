-- One inbox by its name, with what it takes and what an operator wants.
SELECT s.uuid, s.relation, u.payload, u.lanes, u.keyless_in_order, u.started_at IS NOT NULL, s.paused_at IS NOT NULL
FROM relay.stream AS s
JOIN relay.subscription AS u ON u.stream = s.uuid
WHERE s.kind = 'inbox' AND s.short_name = $1 AND s.dropped_at IS NULL

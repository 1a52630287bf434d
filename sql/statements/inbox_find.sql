-- One inbox by its name, with what it takes and what an operator wants.
SELECT s.uuid, s.relation, u.payload, u.lanes, u.keyless_in_order, u.started_at IS NOT NULL, s.paused_at IS NOT NULL,
       ceil(extract(epoch FROM r.ids_since) * 1000)::bigint
FROM relay.stream AS s
JOIN relay.subscription AS u ON u.stream = s.uuid
JOIN relay.ring AS r ON r.stream = s.uuid
WHERE s.kind = 'inbox' AND s.short_name = $1 AND s.dropped_at IS NULL

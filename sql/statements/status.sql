-- A row a stream for people: what relay.status shows, ages in seconds, times in UTC.
SELECT stream, state, pending, pending_is_bound, extract(epoch FROM oldest_age), rows_per_second, dead, parked,
       to_char(paused_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), paused_by, paused_reason, leader,
       error_class, error_code, error_text, error_hint,
       to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
FROM relay.status
ORDER BY stream

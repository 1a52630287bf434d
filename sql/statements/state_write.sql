-- What the stream's leader last saw, for relay.status; one row a stream, every few seconds when something changed.
-- Without a leader: why nobody leads, which never hides what a leader has said within the last 30 seconds. Instances
-- that share an inbox write in turn: one without an error does not hide another's.
INSERT INTO relay.stream_state AS state
    (stream, state, leader, pending, pending_is_bound, oldest_at, published_rows, rows_per_second,
     error_class, error_code, error_text, error_hint, updated_at)
VALUES ($1::uuid, $2, $3, $4::bigint, $5::boolean, to_timestamp($6::float8 / 1000), $7::bigint, $8::float8,
        $9, $10, $11, $12, clock_timestamp())
ON CONFLICT (stream) DO UPDATE
SET state = excluded.state, leader = excluded.leader, pending = excluded.pending,
    pending_is_bound = excluded.pending_is_bound, oldest_at = excluded.oldest_at,
    published_rows = excluded.published_rows, rows_per_second = excluded.rows_per_second,
    error_class = excluded.error_class, error_code = excluded.error_code, error_text = excluded.error_text,
    error_hint = excluded.error_hint, updated_at = excluded.updated_at
WHERE CASE WHEN excluded.leader IS NULL
           THEN state.leader IS NULL OR state.updated_at < clock_timestamp() - interval '30 seconds'
           ELSE state.leader IS NULL OR state.leader = excluded.leader OR state.error_class IS NULL
                OR excluded.error_class IS NOT NULL OR state.updated_at < clock_timestamp() - interval '10 seconds' END

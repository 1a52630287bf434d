-- Is the stream paused, and what waits in the inbox: rows, their bytes (by the mean of all that were stored), and since when the oldest waits.
WITH source AS (
    SELECT s.id, s.lanes FROM relay.source AS s WHERE s.stream = $1::uuid AND s.finished_at IS NULL
), stored AS (
    SELECT coalesce(sum(o.stored_rows), 0) AS rows, coalesce(sum(o.stored_bytes), 0) AS bytes
    FROM source AS s JOIN relay.source_offset AS o ON o.source = s.id
), place AS (
    SELECT s.id AS source, n.lane, p.*
    FROM source AS s,
         LATERAL (SELECT generate_series(0, s.lanes - 1)::smallint AS lane) AS n,
         LATERAL (SELECT l.next, l.slot, l.finished_rows FROM relay.lane AS l
                  WHERE l.source = s.id AND l.lane = n.lane ORDER BY l.next DESC, l.change DESC LIMIT 1) AS p
), waiting AS (
    SELECT stored.rows - coalesce((SELECT sum(p.finished_rows) FROM place AS p), 0) AS rows, stored.rows AS of_rows,
           stored.bytes AS of_bytes
    FROM stored
)
SELECT (SELECT t.paused_at IS NOT NULL FROM relay.stream AS t WHERE t.uuid = $1::uuid),
       (SELECT max(s.id) FROM relay.source AS s WHERE s.stream = $1::uuid),
       greatest(w.rows, 0)::bigint,
       (w.of_bytes * greatest(w.rows, 0) / greatest(w.of_rows, 1))::bigint,
       CASE WHEN w.rows > 0 THEN (extract(epoch FROM least(
           (SELECT min(m.received_at) FROM place AS p, LATERAL (
                SELECT i.received_at FROM relay.inbox AS i
                WHERE i.source = p.source AND i.lane = p.lane AND i.kafka_offset >= p.next
                ORDER BY i.kafka_offset LIMIT 1) AS m),
           (SELECT min(coalesce(i.received_at, h.received_at))
            FROM source AS s JOIN relay.held AS h ON h.source = s.id
            LEFT JOIN relay.inbox AS i ON i.slot = h.slot AND i.source = h.source AND i.lane = h.lane
                                          AND i.kafka_offset = h.kafka_offset))) * 1000)::bigint END
FROM waiting AS w

-- Stores the position known committed in Kafka without a new tick [C3]; only while that tick is the newest.
-- $1 stream, $2 number, $3 uuid, $4 known number, $5 known uuid, $6 known snapshot, $7 known offset
UPDATE relay.tick
SET known_number = $4::bigint,
    known_uuid = $5::uuid,
    known_snapshot = $6::pg_snapshot,
    known_offset = $7::bigint,
    known_at = clock_timestamp()
WHERE tick.stream = $1::uuid
  AND tick.number = $2::bigint
  AND tick.uuid = $3::uuid
  AND NOT EXISTS (SELECT FROM relay.tick AS newer WHERE newer.stream = $1::uuid AND newer.number > $2::bigint)

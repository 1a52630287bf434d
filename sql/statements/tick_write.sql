-- The durable tick [T1]: only on top of the newest one by number and uuid. No row: somebody else's tick came first.
-- $1 stream, $2 old number, $3 old uuid, $4 new number, $5 new uuid, $6 incarnation, $7 known number, $8 known uuid,
-- $9 known snapshot, $10 known offset, $11 system identifier, $12 database oid, $13 timeline
UPDATE relay.tick
SET format = 1,
    number = $4::bigint,
    uuid = $5::uuid,
    incarnation = $6::uuid,
    known_number = $7::bigint,
    known_uuid = $8::uuid,
    known_snapshot = $9::pg_snapshot,
    known_offset = $10::bigint,
    known_at = clock_timestamp(),
    system_identifier = $11::bigint,
    database_oid = $12::oid,
    timeline = $13::integer,
    written_at = clock_timestamp()
WHERE tick.stream = $1::uuid
  AND tick.slot = $4::bigint % 16
  AND EXISTS (SELECT FROM relay.tick AS newest
              WHERE newest.stream = $1::uuid AND newest.number = $2::bigint AND newest.uuid = $3::uuid)
  AND NOT EXISTS (SELECT FROM relay.tick AS newer WHERE newer.stream = $1::uuid AND newer.number > $2::bigint)

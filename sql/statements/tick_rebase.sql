-- An operator's choice of a new position: the whole ring is written anew, nothing is known yet [F1].
-- $1 stream, $2 number, $3 uuid, $4 incarnation, $5 system identifier, $6 database oid, $7 timeline
UPDATE relay.tick
SET format = 1,
    number = CASE WHEN slot = $2::bigint % 16 THEN $2::bigint ELSE slot - 16 END,
    uuid = CASE WHEN slot = $2::bigint % 16 THEN $3::uuid ELSE gen_random_uuid() END,
    incarnation = $4::uuid,
    known_number = NULL,
    known_uuid = NULL,
    known_snapshot = NULL,
    known_offset = NULL,
    known_at = NULL,
    system_identifier = $5::bigint,
    database_oid = $6::oid,
    timeline = $7::integer,
    written_at = clock_timestamp()
WHERE stream = $1::uuid

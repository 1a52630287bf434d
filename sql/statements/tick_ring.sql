-- The kept ticks of a stream; rows with a negative number were never written.
SELECT number, uuid, coalesce(system_identifier, 0), coalesce(database_oid, 0), coalesce(timeline, 0),
       known_number, known_uuid, known_offset
FROM relay.tick
WHERE stream = $1::uuid AND number >= 0
ORDER BY number

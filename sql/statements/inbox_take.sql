-- [I2] Takes a partition over: whoever had it cannot store any more. No row: it was never read.
UPDATE relay.source_offset AS o
SET epoch = o.epoch + 1, owner = $4
FROM (SELECT id, lanes FROM relay.source
      WHERE stream = $1::uuid AND topic = $2 AND partition = $3::integer ORDER BY generation DESC LIMIT 1) AS s
WHERE o.source = s.id
RETURNING s.id, s.lanes, o.next, o.epoch, o.witness_offset, o.witness_checksum,
          (extract(epoch FROM o.witness_time) * 1000)::bigint

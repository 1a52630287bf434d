-- [I1] Moves offsets on, each only from where this instance left it. Fewer rows than asked: somebody else was here.
-- Without a record (witness_offset -1) only the end of a partition was reached.
UPDATE relay.source_offset AS o
SET next = n.next,
    witness_offset = CASE WHEN n.witness_offset < 0 THEN o.witness_offset ELSE n.witness_offset END,
    witness_time = CASE WHEN n.witness_offset < 0 THEN o.witness_time
                        WHEN n.witness_ms >= 0 THEN to_timestamp(n.witness_ms / 1000.0) END,
    witness_checksum = CASE WHEN n.witness_offset < 0 THEN o.witness_checksum ELSE n.witness_checksum END,
    stored_rows = o.stored_rows + n.stored_rows, stored_bytes = o.stored_bytes + n.stored_bytes,
    stored_at = clock_timestamp()
FROM unnest($1::integer[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
            $8::bigint[], $9::bigint[])
    AS n (source, expected, next, epoch, witness_offset, witness_ms, witness_checksum, stored_rows, stored_bytes)
WHERE o.source = n.source AND o.next = n.expected AND o.epoch = n.epoch

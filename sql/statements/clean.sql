-- One step of cleaning the outbox of stream $1 by retention $2 in ms, in a transaction of its own [C1, C2].
SELECT step, slot, size_bytes, (extract(epoch FROM oldest_age) * 1000)::bigint,
       (extract(epoch FROM held_for) * 1000)::bigint, held_reason, held_by
FROM relay.clean($1::uuid, $2::bigint * interval '1 millisecond')

-- One step of cleaning inbox $1 by the retentions of messages and of ids in ms, in a transaction of its own [I4].
SELECT relay.clean_inbox($1::uuid, $2::bigint * interval '1 millisecond', $3::bigint * interval '1 millisecond')

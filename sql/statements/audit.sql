INSERT INTO relay.audit (actor, action, stream, detail) VALUES ($1, $2, $3, $4::jsonb)

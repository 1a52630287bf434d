SELECT name FROM relay.identity

-- The service's own table, made by the service's own migrations.
CREATE TABLE orders (
    id text PRIMARY KEY,
    total numeric NOT NULL,
    paid boolean NOT NULL DEFAULT false
);

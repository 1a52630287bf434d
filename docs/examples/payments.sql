-- The service's own table, made by the service's own migrations.
CREATE TABLE payments (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id text NOT NULL REFERENCES orders (id),
    amount numeric NOT NULL CHECK (amount > 0)
);

-- One business transaction, one message.
BEGIN;
INSERT INTO orders (id, total) VALUES ('order-1', 42.5);
INSERT INTO relay.outbox (topic, key, payload, type, headers)
    VALUES ('orders.events.v1', 'order-1', '{"order": "order-1", "total": 42.5}', 'OrderPlaced',
            '{"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}')
    RETURNING id;
COMMIT;

-- Lock the order first, then change it, then tell: by the function, and with bytes as key and value.
BEGIN;
SELECT total FROM orders WHERE id = 'order-1' FOR UPDATE;
UPDATE orders SET paid = true WHERE id = 'order-1';
SELECT relay.publish('orders.events.v1', 'order-1', jsonb_build_object('order', 'order-1'), type => 'OrderPaid',
                     headers => '{"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}');
INSERT INTO relay.outbox (topic, key_bytes, payload_bytes, type)
    VALUES ('orders.events.v1', convert_to('order-1', 'UTF8'), '\x0a00ff', 'LabelPrinted');
COMMIT;

-- What is rolled back is never published.
BEGIN;
INSERT INTO orders (id, total) VALUES ('order-2', 0);
SELECT relay.publish('orders.events.v1', 'order-2', '{"order": "order-2"}', type => 'OrderPlaced');
ROLLBACK;

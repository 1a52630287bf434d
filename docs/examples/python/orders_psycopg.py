import psycopg
from psycopg.types.json import Jsonb

TOPIC = "orders.events.v1"


def trace_headers():
    # With OpenTelemetry: headers = {}; opentelemetry.propagate.inject(headers); return headers
    return {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}


def place(connection, order, total):
    with connection.transaction():
        connection.execute("INSERT INTO orders (id, total) VALUES (%s, %s)", (order, total))
        event = connection.execute(
            "INSERT INTO relay.outbox (topic, key, payload, type, headers) VALUES (%s, %s, %s, %s, %s) RETURNING id",
            (TOPIC, order, Jsonb({"order": order, "total": total}), "OrderPlaced", Jsonb(trace_headers())))
        if total <= 0:
            raise ValueError("an order has to cost something")
        return event.fetchone()[0]


def pay(connection, order, label):
    with connection.transaction():
        connection.execute("SELECT total FROM orders WHERE id = %s FOR UPDATE", (order,))  # lock, then publish
        connection.execute("UPDATE orders SET paid = true WHERE id = %s", (order,))
        event = connection.execute(
            "SELECT relay.publish(%s, %s, %s, type => %s, headers => %s)",
            (TOPIC, order, Jsonb({"order": order}), "OrderPaid", Jsonb(trace_headers())))
        connection.execute(
            "INSERT INTO relay.outbox (topic, key_bytes, payload_bytes, type) VALUES (%s, %s, %s, %s)",
            (TOPIC, order.encode(), label, "LabelPrinted"))
        return event.fetchone()[0]


with psycopg.connect() as connection:
    print("placed", place(connection, "order-1", 42.5))
    print("paid", pay(connection, "order-1", b"\x0a\x00\xff"))
    try:
        place(connection, "order-2", 0)
    except ValueError as error:
        print("rolled back:", error)

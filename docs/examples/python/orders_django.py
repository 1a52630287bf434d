import json
import os
import uuid
from decimal import Decimal

import django
from django.conf import settings
from django.db import connection, models, transaction

settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", "NAME": os.environ["PGDATABASE"]}})
django.setup()

TOPIC = "orders.events.v1"


class Order(models.Model):
    id = models.TextField(primary_key=True)
    total = models.DecimalField(max_digits=12, decimal_places=2)
    paid = models.BooleanField(default=False)

    class Meta:
        app_label = "orders"
        db_table = "orders"


class Outbox(models.Model):
    """relay.outbox without xid and seq. The primary key is only for Django, the table has none."""
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    topic = models.TextField()
    key = models.TextField(null=True)
    key_bytes = models.BinaryField(null=True)
    payload = models.JSONField(null=True)
    payload_bytes = models.BinaryField(null=True)
    type = models.TextField(null=True)
    headers = models.JSONField(null=True)

    class Meta:
        app_label = "orders"
        managed = False
        db_table = 'relay"."outbox'  # Django has no schemas; it puts quotes around this


def trace_headers():
    # With OpenTelemetry: headers = {}; opentelemetry.propagate.inject(headers); return headers
    return {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}


def publish(topic, key, payload, type):
    with connection.cursor() as cursor:
        cursor.execute("SELECT relay.publish(%s, %s, %s::jsonb, type => %s, headers => %s::jsonb)",
                       [topic, key, json.dumps(payload), type, json.dumps(trace_headers())])
        return cursor.fetchone()[0]


@transaction.atomic
def place(order, total):
    Order.objects.create(id=order, total=total)
    event = Outbox.objects.create(topic=TOPIC, key=order, payload={"order": order, "total": float(total)},
                                  type="OrderPlaced", headers=trace_headers())
    if total <= 0:
        raise ValueError("an order has to cost something")
    return event.id


@transaction.atomic
def pay(order, label):
    paid = Order.objects.select_for_update().get(pk=order)  # the lock, before anything is published
    paid.paid = True
    paid.save()
    event = publish(TOPIC, order, {"order": order}, "OrderPaid")
    Outbox.objects.create(topic=TOPIC, key_bytes=order.encode(), payload_bytes=label, type="LabelPrinted")
    return event


print("placed", place("order-1", Decimal("42.5")))
print("paid", pay("order-1", b"\x0a\x00\xff"))
try:
    place("order-2", Decimal(0))
except ValueError as error:
    print("rolled back:", error)

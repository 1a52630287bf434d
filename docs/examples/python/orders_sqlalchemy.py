import uuid
from decimal import Decimal

from sqlalchemy import JSON, bindparam, create_engine, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

TOPIC = "orders.events.v1"
PUBLISH = text("SELECT relay.publish(:topic, :key, :payload, type => :type, headers => :headers)").bindparams(
    bindparam("payload", type_=JSONB), bindparam("headers", type_=JSONB))


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[str] = mapped_column(primary_key=True)
    total: Mapped[Decimal]
    paid: Mapped[bool] = mapped_column(default=False)


class RelayBase(DeclarativeBase):
    """A metadata of its own: Alembic and create_all() must not make the relay's table."""


class Outbox(RelayBase):
    """relay.outbox without xid and seq. The primary key is only for SQLAlchemy, the table has none."""
    __tablename__ = "outbox"
    __table_args__ = {"schema": "relay"}
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    topic: Mapped[str]
    key: Mapped[str | None]
    key_bytes: Mapped[bytes | None]
    payload: Mapped[dict | None] = mapped_column(JSON(none_as_null=True))
    payload_bytes: Mapped[bytes | None]
    type: Mapped[str | None]
    headers: Mapped[dict | None] = mapped_column(JSON(none_as_null=True))


def trace_headers():
    # With OpenTelemetry: headers = {}; opentelemetry.propagate.inject(headers); return headers
    return {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}


def place(session, order, total):
    with session.begin():
        session.add(Order(id=order, total=total))
        event = Outbox(topic=TOPIC, key=order, payload={"order": order, "total": float(total)}, type="OrderPlaced",
                       headers=trace_headers())
        session.add(event)
        session.flush()
        if total <= 0:
            raise ValueError("an order has to cost something")
        return event.id


def pay(session, order, label):
    with session.begin():
        session.get_one(Order, order, with_for_update=True).paid = True  # the lock, before anything is published
        event = session.scalar(PUBLISH, {"topic": TOPIC, "key": order, "payload": {"order": order},
                                         "type": "OrderPaid", "headers": trace_headers()})
        session.add(Outbox(topic=TOPIC, key_bytes=order.encode(), payload_bytes=label, type="LabelPrinted"))
        return event


with Session(create_engine("postgresql+psycopg://")) as session:
    print("placed", place(session, "order-1", Decimal("42.5")))
    print("paid", pay(session, "order-1", b"\x0a\x00\xff"))
    try:
        place(session, "order-2", Decimal(0))
    except ValueError as error:
        print("rolled back:", error)

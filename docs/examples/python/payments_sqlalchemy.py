import json
import sys
from datetime import timedelta
from decimal import Decimal

from psycopg.errors import CheckViolation, ForeignKeyViolation
from sqlalchemy import FetchedValue, create_engine, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

TAKE = text("SELECT * FROM relay.take()")
DONE = text("SELECT relay.done(:inbox, :seq)")
RETRY = text("SELECT relay.retry(:inbox, :seq, :delay, :reason)")
REJECT = text("SELECT relay.reject(:inbox, :seq, :reason)")
CLAIM = text("SELECT * FROM relay.claim('main', 1, '5 minutes')")
ACK = text("SELECT relay.ack(:inbox, :seq, :token)")
NACK = text("SELECT relay.nack(:inbox, :seq, :token, '1 second', :reason)")

engine = create_engine("postgresql+psycopg://")


class Base(DeclarativeBase):
    pass


class Payment(Base):
    __tablename__ = "payments"
    number: Mapped[int] = mapped_column(primary_key=True, server_default=FetchedValue())
    order_id: Mapped[str]
    amount: Mapped[Decimal]


def payment(message):
    fields = json.loads(message.payload, parse_float=Decimal)
    return Payment(order_id=fields["order"], amount=fields["amount"])


def take():
    with Session(engine) as session, session.begin():
        message = session.execute(TAKE).one_or_none()
        if message is None:
            return None
        finish = {"inbox": message.inbox, "seq": message.seq}
        try:
            with session.begin_nested():  # a savepoint, behind the take; it flushes at its end
                session.add(payment(message))
            session.execute(DONE, finish)
            outcome = "paid"
        except IntegrityError as error:
            if isinstance(error.orig, ForeignKeyViolation):  # the order is not there yet
                delay = timedelta(seconds=2 ** min(message.attempts, 6))
                session.execute(RETRY, {**finish, "delay": delay, "reason": str(error.orig)})
                outcome = "later"
            elif isinstance(error.orig, CheckViolation):
                session.execute(REJECT, {**finish, "reason": str(error.orig)})
                outcome = "rejected"
            else:
                raise
    print(outcome, message.key, message.payload, flush=True)
    return outcome


def claim():
    with Session(engine) as session, session.begin():
        message = session.execute(CLAIM).one_or_none()
    if message is None:
        return None
    # Here is what takes long: no transaction is open.
    finish = {"inbox": message.inbox, "seq": message.seq, "token": message.token}
    try:
        with Session(engine) as session, session.begin():
            session.add(payment(message))
            session.execute(ACK, finish)  # flushes the payment before
        outcome = "paid"
    except IntegrityError as error:
        if not isinstance(error.orig, ForeignKeyViolation):
            raise
        with Session(engine) as session, session.begin():
            session.execute(NACK, {**finish, "reason": str(error.orig)})
        outcome = "later"
    print(outcome, message.key, message.payload, flush=True)
    return outcome


def work(step, count):
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as listener:
        listener.execute(text("LISTEN relay_inbox"))
        while count > 0:
            outcome = step()
            if outcome is None:  # a notification or a second, whichever is first
                list(listener.connection.driver_connection.notifies(timeout=1, stop_after=1))
            elif outcome != "later":
                count -= 1


work({"take": take, "claim": claim}[sys.argv[1]], int(sys.argv[2]))

import json
import sys
from datetime import timedelta

import psycopg
from psycopg.errors import CheckViolation, ForeignKeyViolation
from psycopg.rows import namedtuple_row


def pay(connection, message):
    payment = json.loads(message.payload)
    connection.execute("INSERT INTO payments (order_id, amount) VALUES (%s, %s)", (payment["order"], payment["amount"]))


def take(connection):
    with connection.transaction():
        message = connection.execute("SELECT * FROM relay.take()").fetchone()
        if message is None:
            return None
        try:
            with connection.transaction():  # a savepoint, behind the take
                pay(connection, message)
            connection.execute("SELECT relay.done(%s, %s)", (message.inbox, message.seq))
            outcome = "paid"
        except ForeignKeyViolation as error:  # the order is not there yet
            delay = timedelta(seconds=2 ** min(message.attempts, 6))
            connection.execute("SELECT relay.retry(%s, %s, %s, %s)", (message.inbox, message.seq, delay, str(error)))
            outcome = "later"
        except CheckViolation as error:
            connection.execute("SELECT relay.reject(%s, %s, %s)", (message.inbox, message.seq, str(error)))
            outcome = "rejected"
    print(outcome, message.key, message.payload, flush=True)
    return outcome


def claim(connection):
    message = connection.execute("SELECT * FROM relay.claim('main', 1, '5 minutes')").fetchone()
    if message is None:
        return None
    # Here is what takes long: no transaction is open.
    finish = (message.inbox, message.seq, message.token)
    try:
        with connection.transaction():
            pay(connection, message)
            connection.execute("SELECT relay.ack(%s, %s, %s)", finish)
        outcome = "paid"
    except ForeignKeyViolation as error:
        connection.execute("SELECT relay.nack(%s, %s, %s, '1 second', %s)", (*finish, str(error)))
        outcome = "later"
    print(outcome, message.key, message.payload, flush=True)
    return outcome


def work(connection, step, count):
    connection.execute("LISTEN relay_inbox")
    while count > 0:
        outcome = step(connection)
        if outcome is None:
            list(connection.notifies(timeout=1, stop_after=1))  # a notification or a second, whichever is first
        elif outcome != "later":
            count -= 1


with psycopg.connect(autocommit=True, row_factory=namedtuple_row) as connection:
    work(connection, {"take": take, "claim": claim}[sys.argv[1]], int(sys.argv[2]))

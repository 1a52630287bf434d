#!/usr/bin/python3
"""Starts PostgreSQL and Kafka, prints one JSON line when both are ready, and runs until SIGTERM or
SIGINT, or until standard input ends (--stdin). For the playground and for work by hand.

    /usr/bin/python3 tests/servers/up.py --database orders --topic payments
    {"dsn": "host=127.0.0.1 port=... dbname=orders user=postgres", "bootstrap": "127.0.0.1:...", ...}
"""
import argparse
import json
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from servers import Kafka, Postgres  # noqa: E402
from servers.kafka import DEFAULT_VERSION  # noqa: E402


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--no-kafka", action="store_true", help="PostgreSQL only")
    parser.add_argument("--no-postgres", action="store_true", help="Kafka only")
    parser.add_argument("--brokers", type=int, default=1, help="Kafka brokers (default 1)")
    parser.add_argument("--kafka-version", default=DEFAULT_VERSION, help="4.1.1 (default) or 3.9.1")
    parser.add_argument("--postgres-version", type=int, help="14 to 18 (default: Debian's)")
    parser.add_argument("--database", default="postgres", help="made if it is not there")
    parser.add_argument("--topic", action="append", default=[], metavar="NAME[:PARTITIONS]", help="made")
    parser.add_argument("--proxy", action="store_true", help="also start the fault proxies")
    parser.add_argument("--stdin", action="store_true", help="end also when standard input ends")
    return parser.parse_args()


def start_postgres(options):
    """The cluster with its database."""
    server = Postgres(options.postgres_version).start()
    if options.database != "postgres":
        server.create_database(options.database)
    return server


def start_kafka(options):
    """The brokers with their topics."""
    server = Kafka(options.brokers, options.kafka_version).start()
    for topic in options.topic:
        name, _, partitions = topic.partition(":")
        server.create_topic(name, int(partitions or 1))
    return server


def describe(options, postgres, kafka):
    """What the JSON line says."""
    facts = {}
    if postgres:
        facts.update(dsn=postgres.dsn(options.database), postgres_port=postgres.port,
                     postgres_socket=postgres.dsn(options.database, socket=True),
                     postgres_log=str(postgres.log))
    if kafka:
        facts.update(bootstrap=kafka.bootstrap, kafka_ports=[b.port for b in kafka.brokers],
                     kafka_logs=[str(b.log) for b in kafka.brokers])
    if options.proxy and postgres:
        facts["dsn_via_proxy"] = postgres.dsn(options.database, via_proxy=True)
    if options.proxy and kafka:
        facts["bootstrap_via_proxy"] = kafka.bootstrap_via_proxy
    return facts


def main():
    options = arguments()
    end = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: end.set())
    with ThreadPoolExecutor(2) as pool:
        postgres = None if options.no_postgres else pool.submit(start_postgres, options)
        kafka = None if options.no_kafka else pool.submit(start_kafka, options)
        servers = [future.result() if future else None for future in (postgres, kafka)]
    print(json.dumps(describe(options, *servers)), flush=True)
    if options.stdin:
        threading.Thread(target=lambda: (sys.stdin.read(), end.set()), daemon=True).start()
    end.wait()
    for server in servers:
        if server:
            server.close()


if __name__ == "__main__":
    main()

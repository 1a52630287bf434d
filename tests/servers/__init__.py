"""Real servers for tests: Kafka and PostgreSQL on free ports, below the build folder, gone afterwards."""
from .kafka import Kafka
from .postgres import Postgres
from .process import Child, Timeout, wait_until

__all__ = ["Kafka", "Postgres", "Child", "Timeout", "wait_until"]

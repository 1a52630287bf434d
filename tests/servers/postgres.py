"""Real PostgreSQL clusters on free ports of 127.0.0.1 and a private Unix socket.

fsync stays on: tests that claim durability run here. initdb and the server refuse root, so as
root they run as the user `postgres`; where that user cannot enter the test folder (a clone in a
closed home), the cluster and the socket lie in a private temporary folder, removed afterwards.
"""
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import uuid
from pathlib import Path

import psycopg2

from . import jars
from .cache import build_once
from .paths import new_dir
from .ports import HOST, free_ports
from .process import Child, Ended, remove_at_end, wait_until

DEBIAN = Path("/usr/lib/postgresql")
SUPERUSER = "postgres"
SOCKET_PATH_MAX = 80  # of 107; the file name in it needs 25

SETTINGS = {
    "listen_addresses": HOST,
    "max_connections": 200,
    "max_prepared_transactions": 50,
    "max_wal_senders": 20,
    "shared_buffers": "64MB",
    "wal_level": "replica",
    "hot_standby": "on",
    "wal_retrieve_retry_interval": "100ms",
    "fsync": "on",
    "dynamic_shared_memory_type": "mmap",
    "log_line_prefix": "%m [%p] %a ",
    "lc_messages": "C",
    "timezone": "UTC",
}


def installed_version():
    """Debian's: 15 of Debian 12 where it is, else the newest that is installed."""
    found = sorted(int(path.name) for path in DEBIAN.glob("[0-9]*") if (path / "bin/initdb").exists())
    if not found:
        raise RuntimeError("no PostgreSQL server; run tests/install.sh")
    return 15 if 15 in found else found[-1]


def default_version():
    """Debian's, or another by TEST_POSTGRES_VERSION."""
    return int(os.environ.get("TEST_POSTGRES_VERSION") or installed_version())


def _binaries(version):
    """The folder of initdb, pg_ctl and postgres; Debian's if it has that version."""
    debian = DEBIAN / str(version) / "bin"
    return debian if (debian / "initdb").exists() else jars.postgres_binaries(version)


def _account():
    """Popen's arguments that make a child run unprivileged; none if we are that already."""
    if os.getuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
            return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        except KeyError:
            continue
    raise RuntimeError("no unprivileged user to run PostgreSQL as")


def _may_enter(path):
    """Whether the unprivileged user can work below path."""
    return subprocess.run(["test", "-x", path], **_account(), check=False).returncode == 0


def _own(path):
    """Gives a tree to the unprivileged user, mode 0700 as PostgreSQL wants it."""
    account = _account()
    if account:
        subprocess.run(["chown", "-R", f"{account['user']}:{account['group']}", path], check=True)
    os.chmod(path, 0o700)


def _copy(source, target):
    """A copy of a data folder, made by cp: faster than Python's for a thousand files."""
    subprocess.run(["cp", "-a", "--reflink=auto", source, target], check=True)


def _run(argv, **popen):
    """Runs a PostgreSQL program unprivileged; tells its output when it fails."""
    done = subprocess.run([str(a) for a in argv], **_account(), cwd="/", stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=120, check=False, **popen)
    if done.returncode != 0:
        raise RuntimeError(f"{argv[0]} failed:\n{done.stdout}{done.stderr}")


def _initialised_template(version):
    """A data folder straight from initdb, made once a version."""
    def make(folder):
        private = tempfile.mkdtemp(prefix="boxrelay-initdb-")
        try:
            _own(private)
            os.chmod(private, 0o755)
            _run([_reachable(_binaries(version), Path(private)) / "initdb", "-D", f"{private}/data", "-U",
                  SUPERUSER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"])
            _copy(f"{private}/data", f"{folder}/data")
        finally:
            shutil.rmtree(private)
    return build_once(f"postgres-{version}-initialised-{os.getuid()}", make) / "data"


def _reachable(binaries, private):
    """The bin folder itself, or a copy of its tree below `private` if the user cannot enter it."""
    if _may_enter(binaries):
        return binaries
    copy = private / "server"
    if not copy.exists():
        _copy(binaries.parent, copy)
        _own(copy)
    return copy / "bin"


class Postgres:
    """One cluster. Use as a context manager, or start() and close()."""

    def __init__(self, version=None, settings=None, name="postgres"):
        self.version = version or default_version()
        self.name = name
        self.settings = {**SETTINGS, **(settings or {})}
        self.root = new_dir(name)
        self.private = self._private_folder()
        self.data = self.private / "data"
        self.log = self.root / "postgres.log"
        self.socket_dir = self._socket_folder()
        self.bin = _reachable(_binaries(self.version), self.private)
        self.port = None
        self.child = None
        self._proxy = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()

    def _private_folder(self):
        """Where the data goes: below our folder, or a temporary one if the user cannot enter that."""
        path = self.root / "cluster"
        path.mkdir()
        if not _may_enter(path):
            path = Path(tempfile.mkdtemp(prefix="boxrelay-pg-"))
            remove_at_end(path)
        _own(path)
        return path

    def _socket_folder(self):
        """A short path, as the kernel allows 107 characters for a socket."""
        path = self.private / "socket"
        if len(str(path)) > SOCKET_PATH_MAX:
            path = Path(tempfile.mkdtemp(prefix="boxrelay-pg-"))
            remove_at_end(path)
        path.mkdir(exist_ok=True)
        _own(path)
        return path

    def start(self, timeout=60):
        """Starts it. The first start makes the data folder and chooses the port."""
        if self.running:
            return self
        if not self.data.exists():
            _copy(_initialised_template(self.version), self.data)
            _own(self.data)
        if self.port is not None:
            return self._start_on_port(timeout)
        for attempt in range(4):
            (self.port,) = free_ports(1)
            try:
                return self._start_on_port(timeout)
            except Ended:
                if attempt == 3 or "Address already in use" not in self.log.read_text():
                    raise
        return self

    def _start_on_port(self, timeout):
        self._write_settings()
        self.child = Child([self.bin / "postgres", "-D", self.data], self.log, signal.SIGQUIT, cwd="/",
                           **_account())
        self.wait_ready(timeout)
        return self

    def _write_settings(self):
        """Ours go into a file of their own; ALTER SYSTEM's stay stronger."""
        values = {**self.settings, "port": self.port, "unix_socket_directories": self.socket_dir}
        text = "".join(f"{key} = '{value}'\n" for key, value in values.items())
        (self.data / "boxrelay.conf").write_text(text)
        main = self.data / "postgresql.conf"
        line = "include 'boxrelay.conf'\n"
        if line not in main.read_text():
            with open(main, "a", encoding="utf-8") as out:
                out.write(line)
        if _account():
            os.chown(self.data / "boxrelay.conf", _account()["user"], _account()["group"])

    @property
    def running(self):
        """Started and not seen to have ended; a paused one counts as running."""
        return self.child is not None and self.child.alive

    def wait_ready(self, timeout=60):
        """Until it takes a connection and answers a query."""
        def ready():
            if not self.child.alive:
                raise Ended(f"PostgreSQL ended:\n{self.child.log_tail()}")
            return self.query("SELECT true")
        wait_until(ready, timeout, f"PostgreSQL ready, see {self.log}")

    def stop(self, mode="fast", timeout=60):
        """smart, fast, or immediate (no checkpoint: the next start recovers)."""
        signals = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
        if self.running:
            self.child.stop(timeout, signals[mode])

    def kill(self):
        """SIGKILL to all of its processes at once, as a lost machine (but the page cache lives)."""
        if not self.running:
            return
        self.child.pause()
        for pid in self._children():
            _signal(pid, signal.SIGKILL)
        self.child.kill()

    def pause(self):
        """SIGSTOP to all of its processes."""
        self.child.pause()
        for pid in self._children():
            _signal(pid, signal.SIGSTOP)

    def resume(self):
        """SIGCONT to all of its processes."""
        for pid in self._children():
            _signal(pid, signal.SIGCONT)
        self.child.resume()

    def _children(self):
        """Pids of the backends and helpers."""
        path = f"/proc/{self.child.pid}/task/{self.child.pid}/children"
        with open(path, encoding="ascii") as children:
            return [int(pid) for pid in children.read().split()]

    def restart(self, mode="fast"):
        """Stops and starts it: same folder, same port."""
        self.stop(mode)
        return self.start()

    def close(self):
        """Ends it at once and removes its folders."""
        if self._proxy is not None:
            self._proxy.close()
        self.kill()
        if not os.environ.get("TEST_KEEP"):
            for path in (self.root, self.private, self.socket_dir):
                shutil.rmtree(path, ignore_errors=True)

    def dsn(self, database="postgres", via_proxy=False, socket=False, user=SUPERUSER):
        """A libpq conninfo string: TCP, the fault proxy, or the Unix socket."""
        host, port = (self.socket_dir, self.port) if socket else (HOST, self.port)
        if via_proxy:
            port = self.proxy.port("postgres")
        return f"host={host} port={port} dbname={database} user={user}"

    @property
    def proxy(self):
        """The fault proxy in front of it, started when first asked for; its route is `postgres`."""
        from proxy import Proxy, Route
        if self._proxy is None:
            self._proxy = Proxy([Route("postgres", "postgres", (HOST, self.port))], self.root / "proxy.log")
        return self._proxy

    def connect(self, database="postgres", via_proxy=False, socket=False, user=SUPERUSER, autocommit=True,
                application_name="test", **options):
        """A psycopg2 connection; autocommit unless asked otherwise."""
        connection = psycopg2.connect(self.dsn(database, via_proxy, socket, user), connect_timeout=10,
                                      application_name=application_name, **options)
        connection.autocommit = autocommit
        return connection

    def query(self, sql, args=None, database="postgres"):
        """Runs one statement on a connection of its own; rows, or [] if it has none."""
        connection = self.connect(database)
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql, args)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def create_database(self, name=None, template="template1"):
        """A fresh database; returns its name."""
        name = name or f"db_{uuid.uuid4().hex[:12]}"
        self.query(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return name

    def drop_database(self, name):
        """Drops it; ends the sessions that are in it."""
        self.query(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def kill_backends(self, application_name="%", database="%"):
        """pg_terminate_backend for the sessions whose names match (LIKE); returns how many."""
        return len(self.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND "
            "pid <> pg_backend_pid() AND application_name LIKE %s AND datname LIKE %s",
            (application_name, database)))

    def crash_backend(self, application_name):
        """SIGKILL to one matching backend: PostgreSQL then resets all sessions and recovers."""
        rows = self.query("SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND "
                          "application_name LIKE %s LIMIT 1", (application_name,))
        for (pid,) in rows:
            _signal(pid, signal.SIGKILL)
        return len(rows)

    def set(self, reload=True, **settings):
        """ALTER SYSTEM SET for each (None: RESET), and reload; some need a restart instead."""
        for key, value in settings.items():
            self.query(f"ALTER SYSTEM RESET {key}" if value is None else f"ALTER SYSTEM SET {key} = '{value}'")
        if reload:
            self.query("SELECT pg_reload_conf()")

    def base_backup(self, target):
        """A copy of this running cluster into target (a folder below a path its user can enter).

        By pg_basebackup, or where that is older than the server and refuses (the Maven jars have no
        clients), by the steps of "Making a Base Backup Using the Low Level API" in PostgreSQL's manual.
        """
        program = self.bin / "pg_basebackup"
        if program.exists() or self.version < installed_version():
            program = program if program.exists() else DEBIAN / str(installed_version()) / "bin/pg_basebackup"
            _run([program, "-D", target, "-h", self.socket_dir, "-p", self.port, "-U", SUPERUSER, "-c", "fast",
                  "-X", "stream", "--no-sync"])
        else:
            self._copy_running(target)

    def _copy_running(self, target):
        """What pg_basebackup does, for servers from 15 on; the copied pg_wal holds what was written so far."""
        connection = self.connect()
        cursor = connection.cursor()
        cursor.execute("SELECT pg_backup_start('base', true)")
        subprocess.run(["cp", "-a", self.data, target], check=False, capture_output=True)  # files may vanish
        cursor.execute("SELECT labelfile FROM pg_backup_stop(false)")
        (target / "backup_label").write_text(cursor.fetchone()[0])
        connection.close()
        for name in ("postmaster.pid", "postmaster.opts"):
            (target / name).unlink(missing_ok=True)
        subprocess.run(["cp", "-a", f"{self.data}/pg_wal/.", target / "pg_wal"], check=False, capture_output=True)
        _own(target)

    def standby(self, sync=False, name=None, settings=None):
        """A streaming standby, started and connected; sync: commits here wait for it from now on."""
        name = name or f"standby_{uuid.uuid4().hex[:6]}"
        other = Postgres(self.version, {**self.settings, **(settings or {})}, name)
        self.base_backup(other.data)
        (other.data / "standby.signal").touch()
        with open(other.data / "postgresql.auto.conf", "a", encoding="utf-8") as out:
            out.write(f"primary_conninfo = 'host={HOST} port={self.port} user={SUPERUSER} "
                      f"application_name={name}'\n")
        other.start()
        if sync:
            self.set(synchronous_standby_names=name)
        self.wait_streaming(name, "sync" if sync else "async")
        return other

    def wait_streaming(self, name, state, timeout=30):
        """Until the standby is connected in that sync_state and has all the WAL written before."""
        (lsn,), = self.query("SELECT pg_current_wal_lsn()")  # the insert position may count a page header ahead
        wait_until(lambda: self.query("SELECT 1 FROM pg_stat_replication WHERE application_name = %s AND "
                                      "state = 'streaming' AND sync_state = %s AND replay_lsn >= %s",
                                      (name, state, lsn)), timeout, f"standby {name} streaming as {state}")

    def promote(self, timeout=60):
        """Makes this standby a primary on a new timeline."""
        self.query("SELECT pg_promote(true, %s)", (timeout,))
        wait_until(lambda: self.query("SELECT NOT pg_is_in_recovery()")[0][0], timeout, "promotion")

    def copy(self, name="copy"):
        """A stopped cluster's data folder as another cluster, not yet started."""
        other = Postgres(self.version, self.settings, name)
        _copy(self.data, other.data)
        return other


def _signal(pid, signum):
    try:
        os.kill(pid, signum)
    except ProcessLookupError:
        pass

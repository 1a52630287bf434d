"""Real Kafka brokers (KRaft, combined nodes) on free ports of 127.0.0.1.

Each broker has three listeners: PLAINTEXT, which `bootstrap` names; CONTROLLER, between the
nodes; and PROXY, which advertises the fault proxy's port, so that a client that starts from
`bootstrap_via_proxy` passes the proxy with every connection it makes, also those to the leaders
and coordinators that it finds by itself.
"""
import base64
import os
import shutil
import signal
import subprocess
import threading
import uuid
from pathlib import Path

from . import jars
from .cache import build_once, locked
from .paths import HERE, new_dir
from .ports import HOST, free_ports, reserve
from .process import Child, Ended, wait_until
from .wire import Admin, metadata

NEWEST_VERSION = "4.1.1"
DEFAULT_VERSION = os.environ.get("TEST_KAFKA_VERSION") or NEWEST_VERSION
JVM = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-Xshare:auto", "-Xlog:cds=off",
       "-Xlog:cds+dynamic=off", f"-Dlog4j2.configurationFile={HERE}/log4j2.properties",
       f"-Dlog4j.configuration=file:{HERE}/log4j.properties"]

COMMON = {
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "offsets.topic.num.partitions": 1,
    "transaction.state.log.num.partitions": 3,
    "group.initial.rebalance.delay.ms": 0,
    "group.min.session.timeout.ms": 1000,
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": 500,
    "auto.create.topics.enable": "false",
    "num.network.threads": 2,
    "num.io.threads": 2,
    "log.cleaner.dedupe.buffer.size": 8388608,
    # A killed broker may register again only when its old session is over; 9 s by default.
    "broker.session.timeout.ms": 3000,
    "broker.heartbeat.interval.ms": 500,
}

SEVERAL = {
    "controller.quorum.election.timeout.ms": 500,
    "controller.quorum.fetch.timeout.ms": 1000,
    "unclean.leader.election.enable": "false",
}


def _replication(brokers):
    """Three replicas and two in sync where there are enough brokers, else what there is."""
    factor, in_sync = min(3, brokers), 2 if brokers >= 3 else 1
    names = ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic")
    values = {f"{name}.replication.factor": factor for name in names}
    values.update({"transaction.state.log.min.isr": in_sync, "share.coordinator.state.topic.min.isr": in_sync,
                   "default.replication.factor": factor, "min.insync.replicas": in_sync})
    return values


def _write_properties(path, values):
    path.write_text("".join(f"{key}={value}\n" for key, value in values.items()))


def _java_argv(version, main, *args, options=()):
    return [jars.java(), *JVM, *options, "-cp", jars.class_path(version), main, *map(str, args)]


def _format(version, properties, args=()):
    """Makes the storage of one node as server.properties says."""
    done = subprocess.run(_java_argv(version, "kafka.tools.StorageTool", "format", "-t", _kafka_uuid(), "-c",
                                     properties, *args),
                          capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"kafka.tools.StorageTool format failed:\n{done.stdout}\n{done.stderr}")


def _kafka_uuid():
    """A uuid as Kafka writes it (22 characters; a leading '-' would look like an option)."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):
            return text


def _formatted_template(version):
    """A formatted folder, made once; the copies get names and ids of their own."""
    def make(folder):
        properties = Path(folder) / "server.properties"
        _write_properties(properties, {
            **COMMON, "node.id": 1, "controller.quorum.voters": f"1@{HOST}:1", "log.dirs": f"{folder}/data",
            "listeners": f"PLAINTEXT://{HOST}:2,CONTROLLER://{HOST}:1",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT"})
        _format(version, properties)
    return build_once(f"kafka-{version}-formatted", make) / "data"


def _copy_formatted(version, target, cluster_id, node_id):
    """A formatted folder of another cluster and node: only meta.properties names them."""
    shutil.copytree(_formatted_template(version), target)
    meta = target / "meta.properties"
    changed = {"cluster.id": cluster_id, "node.id": node_id, "directory.id": _kafka_uuid()}
    lines = [line.partition("=") for line in meta.read_text().splitlines() if "=" in line]
    _write_properties(meta, {key: changed.get(key, value) for key, _, value in lines})


def _archive(version):
    """The AppCDS archive, made once by running a broker and stopping it; it halves the start."""
    path = jars.archive_path(f"kafka-{version}", jars.class_path(version))
    if path.exists():
        return path
    with locked(f"kafka-{version}-archive"):
        if not path.exists():
            made = path.with_suffix(f".{os.getpid()}.tmp")
            try:
                with Kafka(version=version, jvm_options=[f"-XX:ArchiveClassesAtExit={made}"]) as kafka:
                    kafka.create_topic("warm", 1)
                    kafka.stop()
                if made.exists():
                    made.rename(path)
            finally:
                made.unlink(missing_ok=True)
    return path


class Broker:
    """One node: its folder, its ports and its process."""

    def __init__(self, cluster, node_id, root):
        self.cluster, self.node_id, self.root = cluster, node_id, root
        self.log = root / "broker.log"
        self.port = self.controller_port = self.behind_proxy_port = None
        self.extra_ports = {}
        self.proxy_socket = None
        self.child = None

    def choose_ports(self):
        """New ports; the proxy's stays bound by us until the proxy takes it over."""
        count = 3 + len(self.cluster.extra_listeners)
        self.port, self.controller_port, self.behind_proxy_port, *rest = free_ports(count)
        self.extra_ports = dict(zip(self.cluster.extra_listeners, rest))
        if self.proxy_socket is None:
            self.proxy_socket = reserve()
            self.proxy_port = self.proxy_socket.getsockname()[1]

    @property
    def address(self):
        """(host, port) of the direct listener."""
        return HOST, self.port

    def prepare(self):
        """server.properties, and the formatted folder if there is none yet."""
        cluster = self.cluster
        voters = ",".join(f"{b.node_id}@{HOST}:{b.controller_port}" for b in cluster.brokers)
        data = self.root / "data"
        open_listeners = {"PLAINTEXT": self.port, **self.extra_ports}
        names = {**open_listeners, "PROXY": self.behind_proxy_port, "CONTROLLER": self.controller_port}
        advertised = {**open_listeners, "PROXY": self.proxy_port}
        protocols = {"PLAINTEXT": "PLAINTEXT", "PROXY": "PLAINTEXT", "CONTROLLER": "PLAINTEXT",
                     **cluster.extra_listeners}
        values = {**COMMON, **_replication(len(cluster.brokers)),
                  **(SEVERAL if len(cluster.brokers) > 1 else {}),
                  "node.id": self.node_id, "controller.quorum.voters": voters, "log.dirs": data,
                  "listeners": ",".join(f"{name}://{HOST}:{port}" for name, port in names.items()),
                  "advertised.listeners": ",".join(f"{name}://{HOST}:{port}" for name, port in advertised.items()),
                  "listener.security.protocol.map": ",".join(f"{k}:{v}" for k, v in protocols.items()),
                  **cluster.properties}
        properties = self.root / "server.properties"
        _write_properties(properties, values)
        if not data.exists():
            if cluster.format_args:
                _format(cluster.version, properties, cluster.format_args)
            else:
                _copy_formatted(cluster.version, data, cluster.cluster_id, self.node_id)

    def spawn(self):
        """Starts the process; see Kafka.wait_ready."""
        self.child = Child(_java_argv(self.cluster.version, "kafka.Kafka", self.root / "server.properties",
                                      options=[*self.cluster.jvm_options, f"-Djava.io.tmpdir={self.root}"]),
                           self.log, cwd=self.root)

    def start(self, timeout=60):
        """Starts it again on its folder and ports, and waits until it is in the cluster."""
        if self.running:
            return
        self.spawn()
        self.wait_ready(timeout)

    def wait_ready(self, timeout=60):
        """Until its own Metadata answer lists every broker that runs, itself included."""
        def ready():
            if not self.child.alive:
                raise Ended(f"broker {self.node_id} ended:\n{self.child.log_tail()}")
            wanted = {b.node_id for b in self.cluster.brokers if b.running}
            meta = metadata(self.address)
            return wanted <= set(meta["brokers"]) and meta["controller"] >= 0
        wait_until(ready, timeout, f"broker {self.node_id} ready, see {self.log}")

    @property
    def running(self):
        """Started and not seen to have ended; a paused one counts as running."""
        return self.child is not None and self.child.alive

    def stop(self, timeout=60):
        """SIGTERM: a controlled shutdown."""
        if self.running:
            self.child.stop(timeout)

    def kill(self):
        """SIGKILL, as a crash."""
        if self.running:
            self.child.kill()

    def pause(self):
        """SIGSTOP."""
        self.child.pause()

    def resume(self):
        """SIGCONT."""
        self.child.resume()

    def restart(self, timeout=60):
        """SIGTERM, then started again: same folder, same ports."""
        self.stop(timeout)
        self.start(timeout)


class Kafka:
    """A cluster of one (default) or more brokers. Use as a context manager, or start() and close().

    properties: further lines of server.properties (they win). extra_listeners: {"TLS": "SSL"},
    then listener("TLS") is its address. format_args: for StorageTool (`--add-scram ...`).
    """

    def __init__(self, brokers=1, version=DEFAULT_VERSION, properties=None, extra_listeners=None,
                 format_args=(), jvm_options=None):
        self.version = version
        self.properties = dict(properties or {})
        self.extra_listeners = dict(extra_listeners or {})
        self.format_args = list(format_args)
        self.cluster_id = _kafka_uuid()
        self._jvm_options = jvm_options
        self.jvm_options = []
        self._proxy = None
        self._proxy_lock = threading.Lock()
        self.root = new_dir("kafka")
        self.brokers = [Broker(self, n + 1, self.root / f"node-{n + 1}") for n in range(brokers)]
        for broker in self.brokers:
            broker.root.mkdir()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()

    def start(self, timeout=90):
        """Starts all brokers. The first start chooses the ports, and others if one was stolen."""
        if self._jvm_options is None:
            self._jvm_options = [f"-XX:SharedArchiveFile={_archive(self.version)}"]
        self.jvm_options = self._jvm_options
        if self.brokers[0].port is not None:
            return self._start_again(timeout)
        for attempt in range(4):
            for broker in self.brokers:
                broker.choose_ports()
            for broker in self.brokers:
                broker.prepare()
            try:
                return self._start_again(timeout)
            except Ended:
                self.kill()
                if attempt == 3 or not any("already in use" in b.log.read_text() for b in self.brokers):
                    raise
        return self

    def _start_again(self, timeout):
        for broker in self.brokers:
            if not broker.running:
                broker.spawn()
        self.wait_ready(timeout)
        return self

    def wait_ready(self, timeout=90):
        """Every broker's Metadata answer lists all of them; raises if one has ended."""
        for broker in self.brokers:
            broker.wait_ready(timeout)

    def stop(self):
        """SIGTERM to all, then waits for all (one after the other would wait for a lost quorum)."""
        for broker in self.brokers:
            if broker.running:
                broker.child.send(signal.SIGTERM)
        for broker in self.brokers:
            if broker.running:
                try:
                    broker.child.wait(30)
                except Exception:  # pylint: disable=broad-except
                    broker.kill()

    def kill(self):
        """SIGKILL to all."""
        for broker in self.brokers:
            broker.kill()

    def pause(self):
        """SIGSTOP to all."""
        for broker in self.brokers:
            broker.pause()

    def resume(self):
        """SIGCONT to all."""
        for broker in self.brokers:
            broker.resume()

    def restart(self):
        """SIGTERM to all, then all again: same folders, same ports."""
        self.stop()
        return self.start()

    def close(self):
        """Ends everything at once and removes the folder; nothing of a test cluster is kept."""
        if self._proxy is not None:
            self._proxy.close()
        self.kill()
        for broker in self.brokers:
            if broker.proxy_socket is not None:
                broker.proxy_socket.close()
        if not os.environ.get("TEST_KEEP"):
            shutil.rmtree(self.root, ignore_errors=True)

    @property
    def bootstrap(self):
        """bootstrap.servers, directly."""
        return ",".join(f"{HOST}:{broker.port}" for broker in self.brokers)

    @property
    def bootstrap_via_proxy(self):
        """bootstrap.servers through the fault proxy, which is started when first asked for."""
        return ",".join(f"{HOST}:{self.proxy.port(f'kafka-{b.node_id}')}" for b in self.brokers)

    @property
    def proxy(self):
        """The fault proxy in front of all brokers; routes are named kafka-1, kafka-2, ..."""
        from proxy import Proxy, Route
        with self._proxy_lock:
            if self._proxy is None:
                self._proxy = Proxy([Route(f"kafka-{b.node_id}", "kafka", (HOST, b.behind_proxy_port),
                                           b.proxy_socket) for b in self.brokers], self.root / "proxy.log")
            return self._proxy

    def listener(self, name):
        """bootstrap.servers of an extra listener."""
        return ",".join(f"{HOST}:{broker.extra_ports[name]}" for broker in self.brokers)

    @property
    def admin(self):
        """Administrative calls, see wire.Admin."""
        return Admin([broker.address for broker in self.brokers])

    def create_topic(self, name, partitions=1, config=None, replicas=None):
        """Creates it and waits until it can be used; returns the name."""
        self.admin.create_topic(name, partitions, replicas or min(3, len(self.brokers)), config)
        return name

    def delete_topic(self, name):
        """Deletes it and waits until it is gone."""
        self.admin.delete_topic(name)

    def wait_in_sync(self, timeout=60):
        """Until every partition of every topic has all its replicas in sync."""
        def in_sync():
            topics = self.admin.metadata(None)["topics"]
            return all(set(p["isr"]) == set(p["replicas"]) for parts in topics.values() for p in parts.values())
        wait_until(in_sync, timeout, "all replicas in sync")

    def leader(self, topic, partition=0):
        """The Broker that leads the partition."""
        node = self.admin.metadata([topic])["topics"][topic][partition]["leader"]
        return next(broker for broker in self.brokers if broker.node_id == node)

    def coordinator(self, transactional_id):
        """The Broker that coordinates the transactional id."""
        node = self.admin.coordinator(transactional_id, "transaction")
        return next(broker for broker in self.brokers if broker.node_id == node)

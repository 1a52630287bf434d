"""The judge: reads Kafka with Java's kafka-clients, which share no code with the relay's librdkafka.

    for record in judge.read(kafka, ["payments"]):
        print(record.key, record.value, record.header("id"))

and Sender, a Java producer for messages that come from other services; Member, a consumer in a group of a relay's.
"""
import hashlib
import subprocess
import uuid
import zipfile
from pathlib import Path
from urllib.parse import quote_plus, unquote_plus

from servers import jars
from servers.cache import build_once
from servers.kafka import NEWEST_VERSION
from servers.paths import HERE, run_dir
from servers.process import Child, Timeout

SOURCES = sorted(Path(__file__).with_name("java").glob("*.java"))
JVM = ["-Xmx512m", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-Xshare:auto", "-Xlog:disable", "-Xlog:all=error:stderr",
       f"-Dlog4j2.configurationFile={HERE}/log4j2.properties"]


class Unstable(Exception):
    """A transaction was still open in a topic at the deadline, so the reading is not the whole truth."""


class Record:
    """One record as a consumer sees it. key and value: bytes or None (value: the SHA-256 in hex when
    so asked for). java_partition: what Java's default partitioner gives for the key, None without one.
    """
    __slots__ = ("topic", "partition", "offset", "timestamp", "key", "value", "headers", "java_partition")

    def __init__(self, fields, digest):
        _, self.topic, partition, offset, timestamp, key, value, headers, murmur = fields
        self.partition, self.offset, self.timestamp = int(partition), int(offset), int(timestamp)
        self.key = _bytes(key)
        self.value = (None if value == "-" else value) if digest else _bytes(value)
        self.headers = [_header(part) for part in headers.split(",")] if headers else []
        self.java_partition = None if murmur == "-" else int(murmur)

    def header(self, name):
        """The last header of that name as text; None if there is none or its value is null."""
        for found, value in reversed(self.headers):
            if found == name:
                return None if value is None else value.decode()
        return None

    def __repr__(self):
        return (f"Record({self.topic}[{self.partition}]@{self.offset} key={self.key!r} value={self.value!r} "
                f"headers={self.headers!r})")


def _bytes(text):
    return None if text == "-" else bytes.fromhex(text)


def _hex(data):
    data = data.encode() if isinstance(data, str) else data
    return "-" if data is None else data.hex()


def _header(part):
    name, _, value = part.partition("=")
    return unquote_plus(name), _bytes(value)


def _classes():
    """The jar of our classes (AppCDS takes no folders), made anew when a source changes."""
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in SOURCES)).hexdigest()[:12]

    def compile_all(folder):
        javac = Path(jars.java()).with_name("javac")
        done = subprocess.run([javac if javac.exists() else "javac", "--release", "17", "-Xlint:all", "-cp",
                               jars.class_path(NEWEST_VERSION), "-d", folder, *SOURCES],
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"javac failed:\n{done.stdout}{done.stderr}")
        with zipfile.ZipFile(f"{folder}/judge.jar", "w") as jar:
            for path in Path(folder).glob("*.class"):
                jar.write(path, path.name)
    return build_once(f"judge-jar-{digest}", compile_all) / "judge.jar"


def prepare():
    """Compiles the programs now, rather than at the first reading."""
    _classes()


class _Java(Child):
    """One run of a program. The first that ends by itself leaves an AppCDS archive, which halves
    the start of the later ones (a test reads many times)."""

    def __init__(self, main, *args, **popen):
        classes = f"{_classes()}:{jars.class_path(NEWEST_VERSION)}"
        self._archive = jars.archive_path(f"judge-{main}", classes)
        self._made = self._archive.with_suffix(f".{uuid.uuid4().hex[:8]}.tmp")
        option = f"-XX:SharedArchiveFile={self._archive}" if self._archive.exists() else \
            f"-XX:ArchiveClassesAtExit={self._made}"
        super().__init__([jars.java(), *JVM, option, f"-Djava.io.tmpdir={run_dir()}", "-cp", classes, main, *args],
                         run_dir() / f"{main}-{uuid.uuid4().hex[:8]}.log", stdout=subprocess.PIPE, **popen)

    def end(self, timeout):
        """Waits for it to end by itself, else kills it; its exit status."""
        try:
            code = self.wait(timeout)
            if code == 0 and self._made.exists():
                self._made.rename(self._archive)
        except Timeout:
            code = self.kill()
        self._made.unlink(missing_ok=True)
        self.stdout.close()
        return code


def _bootstrap(kafka):
    return kafka if isinstance(kafka, str) else kafka.bootstrap


def stream(kafka, topics, isolation="read_committed", digest=False, deadline=30, allow_open=False):
    """Yields every record of the topics, each partition from its beginning to its stable end.

    kafka: a Kafka or a bootstrap string. digest: values as SHA-256, for millions of records.
    Raises Unstable at the end if a transaction was still open after `deadline` seconds (unless
    allow_open: then the records before it are the reading), RuntimeError if the reader failed.
    """
    topics = [topics] if isinstance(topics, str) else list(topics)
    child = _Java("Judge", _bootstrap(kafka), isolation, "sha256" if digest else "hex", int(deadline * 1000),
                  *topics)
    pinned, complete = [], False
    try:
        for line in child.stdout:
            fields = line.decode("ascii").rstrip("\n").split("\t")
            if fields[0] == "R":
                yield Record(fields, digest)
            elif fields[0] != "E":
                raise RuntimeError(f"not a line of the judge's: {line!r}")
            elif fields[3] != fields[4]:
                pinned.append(f"{fields[1]}[{fields[2]}] stable to {fields[3]} of {fields[4]}")
        complete = True
    finally:
        code = child.end(30 if complete else 0)
    if code != 0:
        raise RuntimeError(f"the judge failed:\n{child.log_tail()}")
    if pinned and not allow_open:
        raise Unstable("; ".join(pinned))


def read(kafka, topics, **options):
    """All records as a list; see stream."""
    return list(stream(kafka, topics, **options))


class SendFailed(Exception):
    """What Java's producer said."""


class Sender:
    """A Java producer in a process of its own; transactional if it is given a transactional id.

        with judge.Sender(kafka, transactional_id="t1") as sender:
            sender.begin(); sender.send("topic", "key", "value", {"id": "1"}); sender.commit()

    Without one: send(...), then flush(). Further properties by dict, with Kafka's names.
    """

    def __init__(self, kafka, transactional_id=None, properties=None, start=True):
        settings = {"bootstrap.servers": _bootstrap(kafka), "linger.ms": 5, "acks": "all", **(properties or {})}
        if transactional_id:
            settings["transactional.id"] = transactional_id
        self.child = _Java("Sender", *(f"{k}={v}" for k, v in settings.items()), stdin=subprocess.PIPE)
        if transactional_id and start:
            self.init()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, topic, key, value, headers=None, partition=None, timestamp=None):
        """Queues one record; str is sent as UTF-8. Its failure is told by the next flush or commit."""
        pairs = headers.items() if isinstance(headers, dict) else headers or []
        text = ",".join(f"{quote_plus(name)}={_hex(data)}" for name, data in pairs)
        words = ["send", topic, "-" if partition is None else str(partition),
                 "-" if timestamp is None else str(timestamp), _hex(key), _hex(value), text]
        self.child.stdin.write("\t".join(words).encode() + b"\n")

    def ask(self, command):
        """Sends a command without waiting; answer() waits."""
        self.child.stdin.write(command.encode() + b"\n")
        self.child.stdin.flush()

    def answer(self):
        """Waits for the answer to ask(); raises SendFailed. Java's own time-outs bound the wait."""
        line = self.child.stdout.readline().decode().rstrip("\n")
        if line != "ok":
            raise SendFailed(line.partition("\t")[2] or f"the sender ended:\n{self.child.log_tail()}")

    def _call(self, command):
        self.ask(command)
        self.answer()

    def init(self):
        """initTransactions."""
        self._call("init")

    def begin(self):
        """beginTransaction."""
        self._call("begin")

    def flush(self):
        """Waits until all is acknowledged."""
        self._call("flush")

    def commit(self):
        """commitTransaction."""
        self._call("commit")

    def abort(self):
        """abortTransaction."""
        self._call("abort")

    def close(self):
        """Ends it; an open transaction stays open until the broker aborts it."""
        try:
            self.child.stdin.close()
        except OSError:
            pass  # it has ended before
        self.child.end(5)


class Member:
    """A Java consumer that has joined a group with an assignor that no relay knows; it has partitions of the topic."""

    def __init__(self, kafka, group, topic):
        settings = {"bootstrap.servers": _bootstrap(kafka), "group.id": group, "partition.assignment.strategy":
                    "org.apache.kafka.clients.consumer.RoundRobinAssignor", "enable.auto.commit": "false"}
        self.child = _Java("Member", topic, *(f"{k}={v}" for k, v in settings.items()), stdin=subprocess.PIPE)
        if self.child.stdout.readline() != b"assigned\n":
            raise RuntimeError(f"no member:\n{self.child.log_tail()}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Leaves the group."""
        try:
            self.child.stdin.write(b"\n")
            self.child.stdin.close()
        except OSError:
            pass
        self.child.end(30)

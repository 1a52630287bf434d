"""A very small Kafka client: the few administrative requests the tests need, and nothing else.

A Java tool takes 1.5 s for what this does in 5 ms. It speaks old, not flexible versions that
Kafka 3.9 and 4.x both accept. Source: the Kafka protocol guide.

Frames: int32 size, then int16 api_key, int16 api_version, int32 correlation_id, nullable string
client_id, body; the answer: int32 size, int32 correlation_id, body. Strings have an int16 length
(-1: null), arrays an int32 count.
"""
import socket
import struct

from .process import wait_until

LIST_OFFSETS, METADATA, OFFSET_FETCH, FIND_COORDINATOR, DESCRIBE_GROUPS = 2, 3, 9, 10, 15
CREATE_TOPICS, DELETE_TOPICS, CREATE_PARTITIONS, ALTER_CONFIGS = 19, 20, 37, 44

ERRORS = {3: "UNKNOWN_TOPIC_OR_PARTITION", 5: "LEADER_NOT_AVAILABLE", 6: "NOT_LEADER_OR_FOLLOWER",
          7: "REQUEST_TIMED_OUT", 14: "COORDINATOR_LOAD_IN_PROGRESS", 15: "COORDINATOR_NOT_AVAILABLE",
          16: "NOT_COORDINATOR", 17: "INVALID_TOPIC", 36: "TOPIC_ALREADY_EXISTS",
          37: "INVALID_PARTITIONS", 38: "INVALID_REPLICATION_FACTOR", 40: "INVALID_CONFIG",
          41: "NOT_CONTROLLER"}
RETRIABLE = {3, 5, 6, 7, 14, 15, 16, 41}


class KafkaError(Exception):
    """An answer with an error code."""

    def __init__(self, code, what):
        super().__init__(f"{what}: {ERRORS.get(code, '')} ({code})")
        self.code = code


class Writer:
    """Builds a request body."""

    def __init__(self):
        self.data = bytearray()

    def put(self, fmt, *values):
        """Big-endian integers by struct's letters."""
        self.data += struct.pack(">" + fmt, *values)
        return self

    def string(self, text):
        """A string, None for null."""
        if text is None:
            return self.put("h", -1)
        raw = text.encode()
        self.put("h", len(raw))
        self.data += raw
        return self

    def array(self, items, put_item):
        """A count, then put_item(item) for each."""
        items = list(items)
        self.put("i", len(items))
        for item in items:
            put_item(item)
        return self


class Reader:
    """Takes an answer apart."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def get(self, fmt):
        """One integer by its struct letter."""
        (value,) = struct.unpack_from(">" + fmt, self.data, self.at)
        self.at += struct.calcsize(">" + fmt)
        return value

    def string(self):
        """A string or None."""
        size = self.get("h")
        if size < 0:
            return None
        self.at += size
        return self.data[self.at - size:self.at].decode()

    def array(self, get_item):
        """A list of get_item()."""
        return [get_item() for _ in range(self.get("i"))]


class Connection:
    """One connection to one broker, one request at a time."""

    def __init__(self, host, port, timeout=10.0):
        self._sock = socket.create_connection((host, port), timeout)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._correlation = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._sock.close()

    def ask(self, api_key, version, body):
        """Sends one request and returns a Reader of the answer's body."""
        self._correlation += 1
        head = Writer().put("hhi", api_key, version, self._correlation).string("boxrelay-tests").data
        self._sock.sendall(struct.pack(">i", len(head) + len(body.data)) + head + body.data)
        (size,) = struct.unpack(">i", self._exactly(4))
        answer = Reader(self._exactly(size))
        if answer.get("i") != self._correlation:
            raise ConnectionError("answer to another request")
        return answer

    def _exactly(self, size):
        parts = bytearray()
        while len(parts) < size:
            part = self._sock.recv(size - len(parts))
            if not part:
                raise ConnectionError("the broker closed the connection")
            parts += part
        return bytes(parts)


def metadata(address, topics=()):
    """Metadata v4 from one broker: {"brokers": {id: (host, port)}, "controller": id,
    "topics": {name: {partition: {"error", "leader", "replicas", "isr"}}}}. topics None: all.
    """
    body = Writer()
    if topics is None:
        body.put("i", -1)
    else:
        body.array(topics, body.string)
    body.put("b", 0)
    with Connection(*address) as connection:
        answer = connection.ask(METADATA, 4, body)
    answer.get("i")
    brokers = {}
    for _ in range(answer.get("i")):
        node, host, port = answer.get("i"), answer.string(), answer.get("i")
        answer.string()
        brokers[node] = (host, port)
    answer.string()
    controller = answer.get("i")
    found = {}
    for _ in range(answer.get("i")):
        error, name = answer.get("h"), answer.string()
        answer.get("b")
        partitions = dict(answer.array(lambda: _metadata_partition(answer)))
        if error == 0:
            found[name] = partitions
    return {"brokers": brokers, "controller": controller, "topics": found}


def _metadata_partition(answer):
    error, partition, leader = answer.get("h"), answer.get("i"), answer.get("i")
    replicas, isr = (answer.array(lambda: answer.get("i")) for _ in range(2))
    return partition, {"error": error, "leader": leader, "replicas": replicas, "isr": isr}


class Admin:
    """Administrative calls against a cluster known by its brokers' addresses [(host, port), ...]."""

    def __init__(self, addresses):
        self.addresses = list(addresses)

    def metadata(self, topics=()):
        """From the first broker that answers."""
        last = None
        for address in self.addresses:
            try:
                return metadata(address, topics)
            except OSError as error:
                last = error
        raise ConnectionError(f"no broker of {self.addresses} answers: {last}")

    def _retried(self, call, timeout, what):
        """call() again until it returns; only errors that a healthy cluster can show are retried."""
        failure = []

        def attempt():
            try:
                return (call(),)
            except KafkaError as error:
                if error.code in RETRIABLE:
                    raise
                failure.append(error)
                return (None,)
        (value,) = wait_until(attempt, timeout, what)
        if failure:
            raise failure[0]
        return value

    def _ask_controller(self, api_key, version, body):
        """KRaft brokers pass controller requests on, so any of them does."""
        meta = self.metadata()
        address = meta["brokers"].get(meta["controller"]) or self.addresses[0]
        known = {port: (host, port) for host, port in self.addresses}
        with Connection(*known.get(address[1], self.addresses[0])) as connection:
            return connection.ask(api_key, version, body)

    def create_topic(self, name, partitions, replicas, config, timeout=20):
        """CreateTopics v3, then waits until every partition has a leader."""
        body = Writer().put("i", 1).string(name).put("ih", partitions, replicas).put("i", 0)
        body.array((config or {}).items(), lambda kv: body.string(kv[0]).string(str(kv[1])))
        body.put("ib", 10_000, 0)

        def create():
            answer = self._ask_controller(CREATE_TOPICS, 3, body)
            answer.get("i")
            (code, text), = answer.array(lambda: (answer.string(), answer.get("h"), answer.string())[1:])
            if code:
                raise KafkaError(code, f"create topic {name}: {text}")
        self._retried(create, timeout, f"creation of topic {name}")
        self.wait_leaders(name, partitions, timeout)

    def wait_leaders(self, name, partitions, timeout=20):
        """Every broker that answers must know a leader of every partition."""
        def ready():
            for address in self.addresses:
                try:
                    parts = metadata(address, [name])["topics"].get(name, {})
                except OSError:
                    continue
                if len(parts) < partitions or any(p["leader"] < 0 for p in parts.values()):
                    return False
            return True
        wait_until(ready, timeout, f"leaders of topic {name}")

    def delete_topic(self, name, timeout=20):
        """DeleteTopics v3, and waits until no broker lists it."""
        body = Writer().put("i", 1).string(name).put("i", 10_000)
        answer = self._ask_controller(DELETE_TOPICS, 3, body)
        answer.get("i")
        (code,) = answer.array(lambda: (answer.string(), answer.get("h"))[1])
        if code:
            raise KafkaError(code, f"delete topic {name}")
        wait_until(lambda: name not in self.metadata([name])["topics"], timeout, f"deletion of topic {name}")

    def create_partitions(self, name, count, timeout=20):
        """CreatePartitions v1: grows the topic to `count` partitions."""
        body = Writer().put("i", 1).string(name).put("ii", count, -1).put("ib", 10_000, 0)
        answer = self._ask_controller(CREATE_PARTITIONS, 1, body)
        answer.get("i")
        (code,) = answer.array(lambda: (answer.string(), answer.get("h"), answer.string())[1])
        if code:
            raise KafkaError(code, f"create partitions of {name}")
        self.wait_leaders(name, count, timeout)

    def alter_topic(self, name, config):
        """IncrementalAlterConfigs v0: sets the keys; the value None takes a key's setting away."""
        body = Writer().put("ib", 1, 2).string(name)
        body.array(config.items(), lambda kv: body.string(kv[0]).put("b", 1 if kv[1] is None else 0)
                   .string(None if kv[1] is None else str(kv[1])))
        body.put("b", 0)
        answer = self._ask_controller(ALTER_CONFIGS, 0, body)
        answer.get("i")
        (code,) = answer.array(lambda: (answer.get("h"), answer.string(), answer.get("b"), answer.string())[0])
        if code:
            raise KafkaError(code, f"alter topic {name}")

    def topics(self):
        """All topics: {name: number of partitions}."""
        return {name: len(parts) for name, parts in self.metadata(None)["topics"].items()}

    def offsets(self, topic, isolation="read_committed", at=-1, timeout=20):
        """{partition: offset} by ListOffsets v2; at: -1 the end (read_committed: the last stable
        offset; read_uncommitted: the high watermark), -2 the beginning, else a time in ms.
        """
        level = {"read_uncommitted": 0, "read_committed": 1}[isolation]

        def all_partitions():
            meta = self.metadata([topic])
            if topic not in meta["topics"]:
                raise KafkaError(3, f"offsets of {topic}")
            return {p: self._offset(meta, topic, p, level, at) for p in sorted(meta["topics"][topic])}
        return self._retried(all_partitions, timeout, f"offsets of {topic}")

    @staticmethod
    def _offset(meta, topic, partition, level, at):
        leader = meta["brokers"].get(meta["topics"][topic][partition]["leader"])
        if leader is None:
            raise KafkaError(5, f"offset of {topic}[{partition}]")
        body = Writer().put("ib", -1, level).put("i", 1).string(topic).put("i", 1).put("iq", partition, at)
        with Connection(*leader) as connection:
            answer = connection.ask(LIST_OFFSETS, 2, body)
        answer.get("i"), answer.get("i"), answer.string(), answer.get("i"), answer.get("i")
        code, _, offset = answer.get("h"), answer.get("q"), answer.get("q")
        if code:
            raise KafkaError(code, f"offset of {topic}[{partition}]")
        return offset

    def coordinator(self, key, kind, timeout=20):
        """The node id of the coordinator of a "group" or a "transaction" (FindCoordinator v1)."""
        body = Writer().string(key).put("b", {"group": 0, "transaction": 1}[kind])

        def find():
            with Connection(*self._any_address()) as connection:
                answer = connection.ask(FIND_COORDINATOR, 1, body)
            answer.get("i")
            code, _, node = answer.get("h"), answer.string(), answer.get("i")
            if code:
                raise KafkaError(code, f"coordinator of {key}")
            return node
        return self._retried(find, timeout, f"coordinator of {kind} {key}")

    def committed(self, group, topic, timeout=20):
        """{partition: committed offset, -1 if none} of a consumer group (OffsetFetch v3)."""
        def fetch():
            meta = self.metadata([topic])
            partitions = sorted(meta["topics"][topic])
            address = meta["brokers"][self.coordinator(group, "group")]
            body = Writer().string(group).put("i", 1).string(topic)
            body.array(partitions, lambda p: body.put("i", p))
            with Connection(*address) as connection:
                answer = connection.ask(OFFSET_FETCH, 3, body)
            answer.get("i"), answer.get("i"), answer.string()
            rows = answer.array(lambda: (answer.get("i"), answer.get("q"), answer.string(), answer.get("h")))
            code = answer.get("h") or max((row[3] for row in rows), default=0)
            if code:
                raise KafkaError(code, f"committed offsets of {group}")
            return {row[0]: row[1] for row in rows}
        return self._retried(fetch, timeout, f"committed offsets of group {group}")

    def assignor(self, group, timeout=20):
        """How the members of a consumer group share partitions, as "range" (DescribeGroups v1)."""
        def describe():
            address = self.metadata([])["brokers"][self.coordinator(group, "group")]
            with Connection(*address) as connection:
                answer = connection.ask(DESCRIBE_GROUPS, 1, Writer().put("i", 1).string(group))
            answer.get("i"), answer.get("i")
            code, _, _, _, name = answer.get("h"), answer.string(), answer.string(), answer.string(), answer.string()
            if code:
                raise KafkaError(code, f"group {group}")
            return name
        return self._retried(describe, timeout, f"assignor of group {group}")

    def _any_address(self):
        """The first broker that takes a connection."""
        for address in self.addresses:
            try:
                socket.create_connection(address, 2).close()
                return address
            except OSError:
                continue
        raise ConnectionError(f"no broker of {self.addresses} answers")

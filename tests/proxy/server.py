"""The fault proxy's process: TCP in front of PostgreSQL or Kafka brokers, made to misbehave on command.

Picture of one connection (each box a task, each arrow a bounded queue):

    client -> read_up   -> [items] -> write_up   -> server
    client <- write_down <- [items] <- read_down <- server

A reader cuts what it reads into items (for Kafka whole frames, because requests are counted and
matched) and applies the rules; a writer waits for an item's gate and due time, for the route to
flow, and sends. Delay is therefore latency, not throughput, and a held item holds what is behind
it on its own connection only, as a network would.

Commands come as JSON lines on standard input, answers go to standard output; the end of standard
input ends the process, so it cannot outlive the test.
"""
import asyncio
import collections
import json
import os
import socket
import struct
import sys
import time

READ_BYTES = 256 * 1024
QUEUE_ITEMS = 64
LOG_EVENTS = 200_000
MATCH_BYTES = 1024        # how far into a Kafka request `contains` looks
STRAGGLER_WAIT_S = 5.0    # how long the server's side stays open for the answer to a delivered straggler

EOF = object()


class Item:
    """Bytes on their way. gate: an Event to wait for; due: not before this loop time."""
    __slots__ = ("data", "gate", "due")

    def __init__(self, data, gate=None, due=0.0):
        self.data, self.gate, self.due = data, gate, due


class Rule:
    """What to do with the nth (and further, `times`) matching request; see client.py for the fields."""

    def __init__(self, number, spec):
        self.number = number
        self.action = spec["action"]
        self.api_key = spec.get("api_key")
        self.route = spec.get("route")
        self.client_prefix = spec.get("client_prefix")
        self.contains = bytes.fromhex(spec.get("contains") or "")
        self.nth = spec.get("nth", 1)
        self.times = spec.get("times", 1)
        self.ms = spec.get("ms")
        self.close_client = spec.get("close_client", False)
        self.seen = self.hits = 0
        self.gates = []

    def takes(self, route, api_key, client_id, data):
        """Counts a matching request, and says whether it is one to act on."""
        if self.route is not None and self.route != route.name:
            return False
        if self.api_key is not None and self.api_key != api_key:
            return False
        if self.client_prefix is not None and not (client_id or "").startswith(self.client_prefix):
            return False
        if self.contains and self.contains not in data:
            return False
        self.seen += 1
        if self.seen < self.nth or (self.times and self.hits >= self.times):
            return False
        self.hits += 1
        return True

    def gate(self):
        """A gate that opens by release(), or after ms."""
        event = asyncio.Event()
        self.gates.append(event)
        if self.ms is not None:
            asyncio.get_running_loop().call_later(self.ms / 1000, event.set)
        return event

    def release(self):
        """Opens all its gates; the number of those that were closed."""
        closed = [gate for gate in self.gates if not gate.is_set()]
        for gate in closed:
            gate.set()
        self.gates.clear()
        return len(closed)

    def holding(self):
        """How many requests or answers it holds now."""
        return sum(not gate.is_set() for gate in self.gates)


class Log:
    """The last events, and the counts of all requests by (route, ApiKey, client id)."""

    def __init__(self):
        self.events = collections.deque(maxlen=LOG_EVENTS)
        self.counts = collections.Counter()
        self.number = 0

    def add(self, kind, **facts):
        """Notes one event."""
        self.number += 1
        self.events.append({"n": self.number, "t": time.time(), "kind": kind, **facts})


class Route:
    """One listening port and what stands behind it, with the faults of the whole link."""

    def __init__(self, name, protocol, target, sock):
        self.name, self.protocol, self.target, self.sock = name, protocol, tuple(target), sock
        self.connections = set()
        self.flow = {"up": asyncio.Event(), "down": asyncio.Event()}
        self.delay_ms = self.slice_bytes = 0
        self.refusing = True
        self.heal()

    def heal(self):
        """No faults."""
        self.delay_ms = {"up": 0, "down": 0}
        self.slice_bytes = 0
        for event in self.flow.values():
            event.set()

    def refuse(self, on, accept):
        """Linux: shutdown() of a listening socket refuses connections and keeps the port ours."""
        loop = asyncio.get_running_loop()
        if on and not self.refusing:
            loop.remove_reader(self.sock)
            self.sock.shutdown(socket.SHUT_RDWR)
        elif not on and self.refusing:
            self.sock.listen(128)
            loop.add_reader(self.sock, accept, self)
        self.refusing = on


class Framer:
    """Cuts a stream into Kafka frames: int32 size, then that many bytes."""

    def __init__(self):
        self.buffer = bytearray()

    def frames(self, data):
        """The frames that are whole now, size included."""
        self.buffer += data
        found, at = [], 0
        while len(self.buffer) - at >= 4:
            (size,) = struct.unpack_from(">i", self.buffer, at)
            if len(self.buffer) - at < 4 + size:
                break
            found.append(bytes(self.buffer[at:at + 4 + size]))
            at += 4 + size
        del self.buffer[:at]
        return found


def request_header(frame):
    """(api_key, version, correlation_id, client_id) of a request frame."""
    key, version, correlation, length = struct.unpack_from(">hhih", frame, 4)
    client = frame[14:14 + length].decode("utf-8", "replace") if length > 0 else ""
    return key, version, correlation, client


class Connection:
    """One client connection with its partner to the server."""

    def __init__(self, proxy, route, client, number):
        self.proxy, self.route, self.client, self.number = proxy, route, client, number
        self.server = None
        self.queues = {"up": asyncio.Queue(QUEUE_ITEMS), "down": asyncio.Queue(QUEUE_ITEMS)}
        self.framers = {"up": Framer(), "down": Framer()}
        self.inflight = {}          # correlation id -> rule for the answer, or None
        self.armed = []             # PostgreSQL: rules for what the server sends next
        self.swallow = False        # PostgreSQL: drop all that the server sends
        self.straggler = False      # a held request may outlive the client
        self.client_gone = False
        self.last_client = ""
        self.task = self.reader = None

    async def run(self):
        """Until both directions have ended, or reset() cancels it."""
        loop = asyncio.get_running_loop()
        tasks = []
        try:
            self.server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            self.server.setblocking(False)
            self.server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_connect(self.server, self.route.target)
            self.reader = asyncio.create_task(self.read("up", self.client))
            tasks = [self.reader, asyncio.create_task(self.read("down", self.server)),
                     asyncio.create_task(self.write("up")), asyncio.create_task(self.write("down"))]
            await asyncio.gather(*tasks)
        except (OSError, asyncio.CancelledError):
            self.linger_zero(self.client, self.server)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for sock in (self.client, self.server):
                sock.close()
            self.route.connections.discard(self)
            self.proxy.log.add("close", route=self.route.name, conn=self.number)

    @staticmethod
    def linger_zero(*socks):
        """close() then sends RST instead of FIN."""
        for sock in socks:
            if sock is not None and sock.fileno() >= 0:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def reset(self):
        """Both sides see a reset."""
        self.task.cancel()

    async def drop_client(self):
        """Resets the client's side only; what is queued for the server still goes there."""
        self.client_gone = True
        self.reader.cancel()
        while not self.reader.done():
            await asyncio.sleep(0)
        self.linger_zero(self.client)
        self.client.close()

    async def read(self, way, source):
        """One direction's reader: bytes to items."""
        loop, queue = asyncio.get_running_loop(), self.queues[way]
        cut = self.cutter(way)
        try:
            while data := await loop.sock_recv(source, READ_BYTES):
                due = loop.time() + self.route.delay_ms[way] / 1000 if self.route.delay_ms[way] else 0.0
                for item in cut(data, due):
                    await queue.put(item)
        except ConnectionError:
            if way == "down" and not self.client_gone:
                raise
        except asyncio.CancelledError:
            if not (way == "up" and self.client_gone):
                raise
            asyncio.create_task(queue.put(EOF))
            return
        await queue.put(EOF)

    def cutter(self, way):
        """The function that turns bytes into items, by protocol and direction."""
        kafka = {"up": self.kafka_requests, "down": self.kafka_answers}
        plain = {"up": self.plain_up, "down": self.plain_down}
        return (kafka if self.route.protocol == "kafka" else plain)[way]

    def kafka_requests(self, data, due):
        """Counts each request and applies the first rule that takes it; the rest goes on together."""
        items, together = [], []
        for frame in self.framers["up"].frames(data):
            key, version, correlation, client = request_header(frame)
            self.last_client = client
            self.proxy.log.counts[self.route.name, key, client] += 1
            rule = self.proxy.rule_for(self.route, key, client, frame[:MATCH_BYTES])
            self.proxy.log.add("request", route=self.route.name, conn=self.number, api_key=key, version=version,
                               correlation=correlation, client=client, bytes=len(frame),
                               rule=rule.number if rule else None)
            if rule is None:
                self.inflight[correlation] = None
                together.append(frame)
                continue
            if together:
                items.append(Item(b"".join(together), due=due))
                together = []
            item = self.acted(rule, frame, due)
            if item is not None:
                self.inflight[correlation] = rule if rule.action.endswith("_response") else None
                items.append(item)
        if together:
            items.append(Item(b"".join(together), due=due))
        return items

    def acted(self, rule, data, due):
        """What goes to the server when a rule takes a request: an item, or None for nothing."""
        if rule.action == "cut":
            self.reset()
            return None
        if rule.action == "drop":
            return None
        if rule.action == "hold":
            self.straggler = True
            if rule.close_client:
                asyncio.create_task(self.drop_client())
            return Item(data, rule.gate(), due)
        return Item(data, due=due)

    def kafka_answers(self, data, due):
        """Finds each answer's request by its correlation id and applies that request's rule."""
        items, together = [], []
        for frame in self.framers["down"].frames(data):
            (correlation,) = struct.unpack_from(">i", frame, 4)
            rule = self.inflight.pop(correlation, None)
            if rule is None:
                together.append(frame)
                continue
            self.proxy.log.add("answer", route=self.route.name, conn=self.number, correlation=correlation,
                               rule=rule.number)
            if together:
                items.append(Item(b"".join(together), due=due))
                together = []
            if rule.action == "cut_response":
                self.reset()
            elif rule.action == "hold_response":
                items.append(Item(frame, rule.gate(), due))
        if together:
            items.append(Item(b"".join(together), due=due))
        return items

    def plain_up(self, data, due):
        """PostgreSQL and others: a rule takes what was read at once, if it contains its bytes."""
        rule = self.proxy.rule_for(self.route, None, None, data, contains_only=True)
        if rule is None:
            return [Item(data, due=due)]
        self.proxy.log.add("request", route=self.route.name, conn=self.number, bytes=len(data), rule=rule.number)
        if rule.action.endswith("_response"):
            self.armed.append(rule)
        item = self.acted(rule, data, due)
        return [item] if item is not None else []

    def plain_down(self, data, due):
        """Applies the rules armed by the client's last message to what the server sends next."""
        if self.swallow:
            return []
        if not self.armed:
            return [Item(data, due=due)]
        rule = self.armed.pop(0)
        self.proxy.log.add("answer", route=self.route.name, conn=self.number, rule=rule.number)
        if rule.action == "cut_response":
            self.reset()
            return []
        if rule.action == "drop_response":
            self.swallow = True
            return []
        return [Item(data, rule.gate(), due)]

    async def write(self, way):
        """One direction's writer: items to bytes."""
        loop, queue, flow = asyncio.get_running_loop(), self.queues[way], self.route.flow[way]
        while (item := await queue.get()) is not EOF:
            if item.gate is not None:
                await item.gate.wait()
            if item.due > loop.time():
                await asyncio.sleep(item.due - loop.time())
            await flow.wait()
            if way == "up":
                await self.send(loop, self.server, item.data, flow)
            elif not self.client_gone:
                try:
                    await self.send(loop, self.client, item.data, flow)
                except OSError:
                    self.client_gone = True
        await flow.wait()
        await self.end(way)

    async def send(self, loop, sock, data, flow):
        """In one piece, or sliced; a freeze is felt between slices."""
        size = self.route.slice_bytes
        if not size:
            await loop.sock_sendall(sock, data)
            return
        for at in range(0, len(data), size):
            await flow.wait()
            await loop.sock_sendall(sock, data[at:at + size])
            await asyncio.sleep(0)

    async def end(self, way):
        """Passes the end of a stream on. A straggler's server side first waits for its answer."""
        if way == "up" and self.straggler:
            deadline = time.monotonic() + STRAGGLER_WAIT_S
            while self.inflight and time.monotonic() < deadline:
                await asyncio.sleep(0.01)
        target = self.server if way == "up" else self.client
        if target.fileno() >= 0:
            try:
                target.shutdown(socket.SHUT_WR)
            except OSError:
                pass


class Proxy:
    """All routes, the rules, and the commands."""

    def __init__(self):
        self.routes, self.rules, self.log = {}, {}, Log()
        self.connection_number = self.rule_number = 0

    def rule_for(self, route, api_key, client, data, contains_only=False):
        """The first rule, by age, that takes this request."""
        for rule in self.rules.values():
            if contains_only and not rule.contains:
                continue
            if rule.takes(route, api_key, client, data):
                return rule
        return None

    def accept(self, route):
        """One new client."""
        try:
            client, _ = route.sock.accept()
        except OSError:
            return
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection_number += 1
        connection = Connection(self, route, client, self.connection_number)
        route.connections.add(connection)
        self.log.add("connect", route=route.name, conn=connection.number)
        connection.task = asyncio.create_task(connection.run())

    def chosen(self, name):
        """One route, or all."""
        return list(self.routes.values()) if name is None else [self.routes[name]]

    # Commands; each returns a value for JSON.

    def do_route(self, name, protocol, target, fd):
        """A new route on a bound socket inherited from the test."""
        sock = socket.socket(fileno=fd)
        sock.setblocking(False)
        self.routes[name] = Route(name, protocol, target, sock)
        self.routes[name].refuse(False, self.accept)
        return sock.getsockname()[1]

    def do_target(self, name, target):
        """New connections go elsewhere."""
        self.routes[name].target = tuple(target)

    def do_delay(self, ms, direction="both", route=None):
        """Latency."""
        for one in self.chosen(route):
            for way in one.delay_ms:
                if direction in ("both", way):
                    one.delay_ms[way] = ms

    def do_slice(self, size, route=None):
        """Small writes."""
        for one in self.chosen(route):
            one.slice_bytes = size

    def do_freeze(self, on, direction="both", route=None):
        """Nothing passes; connections stay open."""
        for one in self.chosen(route):
            for way, event in one.flow.items():
                if direction in ("both", way):
                    event.clear() if on else event.set()

    def do_cut(self, route=None, client_prefix=None):
        """Resets connections; how many."""
        victims = [c for one in self.chosen(route) for c in one.connections
                   if client_prefix is None or c.last_client.startswith(client_prefix)]
        for connection in victims:
            connection.reset()
        return len(victims)

    def do_refuse(self, on, route=None):
        """New connections are refused."""
        for one in self.chosen(route):
            one.refuse(on, self.accept)

    def do_heal(self):
        """All faults away: rules, gates, freezes, delays, refusals."""
        for rule in self.rules.values():
            rule.release()
        self.rules.clear()
        for one in self.routes.values():
            one.heal()
            one.refuse(False, self.accept)

    def do_rule(self, **spec):
        """A new rule; its number."""
        self.rule_number += 1
        self.rules[self.rule_number] = Rule(self.rule_number, spec)
        return self.rule_number

    def do_release(self, rule):
        """Lets what it holds go on; it may hold again if its `times` allow."""
        return self.rules[rule].release()

    def do_remove(self, rule):
        """Lets what it holds go on, and forgets it."""
        found = self.rules.pop(rule, None)
        return found.release() if found else 0

    def do_state(self, rule):
        """A rule's counters."""
        found = self.rules[rule]
        return {"seen": found.seen, "hits": found.hits, "holding": found.holding()}

    def do_connections(self, route=None):
        """Open connections."""
        return sum(len(one.connections) for one in self.chosen(route))

    def do_count(self, api_key=None, client_prefix="", route=None):
        """Requests seen since the start."""
        return sum(n for (name, key, client), n in self.log.counts.items()
                   if (api_key is None or key == api_key) and client.startswith(client_prefix)
                   and (route is None or name == route))

    def do_events(self, since=0, kind=None, api_key=None):
        """The noted events after number `since`."""
        return [event for event in self.log.events if event["n"] > since
                and (kind is None or event["kind"] == kind)
                and (api_key is None or event.get("api_key") == api_key)]

    def carry_out(self, line):
        """One command line to one answer line."""
        command = json.loads(line)
        try:
            value = getattr(self, "do_" + command["do"])(**command["args"])
            return {"id": command["id"], "value": value}
        except Exception as error:  # pylint: disable=broad-except
            return {"id": command["id"], "error": repr(error)}

    async def serve(self):
        """Carries out commands until standard input ends."""
        reader = asyncio.StreamReader(limit=1 << 22)
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            answer = json.dumps(self.carry_out(line)).encode() + b"\n"
            await loop.run_in_executor(None, write_all, answer)


def write_all(data):
    """To standard output, off the loop: a long answer must not stop the traffic."""
    while data:
        data = data[os.write(1, data):]


async def main():
    await Proxy().serve()


if __name__ == "__main__":
    asyncio.run(main())
    os._exit(0)

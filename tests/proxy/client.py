"""The test's side of the fault proxy.

    proxy = kafka.proxy
    held = proxy.hold(api_key=END_TXN, client_prefix="orders", nth=2)
    held.wait_hit(10)                 # the second EndTxn from now on has come and waits in the proxy
    held.release()                    # and now goes to the broker

nth counts from the making of the rule; times is how many to act on from there on (0: all).
contains: bytes in the first 1024 of a Kafka request (a transactional id stands there), or in what
a PostgreSQL client sent at once (b"COMMIT").
"""
import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

from servers.ports import HOST, reserve
from servers.process import Child, wait_until

PRODUCE, FETCH, LIST_OFFSETS, METADATA, OFFSET_COMMIT, OFFSET_FETCH = 0, 1, 2, 3, 8, 9
FIND_COORDINATOR, JOIN_GROUP, HEARTBEAT, LEAVE_GROUP, SYNC_GROUP = 10, 11, 12, 13, 14
API_VERSIONS, INIT_PRODUCER_ID, ADD_PARTITIONS_TO_TXN, ADD_OFFSETS_TO_TXN = 18, 22, 24, 25
END_TXN, TXN_OFFSET_COMMIT = 26, 28


class Route:
    """One server behind the proxy: name, protocol ("kafka", or "postgres" for any other TCP),
    target (host, port), and optionally a bound socket to listen on (else a free port is taken).
    """

    def __init__(self, name, protocol, target, sock=None):
        self.name, self.protocol, self.target, self.sock = name, protocol, target, sock or reserve()
        self.port = self.sock.getsockname()[1]


class Rule:
    """A rule in the proxy."""

    def __init__(self, proxy, number):
        self._proxy, self.number = proxy, number

    @property
    def state(self):
        """{"seen": matching requests, "hits": acted on, "holding": held now}."""
        return self._proxy.ask("state", rule=self.number)

    @property
    def hits(self):
        """How often it has acted."""
        return self.state["hits"]

    def wait_hit(self, timeout=20, hits=1):
        """Until it has acted so often."""
        wait_until(lambda: self.hits >= hits, timeout, f"request for proxy rule {self.number}")
        return self

    def wait_holding(self, timeout=20, count=1):
        """Until it holds something (for hold_response: until the server has answered)."""
        wait_until(lambda: self.state["holding"] >= count, timeout, f"something held by proxy rule {self.number}")
        return self

    def release(self):
        """What it holds goes on; returns how many that were."""
        return self._proxy.ask("release", rule=self.number)

    def remove(self):
        """What it holds goes on, and the rule is gone."""
        return self._proxy.ask("remove", rule=self.number)


class Proxy:
    """The proxy process. All calls may come from any thread; route None means every route."""

    def __init__(self, routes, log):
        self.routes = {route.name: route for route in routes}
        self._lock = threading.Lock()
        self._id = 0
        fds = [route.sock.fileno() for route in routes]
        self._child = Child([sys.executable, Path(__file__).with_name("server.py")], log, signal.SIGKILL,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=fds)
        for route in routes:
            self.ask("route", name=route.name, protocol=route.protocol, target=route.target,
                     fd=route.sock.fileno())
            route.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def ask(self, do, **args):
        """One command."""
        with self._lock:
            self._id += 1
            line = json.dumps({"id": self._id, "do": do, "args": args}) + "\n"
            self._child.stdin.write(line.encode())
            self._child.stdin.flush()
            answer = self._child.stdout.readline()
        if not answer:
            raise RuntimeError(f"the proxy has ended:\n{self._child.log_tail()}")
        answer = json.loads(answer)
        if "error" in answer:
            raise RuntimeError(f"proxy: {do}: {answer['error']}")
        return answer["value"]

    def close(self):
        """Ends it; all its connections are gone."""
        if self._child.alive:
            self._child.kill()
        self._child.stdin.close()
        self._child.stdout.close()

    def port(self, route):
        """The port that clients connect to."""
        return self.routes[route].port

    def address(self, route):
        """host:port that clients connect to."""
        return f"{HOST}:{self.port(route)}"

    def retarget(self, route, host, port):
        """New connections go to another server (a promoted standby)."""
        self.ask("target", name=route, target=[host, port])

    # The whole link.

    def heal(self):
        """Takes away every fault and rule; what was held goes on."""
        self.ask("heal")

    def delay(self, ms, direction="both", route=None):
        """Latency; direction "up" is client to server, "down" server to client."""
        self.ask("delay", ms=ms, direction=direction, route=route)

    def slice(self, size, route=None):
        """Sends at most so many bytes at once (0: as they come)."""
        self.ask("slice", size=size, route=route)

    def freeze(self, direction="both", route=None):
        """Connections are accepted and stay open, but nothing passes."""
        self.ask("freeze", on=True, direction=direction, route=route)

    def thaw(self, direction="both", route=None):
        """Ends a freeze; what waited goes on."""
        self.ask("freeze", on=False, direction=direction, route=route)

    def cut(self, route=None, client_prefix=None):
        """Resets all connections (or those of a Kafka client id) now; returns how many."""
        return self.ask("cut", route=route, client_prefix=client_prefix)

    def refuse(self, on=True, route=None):
        """New connections are refused (ECONNREFUSED); open ones go on."""
        self.ask("refuse", on=on, route=route)

    # Single requests and answers.

    def rule(self, action, api_key=None, contains=None, client_prefix=None, nth=1, times=1, ms=None,
             close_client=False, route=None):
        """A rule by its action: hold, drop, cut, hold_response, drop_response, cut_response."""
        return Rule(self, self.ask("rule", action=action, api_key=api_key, contains=(contains or b"").hex(),
                                   client_prefix=client_prefix, nth=nth, times=times, ms=ms,
                                   close_client=close_client, route=route))

    def hold(self, **match):
        """Keeps the request until release(), or for ms. It reaches the server also when the client has
        given up by then; close_client=True makes it give up at once (a delayed straggler)."""
        return self.rule("hold", **match)

    def drop(self, **match):
        """The request never reaches the server; the connection stays open."""
        return self.rule("drop", **match)

    def cut_at(self, **match):
        """Both sides are reset instead of delivering the request."""
        return self.rule("cut", **match)

    def hold_response(self, **match):
        """The server gets the request; its answer waits until release(), or for ms."""
        return self.rule("hold_response", **match)

    def drop_response(self, **match):
        """The server gets the request; its answer is lost (PostgreSQL: all from then on)."""
        return self.rule("drop_response", **match)

    def cut_response(self, **match):
        """The server gets the request; instead of its answer the client sees a reset."""
        return self.rule("cut_response", **match)

    # What was seen.

    def count(self, api_key=None, client_prefix="", route=None):
        """Kafka requests seen since the start."""
        return self.ask("count", api_key=api_key, client_prefix=client_prefix, route=route)

    def events(self, since=0, kind=None, api_key=None):
        """Events as dicts: n, t, kind (connect, request, answer, close), route, conn, api_key, ..."""
        return self.ask("events", since=since, kind=kind, api_key=api_key)

    def connections(self, route=None):
        """Open connections."""
        return self.ask("connections", route=route)

"""The relay's instances: started, frozen, killed and counted; all are one relay by its name."""
import json
import os
import shutil
from pathlib import Path

from servers.paths import BUILD
from servers.process import Child


def binary():
    """TEST_BOXRELAY, else the release build, else the debug one."""
    named = os.environ.get("TEST_BOXRELAY")
    found = [Path(named)] if named else [BUILD / kind / "boxrelay" for kind in ("release", "debug")]
    for path in found:
        if path.exists():
            return path
    raise RuntimeError(f"no boxrelay at {' or '.join(map(str, found))}; build it first")


class Instance:
    """One process."""

    def __init__(self, argv, log, static):
        self.static, self.frozen, self.expected = static, False, False
        self.child = Child(argv, log)

    def kill(self):
        """SIGKILL."""
        self.expected = True
        self.child.kill()

    def stop(self):
        """SIGTERM: 10 s of grace, and some more on a busy machine."""
        self.expected = True
        self.child.stop(40)

    def pause(self):
        """SIGSTOP."""
        self.frozen = True
        self.child.pause()

    def resume(self):
        """SIGCONT."""
        self.frozen = False
        self.child.resume()


class Fleet:
    """All instances that ever ran."""

    def __init__(self, folder, name, dsn, bootstrap, streams):
        self.folder = Path(folder)
        self.program = shutil.copy(binary(), self.folder / "boxrelay")  # a build meanwhile must not swap it
        self.instances = []
        self.config = {"name": name, "postgres": dsn, "http": {"listen": "off"}, "log": {"format": "json"},
                       "kafka": {"bootstrap.servers": bootstrap, "socket.timeout.ms": 5000}, **streams}

    def _config(self, static):
        path = self.folder / ("static.json" if static else "dynamic.json")
        config = {**self.config, "instance_id": "a"} if static else self.config
        path.write_text(json.dumps(config))
        return path

    def command(self, *words):
        """A command's argv."""
        return [self.program, *words, "--config", self._config(False)]

    def start(self, static=False):
        """One more instance. Two with one instance_id would fence each other for ever: one at a time."""
        static = static and not any(one.static for one in self.alive())
        log = self.folder / f"relay-{len(self.instances)}.log"
        made = Instance([self.program, "run", "--config", self._config(static)], log, static)
        self.instances.append(made)
        return made

    def alive(self):
        """Those that run; there is always one, as an orchestrator would see to it."""
        found = [one for one in self.instances if one.child.alive]
        return found or [self.start()]

    def keep(self, count, random):
        """Ends all but some, by either signal."""
        alive = self.alive()
        for one in random.sample(alive, max(0, len(alive) - count)):
            if random.random() < 0.6:
                one.kill()
            else:
                one.stop()

    def failed(self):
        """Exits that nobody asked for: [(log, status)]."""
        return [(str(one.child.log), one.child.returncode) for one in self.instances
                if not one.expected and not one.child.alive]

    def close(self):
        """Ends all."""
        for one in self.instances:
            if one.child.alive:
                one.kill()

"""What the tests of docs/writing.md and docs/reading.md share: the programs' set-up, and a service with its database."""
import hashlib
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from live.relay import Relay
from page import EXAMPLES, SOURCES, WRITING
from schema import GRANTS, Schema
from servers.cache import build_once
from servers.paths import cache_dir


def environment():
    """Every client keeps what it downloads and compiles below the cache."""
    cache = cache_dir()
    return {**os.environ, "PIP_CACHE_DIR": str(cache / "pip"), "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_COMPILE": "1",
            "npm_config_cache": str(cache / "npm"), "npm_config_update_notifier": "false",
            "MAVEN_OPTS": f"-Dmaven.repo.local={cache / 'maven'}", "GOMODCACHE": str(cache / "go-modules"),
            "GOCACHE": str(cache / "go-build"), "GOFLAGS": "-modcacherw -buildvcs=false", "CGO_ENABLED": "0",
            "JAVA_TOOL_OPTIONS": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"}


def shell(lines, folder, env, timeout=500):
    """Runs lines as a person would type them, up to the first that fails; what they print."""
    done = subprocess.run(["bash", "-euc", lines], cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=timeout, check=False)
    assert done.returncode == 0, f"{lines}\n{done.stdout}{done.stderr}"
    return done.stdout


def prepare(language):
    """The folder with what a language's set-up makes: dependencies, made once."""
    folder = EXAMPLES / language
    lines = "".join(lines for _, lines in WRITING.commands("set up", language))
    files = [path for path in sorted(folder.iterdir()) if path.suffix not in SOURCES and path.is_file()]
    digest = hashlib.sha256(b"\0".join([lines.encode(), *(path.read_bytes() for path in files)])).hexdigest()[:12]

    def make(target):
        for path in files:
            shutil.copy(path, target)
        shell(lines, target, environment())
    made = build_once(f"examples-{language}-{digest}", make)
    if language == "go":  # compiled while other programs run
        shell("go build -o /dev/null ./...", folder, environment())
    return made


def own_folder(language, made, target):
    """The example's files, with what its set-up made."""
    shutil.copytree(EXAMPLES / language, target)
    for path in made.iterdir():
        if not (target / path.name).exists():
            (target / path.name).symlink_to(path)
    return target


@pytest.fixture(scope="module")
def prepared():
    """prepared(language): its folder. All of them are made in the background from the first use on."""
    with ThreadPoolExecutor(2) as pool:
        begun = {}

        def get(language):
            for name in ("go", *dict.fromkeys(name for name, _ in WRITING.commands("run"))):
                if name not in begun:
                    begun[name] = pool.submit(prepare, name)
            return begun[language].result()
        yield get


class Service:
    """The service's database: migrations, grants, tables and a restricted login; and a relay that is not started."""

    def __init__(self, postgres, kafka, folder, login, config):
        self.login, self.kafka = login, kafka
        self.schema = Schema(postgres, postgres.create_database())
        self.relay = Relay(postgres.dsn(self.schema.name), kafka.bootstrap, folder, config=config).migrate()
        self.schema.psql(GRANTS)

    def make(self, blocks):
        """Runs the SQL that an administrator runs once."""
        for block in blocks:
            self.schema.run(block)

    def environment(self):
        """What the pages say the programs read."""
        server = self.schema.server
        where = {"PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PGDATABASE": self.schema.name, "PGUSER": self.login}
        return {**environment(), **where, "JDBC_URL": f"jdbc:postgresql://127.0.0.1:{server.port}/{self.schema.name}"}

    def close(self):
        """Drops database and login."""
        self.relay.kill()
        self.schema.run(f"DROP OWNED BY {self.login}")
        self.schema.close()
        self.schema.server.query(f"DROP ROLE {self.login}")

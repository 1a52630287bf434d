"""Prometheus' own checker, from Debian's package prometheus, which is not installed: that would start its daemon."""
import shutil
import subprocess

from .cache import build_once


def _unpack(folder):
    """The one file of the package that is wanted."""
    subprocess.run(["apt-get", "-q", "download", "prometheus"], cwd=folder, check=True, capture_output=True)
    subprocess.run("dpkg-deb --fsys-tarfile prometheus_*.deb | tar -x --strip-components=3 ./usr/bin/promtool && "
                   "rm prometheus_*.deb", shell=True, cwd=folder, check=True)


def promtool():
    """Its path; downloaded once, where the machine has none."""
    return shutil.which("promtool") or str(build_once("promtool", _unpack) / "promtool")

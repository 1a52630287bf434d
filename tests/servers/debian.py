#!/usr/bin/python3
"""A Debian of its own in a folder, made by debootstrap, and this checkout in it: no container engine is needed.

    tests/servers/debian.py trixie tests/install.sh
    tests/servers/debian.py trixie docker/playground.sh --once

The packages come from where this machine's apt has its own. A command runs there in namespaces of its own for mounts
and processes: when it ends, however it ends, nothing stays mounted and nothing runs. The network is the machine's.
Needs root.
"""
import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from servers.cache import build_once, locked  # noqa: E402
from servers.paths import REPO, cache_dir, new_dir  # noqa: E402
from servers.process import Child  # noqa: E402

CHECKOUT = "checkout"
CERTIFICATES = "usr/local/share/ca-certificates"
DEBOOTSTRAP_SECONDS_MAX = 1800

# Runs as the first process of its namespaces: mounts are seen by nobody else, and its end is everybody's.
ENTER = """
mount -t proc proc "$1/proc" && mount --rbind /dev "$1/dev" || exit 125
tree=$1 && shift
chroot "$tree" /usr/bin/env -i "$@"
exit $?
"""
NAMESPACES = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]


def _proxies():
    """What the environment says about proxies, for apt and debootstrap."""
    names = ("http_proxy", "https_proxy", "no_proxy")
    return {name: value for name, value in os.environ.items() if name.lower() in names}


def mirror():
    """The archive that this machine's apt has its own release from."""
    release = re.search(r"^VERSION_CODENAME=(\w+)", Path("/etc/os-release").read_text(), re.M)[1]
    targets = subprocess.run(["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE) $(COMPONENT)",
                              "Identifier: Packages"], capture_output=True, text=True, check=True).stdout
    for line in targets.splitlines():
        if line.split()[1:] == [release, "main"]:
            return line.split()[0]
    raise RuntimeError(f"apt's sources name no archive of {release}, so there is nothing to make another Debian from")


def _debootstrap(suite, folder):
    """The smallest system of that release."""
    if os.getuid() != 0:
        raise RuntimeError("a Debian in a folder needs root (debootstrap and chroot do): run the full tier as root")
    if not shutil.which("debootstrap"):
        raise RuntimeError("no debootstrap; run tests/install.sh full")
    log = cache_dir() / f"debootstrap-{suite}.log"
    argv = [*NAMESPACES, "debootstrap", "--variant=minbase", suite, folder, mirror()]
    code = Child(argv, log, env={**os.environ, "LC_ALL": "C"}).wait(DEBOOTSTRAP_SECONDS_MAX)
    if code != 0:
        raise RuntimeError(f"debootstrap of {suite} failed with {code}, see {log}:\n{log.read_text()[-3000:]}")
    log.unlink()


def base(suite):
    """The folder of that release as debootstrap leaves it; nothing is ever installed in it."""
    return build_once(f"debian-{suite}-base", lambda folder: _debootstrap(suite, folder))


class Debian:
    """A system to install and run in. `keep`: kept for later runs, for one of them at a time; else fresh."""

    def __init__(self, suite, keep):
        self.name = f"debian-{suite}"
        self.suite, self.keep = suite, keep
        self.root = cache_dir() / self.name if keep else new_dir(self.name) / "root"
        self._end = contextlib.ExitStack()

    def __enter__(self):
        with self._end as end:
            if self.keep:
                end.enter_context(locked(self.name))
            else:
                end.callback(shutil.rmtree, self.root, ignore_errors=True)
            if not self.root.exists():
                self._copy_base(base(self.suite))
            self._lay_host_files()
            self._lay_checkout()
            self._end = end.pop_all()
        return self

    def __exit__(self, *_):
        self._end.close()

    def _copy_base(self, folder):
        """Under another name first, so that a copy that was cut short is not taken for a system."""
        half = Path(tempfile.mkdtemp(prefix=f".{self.name}.", dir=self.root.parent))
        subprocess.run(["cp", "-a", "--reflink=auto", f"{folder}/.", half], check=True)
        half.chmod(0o755)
        half.rename(self.root)

    def _lay_host_files(self):
        """How names are found, and the certificates that this machine trusts beyond Debian's."""
        for name in ("resolv.conf", "hosts"):
            shutil.copy(f"/etc/{name}", self.root / "etc" / name)
        for path in Path("/", CERTIFICATES).glob("*.crt"):
            (self.root / CERTIFICATES).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, self.root / CERTIFICATES)

    def _lay_checkout(self):
        """The files that git would know, as a clone has them; what was built there before stays."""
        target = self.root / CHECKOUT
        target.mkdir(exist_ok=True)
        for path in target.iterdir():
            if path.name != "build":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        with subprocess.Popen(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=REPO,
                              stdout=subprocess.PIPE) as listing, \
                subprocess.Popen(["tar", "-c", "--null", "--files-from=-", "--ignore-failed-read"], cwd=REPO,
                                 stdin=listing.stdout, stdout=subprocess.PIPE) as pack:
            subprocess.run(["tar", "-x", "-C", target, "--no-same-owner"], stdin=pack.stdout, check=True)
            if pack.wait() != 0 or listing.wait() != 0:
                raise RuntimeError(f"the files of {REPO} could not be copied")

    def command(self, argv):
        """The command as this machine has to start it, to run in the checkout there."""
        settings = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root",
                    "LANG": "C.UTF-8", **_proxies()}
        inside = ["sh", "-c", f'cd /{CHECKOUT} && exec "$@"', "sh", *argv]
        return [*NAMESPACES, "sh", "-c", ENTER, "sh", self.root, *(f"{k}={v}" for k, v in settings.items()), *inside]

    def run(self, *argv, seconds=600):
        """Runs it; what it printed. Raises with the end of that if it fails or takes too long."""
        log = new_dir(f"{self.name}-{Path(argv[0]).name}") / "output.log"
        child = Child(self.command(argv), log)
        try:
            code = child.wait(seconds)
        finally:
            if child.alive:
                child.kill()
        if code != 0:
            raise RuntimeError(f"{' '.join(argv)} in {self.name} ended with {code}, end of what it said:\n"
                               f"{child.log_tail(60)}")
        return log.read_text(errors="replace")


def main():
    if len(sys.argv) < 3:
        print(__doc__, file=sys.stderr)
        return 2
    with Debian(sys.argv[1], keep=True) as debian:
        return subprocess.run([str(word) for word in debian.command(sys.argv[2:])], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

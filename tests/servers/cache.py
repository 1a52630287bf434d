"""Things made once and used by every later run, safe when two runs start at the same time."""
import contextlib
import fcntl
import os
import shutil
import tempfile

from .paths import cache_dir


@contextlib.contextmanager
def locked(name):
    """Holds the named lock between processes; the kernel gives it back if we die."""
    fd = os.open(cache_dir() / f".{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def build_once(name, build):
    """The cached folder `name`; if it is not there, build(folder) fills one, which is then renamed.

    The rename is last, so a run that was killed half-way leaves no half-made folder of that name.
    """
    target = cache_dir() / name
    if target.exists():
        return target
    with locked(name):
        if not target.exists():
            folder = tempfile.mkdtemp(prefix=f".{name}.", dir=cache_dir())
            try:
                os.chmod(folder, 0o755)
                build(folder)
                os.rename(folder, target)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
    return target

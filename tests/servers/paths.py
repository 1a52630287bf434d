"""Where things lie: everything the tests make is below the build folder.

TEST_CACHE_DIR: downloads and prepared folders that later runs use again (default build/cache).
TEST_DIR: running servers' folders (default build/test); each process has its own
folder in it, which is gone afterwards unless TEST_KEEP is set.
"""
import os
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
BUILD = REPO / "build"


def cache_dir():
    """The folder of things made once."""
    path = Path(os.environ.get("TEST_CACHE_DIR") or BUILD / "cache").resolve()
    path.mkdir(parents=True, exist_ok=True)
    return path


def run_dir():
    """This process's own folder; the keeper removes it when the process ends."""
    from . import process
    base = Path(os.environ.get("TEST_DIR") or BUILD / "test").resolve()
    path = base / str(os.getpid())
    base.mkdir(parents=True, exist_ok=True)
    try:
        path.mkdir()
    except FileExistsError:  # made before, perhaps just now by another thread of ours
        return path
    process.remove_at_end(path)
    return path


def new_dir(name):
    """A folder of its own for one server, numbered, below run_dir()."""
    base = run_dir()
    for number in range(1, 10_000):
        path = base / f"{name}-{number}"
        try:
            path.mkdir()
            return path
        except FileExistsError:
            continue
    raise RuntimeError(f"too many folders named {name} in {base}")

"""Where the rig keeps what it makes: a cache that outlives clusters, and an area of running ones.

The area is one short path, because unix sockets below it may have 107 bytes at most.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from e2e.cluster.errors import RigError

#: The checkout that this rig belongs to.
REPOSITORY = Path(__file__).resolve().parents[2]


def cache() -> Path:
    """The cache folder: `VFOLDER_CACHE`, or `vfolder` in the user's cache folder."""
    if chosen := os.environ.get("VFOLDER_CACHE"):
        return Path(chosen).resolve()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return (Path(base) / "vfolder").resolve()


def bin_dir() -> Path:
    """Where the compiled programs are."""
    return cache() / "bin"


def images_dir() -> Path:
    """Where image archives are."""
    return cache() / "images"


@contextlib.contextmanager
def building(what: str) -> Iterator[Path]:
    """Lock one part of the cache, so that two builds at once do the work once.

    Yields:
        An empty folder to work in; what a killed build left in it is gone.
    """
    cache().mkdir(parents=True, exist_ok=True)
    work = cache() / f".{what}.work"
    with (cache() / f".{what}.lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        try:
            yield work
        finally:
            shutil.rmtree(work)


def state_area() -> Path:
    """The folder of everything that runs: `VFOLDER_STATE`, or one per user in the temporary folder.

    Raises:
        RigError: the folder belongs to somebody else.
    """
    chosen = os.environ.get("VFOLDER_STATE")
    area = Path(chosen) if chosen else Path(tempfile.gettempdir()) / f"vfolder-{os.getuid()}"
    # Others may pass (containers in user namespaces walk through here) but not look or write.
    area.mkdir(mode=0o711, parents=True, exist_ok=True)
    if area.stat().st_uid != os.getuid():
        raise RigError(f"{area} belongs to another user; set VFOLDER_STATE to a folder of yours")
    return area.resolve()


def program_path() -> str:
    """`PATH` with the compiled programs first and the administrator's folders last."""
    return f"{bin_dir()}:{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"

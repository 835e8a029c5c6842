"""One migration at a time: a lock on the control directory, and a note of the journal that is open.

The lock ends with its process; the note stays until the run it names is finished or taken back.
"""

import asyncio
import errno
import fcntl
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from vfolder_backends.adoption.failures import Busy, JournalError
from vfolder_backends.adoption.pacing import Pace
from vfolder_backends.layout import CONTROL_DIR
from vfolder_backends.openat import directory
from vfolder_backends.tree import files

MIGRATE_DIR: Final = f"{CONTROL_DIR}/migrate"
_OPEN: Final = "open"
_AGAIN_SECONDS: Final = 0.1


@asynccontextmanager
async def locked(pace: Pace, root: int, seconds: float) -> AsyncIterator[None]:
    """Hold the root's migration lock for the length of an `async with` block.

    Raises:
        Busy: another run held it all the time.
    """
    end = time.monotonic() + seconds
    fd = await pace.run(_open_folder, root)
    try:
        while not await pace.run(_try_lock, fd):
            if time.monotonic() >= end:
                raise Busy(f"another vfolder-adm works on this root; waited {seconds:g} s for it")
            await asyncio.sleep(_AGAIN_SECONDS)
        yield
    finally:
        os.close(fd)


def _open_folder(root: int) -> int:
    with files.made_directory(root, MIGRATE_DIR) as folder:
        return os.dup(folder)


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


def open_journal(root: int) -> str | None:
    """Return the journal that is noted as open: absolute, or relative to the root."""
    data = files.read_small(root, f"{MIGRATE_DIR}/{_OPEN}")
    if data is None:
        return None
    try:
        return str(json.loads(data)["journal"])
    except (ValueError, KeyError, TypeError) as error:
        raise JournalError(f"{MIGRATE_DIR}/{_OPEN} is damaged: {error!r}") from error


def note_open(root: int, journal: str) -> None:
    """Note that a journal is open now.

    Raises:
        Busy: another one is.
    """
    with files.made_directory(root, MIGRATE_DIR) as folder:
        with suppress(FileExistsError):
            content = json.dumps({"journal": journal}).encode() + b"\n"
            files.create(root, folder, _OPEN, content)
        os.fsync(folder)
    found = open_journal(root)
    if found != journal:
        raise Busy(
            f"the journal {found} of another run is open; finish that run with --journal {found},"
            " or take it back with --rollback"
        )


def note_closed(root: int) -> None:
    """Remove the note; absent is success."""
    with suppress(FileNotFoundError), directory(root, MIGRATE_DIR) as folder:
        os.unlink(_OPEN, dir_fd=folder)


def _new_name(root: int) -> str:
    taken, number = files.list_names(root, MIGRATE_DIR), 1
    while True:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        name = f"{stamp}.jsonl" if number == 1 else f"{stamp}-{number}.jsonl"
        if name not in taken:
            return f"{MIGRATE_DIR}/{name}"
        number += 1


def choose_journal(root: int, root_path: Path, asked: Path | None) -> str:
    """Return the journal to work with, as it is noted: the open one, the asked one, or a new name.

    Raises:
        Busy: another one than that asked for is open.
    """
    noted = open_journal(root)
    if asked is None:
        return noted or _new_name(root)
    path = Path(os.path.abspath(asked))
    base = Path(os.path.abspath(root_path))
    name = str(path.relative_to(base)) if path.is_relative_to(base) else str(path)
    if noted not in (None, name):
        raise Busy(
            f"the journal {noted} of another run is open on this root, not {name}; finish or take"
            " back that run first"
        )
    return name

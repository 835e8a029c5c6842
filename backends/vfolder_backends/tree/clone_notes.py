"""What is noted of a clone while it is filled, and the lock of whoever fills it.

A note lies beside the marks, in a directory of its own, so that it is never taken for one. It is
written before the first entry is copied, and removed when the clone has its name, or is thrown
away: a directory under a `.new-` name that a note belongs to is part of a clone.

The lock keeps a second actor out of a directory that the first one still holds open: once a clone
has its name, it is the pods' alone. It is a range of one file, so that nothing is left of it, and
it belongs to the descriptor: it ends with its holder, and holds among threads as among machines.
Where it would not hold among machines there are no copies. A server that has forgotten its clients
(NFS, after a restart) grants it only when its grace period is over: the call waits so long.
"""

import errno
import fcntl
import hashlib
import json
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

from vfolder_backends.errors import NotOurs, Unsupported
from vfolder_backends.ids import FolderHex, ScopeHex
from vfolder_backends.layout import CLONES_DIR, CLONES_LOCK, CONTROL_DIR
from vfolder_backends.mountinfo import local_locks
from vfolder_backends.openat import directory, open_beneath
from vfolder_backends.port import FolderSource
from vfolder_backends.tree import files

_DIRECTORY: Final = f"{CONTROL_DIR}/{CLONES_DIR}"
_HELD: Final = (errno.EAGAIN, errno.EACCES)
_NO_LOCKS: Final = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)


@dataclass(frozen=True, slots=True)
class Note:
    """How far a clone is.

    Attributes:
        source: what it is a copy of.
        inode: of the source's directory, to tell it from another one made in its place.
        frozen: whether the storage holds the source still; the cursor is of that moment's tree.
        cursor: where the copy goes on, None at its beginning.
        entries: how many are copied.
        refused: what could not be copied faithfully; the clone never gets its name then.
    """

    source: FolderSource
    inode: int
    frozen: bool = False
    cursor: str | None = None
    entries: int = 0
    refused: str = ""


def _path(scope: ScopeHex, folder: FolderHex) -> str:
    return f"{_DIRECTORY}/{scope}/{folder}"


def read(root: int, scope: ScopeHex, folder: FolderHex) -> Note | None:
    """Return what is noted of a clone, None if nothing is.

    Raises:
        NotOurs: the note is damaged.
    """
    path = _path(scope, folder)
    try:
        fd = open_beneath(root, path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    with open(fd, "rb") as file:  # of any size: a cursor names all hard links left to make
        data = file.read()
    try:
        note = json.loads(data)
        source = FolderSource(ScopeHex(note["source"][0]), FolderHex(note["source"][1]))
        inode, frozen, entries = int(note["inode"]), bool(note["frozen"]), int(note["entries"])
        return Note(source, inode, frozen, note["cursor"], entries, str(note["refused"]))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise NotOurs(
            f"the note {path} is damaged, nothing is touched: {error!r}; delete the folder, and"
            " make the copy anew"
        ) from error


def write(root: int, scope: ScopeHex, folder: FolderHex, note: Note) -> None:
    """Note how far a clone is."""
    said = {
        "source": [note.source.scope.value, note.source.folder.value],
        "inode": note.inode,
        "frozen": note.frozen,
        "cursor": note.cursor,
        "entries": note.entries,
        "refused": note.refused,
    }
    with files.made_directory(root, f"{_DIRECTORY}/{scope}") as place:
        files.replace(root, place, folder.value, json.dumps(said).encode() + b"\n")


def forget(root: int, scope: ScopeHex, folder: FolderHex) -> None:
    """Remove the note; absent is success."""
    with suppress(FileNotFoundError), directory(root, f"{_DIRECTORY}/{scope}") as place:
        os.unlink(folder.value, dir_fd=place)
    _remove_directory(root, scope)


def forget_all(root: int, scope: ScopeHex) -> None:
    """Remove the notes of a scope whose container is gone."""
    for name in files.list_names(root, f"{_DIRECTORY}/{scope}"):
        with suppress(FileNotFoundError), directory(root, f"{_DIRECTORY}/{scope}") as place:
            os.unlink(name, dir_fd=place)
    _remove_directory(root, scope)


def _remove_directory(root: int, scope: ScopeHex) -> None:
    with suppress(FileNotFoundError), directory(root, _DIRECTORY) as clones:
        files.remove_if_empty(clones, scope.value)


@contextmanager
def locked(root: int, scope: ScopeHex, folder: FolderHex) -> Iterator[int | None]:
    """Try to be the one who fills a clone, for the length of a `with` block.

    Yields the descriptor that holds the lock, for processes that help: as long as one of them has
    it open, nobody else is let in. None if somebody else is the one.

    Raises:
        Unsupported: the file system has no locks, or none that other machines see.
    """
    if local_locks(root):
        raise _unsupported("its locks hold on this machine alone")
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    with files.made_directory(root, _DIRECTORY) as clones:
        fd = os.open(CLONES_LOCK, flags, 0o600, dir_fd=clones)
    try:
        yield fd if _lock(fd, f"{scope}/{folder}") else None
    finally:
        os.close(fd)


def _lock(fd: int, what: str) -> bool:
    start = int.from_bytes(hashlib.sha256(what.encode()).digest()[:7], "big")
    # struct flock: type, whence, start, length, and a pid that must be 0.
    wanted = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, start, 1, 0)
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, wanted)
    except OSError as error:
        if error.errno in _HELD:
            return False
        if error.errno in _NO_LOCKS:
            raise _unsupported(os.strerror(error.errno)) from error
        raise
    return True


def _unsupported(why: str) -> Unsupported:
    return Unsupported(
        f"copies need file locks that hold among machines, which this mount does not have ({why});"
        " mount it with them (NFS: without nolock; Lustre: flock)"
    )

"""One walk over a tree: sizes as `du` has them, owners, and a digest to compare it with later.

Nothing is opened but directories, no link is followed and no other mount entered.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from vfolder_backends.adoption.found import Tally
from vfolder_backends.openat import open_beneath

_EVERY: Final = 256
_BLOCK: Final = 512  # the unit of st_blocks, whatever the file system's own is
_MODULUS: Final = 1 << 256


@dataclass(slots=True)
class _Level:
    fd: int
    path: bytes
    names: list[str]


def walk(folder: int, tally: Tally, *, digest: bool = False) -> Iterator[int]:
    """Add all that lies in the open directory, itself included, to `tally`.

    The digest covers every name below with its type, mode, owner, size, time of change of content,
    link count, target of links, device numbers and extended attributes (ACLs are among them); it is
    a sum, so the order in which a directory lists its names does not matter.

    Yields:
        Every few hundred entries, how many were looked at since the last time.

    Raises:
        OSError: a name that vanishes is passed over; all else comes out.
    """
    if digest:
        tally.digest = 0
    seen: set[tuple[int, int]] = set()
    top = os.fstat(folder)
    _count(tally, top, seen)
    if digest:
        _mix(tally, b"", top, folder, ".", top=True)
    stack = [_Level(os.dup(folder), b"", os.listdir(folder))]
    since = 0
    try:
        while stack:
            level = stack[-1]
            if not level.names:
                os.close(stack.pop().fd)
                continue
            name = level.names.pop()
            with suppress(FileNotFoundError):
                found = os.stat(name, dir_fd=level.fd, follow_symlinks=False)
                path = level.path + b"/" + os.fsencode(name)
                _count(tally, found, seen)
                if digest:
                    _mix(tally, path, found, level.fd, name)
                if stat.S_ISDIR(found.st_mode):
                    below = _enter(level.fd, name, path, tally)
                    if below is not None:
                        stack.append(below)
            since += 1
            if since == _EVERY:
                yield since
                since = 0
    finally:
        for level in stack:
            os.close(level.fd)
    yield since


def _count(tally: Tally, found: os.stat_result, seen: set[tuple[int, int]]) -> None:
    if found.st_nlink > 1 and not stat.S_ISDIR(found.st_mode):
        key = (found.st_dev, found.st_ino)
        if key in seen:
            return
        seen.add(key)
    tally.inodes += 1
    tally.allocated += found.st_blocks * _BLOCK
    if not stat.S_ISDIR(found.st_mode):
        tally.apparent += found.st_size
    tally.count_owner(found.st_uid, found.st_gid)


def _enter(parent: int, name: str, path: bytes, tally: Tally) -> _Level | None:
    try:
        fd = open_beneath(parent, name, os.O_RDONLY | os.O_DIRECTORY, same_mount=True)
    except OSError as error:
        if error.errno == errno.EXDEV:
            tally.mounts += 1
        elif error.errno == errno.EACCES:
            tally.unreadable += 1
        elif error.errno not in (errno.ENOTDIR, errno.ELOOP):  # else it was swapped just now
            raise
        return None
    try:
        return _Level(fd, path, os.listdir(fd))
    except BaseException:
        os.close(fd)
        raise


def _mix(
    tally: Tally, path: bytes, found: os.stat_result, parent: int, name: str, *, top: bool = False
) -> None:
    """Add one entry's hash to the digest."""
    folder = stat.S_ISDIR(found.st_mode)
    facts = [
        found.st_mode,
        found.st_uid,
        found.st_gid,
        0 if folder else found.st_size,
        0 if top else found.st_mtime_ns,  # a rename to another parent may count as a change
        0 if folder else found.st_nlink,
        found.st_rdev,
    ]
    parts = [path, repr(facts).encode()]
    if stat.S_ISLNK(found.st_mode):
        parts.append(os.fsencode(os.readlink(name, dir_fd=parent)))
    parts += _attributes(parent, name)
    mixed = hashlib.sha256(b"".join(len(p).to_bytes(8, "big") + p for p in parts)).digest()
    tally.digest = ((tally.digest or 0) + int.from_bytes(mixed, "big")) % _MODULUS


def _attributes(parent: int, name: str) -> list[bytes]:
    # By way of /proc the last component may be a link or a device, and is still not followed.
    path = f"/proc/self/fd/{parent}/{name}"
    found = []
    try:
        for key in sorted(os.listxattr(path, follow_symlinks=False)):
            found += [os.fsencode(key), os.getxattr(path, key, follow_symlinks=False)]
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.ENODATA):
            raise
    return found

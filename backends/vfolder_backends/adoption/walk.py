"""What `scan` and `migrate` want to know of a tree: sizes as `du` has them, owners, and a digest.

The walk is the engine's, so depth costs no descriptors, no link is followed and no other mount
entered. The engine's own count is quicker and knows neither owners nor digests.
"""

import errno
import hashlib
import os
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from vfolder_backends.adoption.found import Tally
from vfolder_backends.engine.stop import Stop
from vfolder_backends.engine.visit import Batch, visit

_SLICE_SECONDS: Final = 0.1
_BATCH: Final = 256
_BLOCK: Final = 512  # the unit of st_blocks, whatever the file system's own is
_MODULUS: Final = 1 << 256
_FINE: Final = ("vanished", "mount")


def walk(folder: int, tally: Tally, *, digest: bool = False) -> Iterator[int]:
    """Add all that lies in the open directory, itself included, to `tally`.

    The digest covers every name below with its type, mode, owner, size, time of change of content,
    link count, target of links, device numbers and extended attributes (ACLs are among them); it is
    a sum, so the order in which a directory lists its names does not matter.

    Yields:
        Every fraction of a second, how many entries were looked at since the last time.

    Raises:
        OSError: a name that vanishes is passed over; all else comes out.
    """
    counter = _Counter(folder, tally, digest=digest)
    cursor, done = None, 0
    while True:
        stop = Stop(time.monotonic() + _SLICE_SECONDS)
        now = visit(folder, counter.take, stop=stop, cursor=cursor, batch=_BATCH)
        yield now.entries - done
        cursor, done = now.cursor, now.entries
        if now.done:
            break
    # A directory that cannot be entered may be told of more than once, so paths count.
    problems = set(now.problems.named)
    tally.mounts += sum(reason == "mount" for _, reason in problems)
    tally.unreadable += sum(reason not in _FINE for _, reason in problems)


class _Counter:
    """Counts entries, and the top when it is made."""

    def __init__(self, top: int, tally: Tally, *, digest: bool) -> None:
        self._tally = tally
        self._digest = digest
        self._names_left: dict[tuple[int, int], int] = {}
        found = os.fstat(top)
        self._count(found)
        if digest:
            tally.digest = 0
            self._mix(b"", found, top, ".", top=True)

    def take(self, batch: Batch) -> None:
        """Count a batch."""
        above = b"".join(b"/" + os.fsencode(part) for part in batch.path)
        for name, _ in batch.entries:
            with suppress(FileNotFoundError):
                found = os.stat(name, dir_fd=batch.parent, follow_symlinks=False)
                self._count(found)
                if self._digest:
                    self._mix(above + b"/" + os.fsencode(name), found, batch.parent, name)

    def _count(self, found: os.stat_result) -> None:
        tally, folder = self._tally, stat.S_ISDIR(found.st_mode)
        if found.st_nlink > 1 and not folder:
            key = (found.st_dev, found.st_ino)
            left = self._names_left.pop(key, 0)
            if (left or found.st_nlink) > 1:
                self._names_left[key] = (left or found.st_nlink) - 1
            if left:
                return
        tally.inodes += 1
        tally.allocated += found.st_blocks * _BLOCK
        if not folder:
            tally.apparent += found.st_size
        tally.count_owner(found.st_uid, found.st_gid)

    def _mix(
        self, path: bytes, found: os.stat_result, parent: int, name: str, *, top: bool = False
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
        tally = self._tally
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

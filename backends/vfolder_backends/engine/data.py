"""The data of one file: shared with the copy where the file system can, else copied with its holes.

Bytes go to the target strictly in order, and a hole at the end is made last of all. So a file as
long as its source is whole, and one that is shorter ends where its copying was stopped.
"""

import errno
import fcntl
import os
from collections.abc import Callable
from typing import Final

from vfolder_backends.engine.problems import general
from vfolder_backends.engine.stop import Stop

FICLONE: Final = 0x40049409  # _IOW(0x94, 9, int), linux/fs.h
_SMALL: Final = 128 * 1024
_CHUNK: Final = 8 * 1024 * 1024
_CANNOT: Final = (
    errno.EOPNOTSUPP,
    errno.ENOSYS,
    errno.EXDEV,
    errno.EINVAL,
    errno.ENOTTY,
    errno.EPERM,
    errno.EBADF,
    errno.ETXTBSY,
)


class Means:
    """What the two file systems can do between them; learned by trying, for one copy."""

    def __init__(self) -> None:
        self.reflink = True
        self.copy_range = True

    def copy(
        self,
        source: int,
        target: int,
        found: os.stat_result,
        at: int,
        stop: Stop,
        moved: Callable[[int], None],
    ) -> None:
        """Copy what the open file `source` holds from offset `at` on.

        Args:
            source: open for reading.
            target: open for writing, `at` bytes long.
            found: of the source.
            at: where to begin.
            stop: looked at between chunks; the target then is shorter than the source.
            moved: told how many bytes were copied.

        Raises:
            OSError: ENOSPC and EDQUOT among them, as they are.
            Stopped: it is time to stop.
        """
        size = found.st_size
        if not size:
            return
        if at == 0 and self.reflink and self._reflink(source, target):
            moved(size)
            return
        if size - at <= _SMALL and found.st_blocks * 512 >= size:
            write(target, os.pread(source, size - at, at), at)
            moved(size - at)
            return
        self._copy_extents(source, target, at, size, stop, moved)

    def _reflink(self, source: int, target: int) -> bool:
        try:
            fcntl.ioctl(target, FICLONE, source)
        except OSError as error:
            if error.errno not in _CANNOT:
                raise
            self.reflink = False
            return False
        return True

    def _copy_extents(
        self,
        source: int,
        target: int,
        at: int,
        size: int,
        stop: Stop,
        moved: Callable[[int], None],
    ) -> None:
        while at < size:
            begin, end = _extent(source, at, size)
            while begin < end:
                stop.check()
                done = self._copy_some(source, target, begin, min(_CHUNK, end - begin))
                if not done:
                    return  # it became shorter; the caller compares
                begin += done
                moved(done)
            at = max(begin, end)
        if os.fstat(target).st_size < size:
            os.truncate(target, size)

    def _copy_some(self, source: int, target: int, at: int, length: int) -> int:
        if self.copy_range:
            try:
                return os.copy_file_range(source, target, length, at, at)
            except OSError as error:
                if error.errno not in _CANNOT:
                    raise
                self.copy_range = False
        some = os.pread(source, min(length, _SMALL * 8), at)
        write(target, some, at)
        return len(some)


def write(target: int, data: bytes, at: int) -> None:
    """Write all of `data` at the offset `at`."""
    view = memoryview(data)
    while view:
        done = os.pwrite(target, view, at)
        view, at = view[done:], at + done


def _extent(source: int, at: int, size: int) -> tuple[int, int]:
    """Return the next range that holds data; (size, size) where only a hole is left."""
    try:
        begin = os.lseek(source, at, os.SEEK_DATA)
        return begin, min(os.lseek(source, begin, os.SEEK_HOLE), size)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return size, size
        if general(error) or error.errno not in _CANNOT:
            raise
        return at, size

"""Directories opened by their path below a descriptor, however deep they lie.

The few that were opened last stay open, so that going down costs one component each. All others
are reached again from the nearest open one above, in one `openat2` that follows no link and steps
onto no mount. So depth costs no descriptors; it costs time only where a deep tree has side branches
on every level.
"""

import os
from typing import Final

from vfolder_backends.engine.spans import Path
from vfolder_backends.openat import open_beneath

_KEPT: Final = 8
_LONGEST: Final = 4000  # of a path in one system call; PATH_MAX is 4096
_READ: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK


class Descent:
    """Opens directories below the open directory `top`; for one thread, to be closed."""

    def __init__(self, top: int) -> None:
        self._top = top
        self._open: list[tuple[Path, int]] = []  # each lies below the one before it

    def open(self, path: Path) -> int:
        """Return a descriptor of the directory, valid until the next call.

        Raises:
            OSError: as `open_beneath` with `same_mount`.
        """
        if not self._open:
            # Opened anew: descriptors that were duplicated or inherited share the place where a
            # listing is, and two that list the top at once would each miss entries.
            self._open.append(((), os.open(".", _READ | os.O_CLOEXEC, dir_fd=self._top)))
        while self._open[-1][0] != path[: len(self._open[-1][0])]:
            os.close(self._open.pop()[1])
        above, fd = self._open[-1]
        if above == path:
            return fd
        fd = _reach(fd, path[len(above) :])
        self._open.append((path, fd))
        if len(self._open) > _KEPT:
            os.close(self._open.pop(1)[1])
        return fd

    def close(self) -> None:
        """Close what is open; the top is the caller's."""
        while self._open:
            os.close(self._open.pop()[1])


def _reach(start: int, parts: Path) -> int:
    fd, at = start, 0
    try:
        while at < len(parts):
            upto, length = at, 0
            while upto < len(parts) and (length := length + len(os.fsencode(parts[upto])) + 1):
                if length > _LONGEST and upto > at:
                    break
                upto += 1
            below = open_beneath(fd, "/".join(parts[at:upto]), _READ, same_mount=True)
            if fd != start:
                os.close(fd)
            fd, at = below, upto
    except BaseException:
        if fd != start:
            os.close(fd)
        raise
    return fd

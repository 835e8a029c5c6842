"""Counting entries, in the calling process and in helpers; what the figures mean tells `usage`.

Each directory is listed at once and each name looked at by `fstatat`; what else was measured is in
docs/design/2026-11-tree-engine.md.
"""

import os
import stat
from collections.abc import Sequence
from typing import Any, Final

from vfolder_backends.engine.problems import Problems, general, reason_of
from vfolder_backends.engine.spans import Path
from vfolder_backends.engine.stop import Stop
from vfolder_backends.engine.walk import Deed, Handler

_FORMAT: Final = 0o170000
_DIRECTORY: Final = stat.S_IFDIR


class Counter(Handler[str]):
    """Counts; begins with the top itself."""

    batch = 4096

    def __init__(self, top: os.stat_result, state: Any) -> None:
        super().__init__()
        self._device = top.st_dev
        self._links: dict[int, int] = {}  # inode: how many of its names were not met yet
        self.blocks, self.apparent, self.directories = top.st_blocks, 0, top.st_size
        self.inodes = self.entries = 1
        if state is not None:
            *figures, links, problems = state
            self.blocks, self.apparent, self.directories, self.inodes, self.entries = figures
            self._links = dict(links)
            self.problems = Problems.restored(problems)

    def read(self, fd: int) -> list[str]:
        """See `Handler`."""
        names = os.listdir(fd)
        names.sort()
        return names

    def name(self, item: str) -> str:
        """See `Handler`."""
        return item

    def act(self, fd: int, path: Path, items: Sequence[str]) -> Deed:
        """See `Handler`."""
        blocks = apparent = directories = left_out = 0
        below: list[str] = []
        linked: list[list[int]] = []
        problems = Problems()
        lstat, device = os.lstat, self._device
        for name in items:
            try:
                found = lstat(name, dir_fd=fd)
            except OSError as error:
                if general(error):
                    raise
                left_out += 1
                problems.add((*path, name), reason_of(error))
                continue
            if found.st_dev != device:
                left_out += 1
                problems.add((*path, name), "mount")
            elif found.st_mode & _FORMAT == _DIRECTORY:
                below.append(name)
                blocks += found.st_blocks
                directories += found.st_size
            elif found.st_nlink > 1:
                linked.append([found.st_ino, found.st_nlink, found.st_blocks, found.st_size])
            else:
                blocks += found.st_blocks
                apparent += found.st_size
        entries = len(items) - left_out
        tally = [blocks, apparent, directories, entries, linked, problems.state()]
        return Deed(len(items), below, tally)

    def commit(self, tally: Any) -> None:
        """See `Handler`."""
        blocks, apparent, directories, entries, linked, problems = tally
        self.blocks += blocks
        self.apparent += apparent
        self.directories += directories
        self.entries += entries
        self.inodes += entries - len(linked)
        self.problems.merge(Problems.restored(problems))
        for inode, names, its_blocks, its_size in linked:
            left = self._links.pop(inode, 0)
            if not left:
                self.inodes += 1
                self.blocks += its_blocks
                self.apparent += its_size
                left = names
            if left > 1:
                self._links[inode] = left - 1

    def state(self) -> Any:
        """See `Handler`."""
        figures = [self.blocks, self.apparent, self.directories, self.inodes, self.entries]
        return [*figures, list(self._links.items()), self.problems.state()]


def helping(fds: Sequence[int], given: Any, stop: Stop) -> Counter:
    """One in a helper process; whom it helps counts the top and the names of an inode."""
    return Counter(os.fstat(fds[0]), None)

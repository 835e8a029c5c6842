"""What a tree uses: the figures that `du` and `find` give, exact, without their processes.

Each directory is listed at once and each name looked at by `fstatat`; what else was measured is in
docs/design/2026-11-tree-engine.md.
"""

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from vfolder_backends.engine.helpers import HELPERS, HelpedWalk, Recipe
from vfolder_backends.engine.problems import Problems, general, reason_of
from vfolder_backends.engine.spans import Cursor, Path
from vfolder_backends.engine.stop import Stop
from vfolder_backends.engine.walk import Deed, Handler

_BLOCK: Final = 512  # the unit of st_blocks, whatever the file system's block size is


@dataclass(frozen=True, slots=True)
class TreeUsage:
    """What a tree uses, its top directory included; several names of one inode count once.

    Attributes:
        allocated_bytes: on the storage: `du -s -x --block-size=1`.
        apparent_bytes: the sizes of all that is not a directory: `du -s -x --apparent-size` since
            coreutils 9.2; older ones add `directory_bytes`.
        directory_bytes: the sizes of the directories themselves.
        inodes: `du -s -x --inodes`.
        entries: names: `find -xdev | wc -l`, but for mounts, which `find` lists.
        problems: what could not be read, or lies on another mount, and is not in the figures.
        cursor: where to go on; None when all was counted.
    """

    allocated_bytes: int
    apparent_bytes: int
    directory_bytes: int
    inodes: int
    entries: int
    problems: Problems
    cursor: str | None

    @property
    def done(self) -> bool:
        """Whether the whole tree was counted."""
        return self.cursor is None


def usage(
    top: int,
    *,
    stop: Stop | None = None,
    cursor: str | None = None,
    helpers: int = HELPERS,
) -> TreeUsage:
    """Count what lies in the open directory `top`, and that directory.

    Args:
        top: an open directory.
        stop: when to stop; the figures so far are returned with a cursor.
        cursor: where to go on. It grows with the inodes of which some names were met and others
            not yet.
        helpers: how many processes help when it takes longer than they need to start.

    Raises:
        ValueError: the cursor is none.
        OSError: the top cannot be read.
    """
    start = Cursor.load(cursor) if cursor is not None else Cursor()
    counter = Counter(os.fstat(top), start.state)
    end = HelpedWalk(top, counter, stop or Stop(), start, helpers, Recipe("usage")).run()
    return TreeUsage(
        counter.blocks * _BLOCK,
        counter.apparent,
        counter.directories,
        counter.inodes,
        counter.entries,
        counter.problems,
        None if end.done else end.dump(),
    )


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
            elif stat.S_ISDIR(found.st_mode):
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

"""What a tree uses: the figures that `du` and `find` give, exact, without their processes."""

import os
from dataclasses import dataclass
from typing import Final

from vfolder_backends.engine.counting import Counter
from vfolder_backends.engine.helpers import HELPERS, HelpedWalk, Recipe
from vfolder_backends.engine.problems import Problems
from vfolder_backends.engine.spans import Cursor
from vfolder_backends.engine.stop import Stop

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
    end = HelpedWalk(top, counter, stop or Stop(), start, helpers, Recipe("counting")).run()
    return TreeUsage(
        counter.blocks * _BLOCK,
        counter.apparent,
        counter.directories,
        counter.inodes,
        counter.entries,
        counter.problems,
        None if end.done else end.dump(),
    )

"""Every entry of a tree, handed to a callback: to tag it with a project id, or to look for one.

A directory is handed over before it is listed. So when the callback makes directories pass
something on to what is created in them, nothing escapes: what was created before the callback is in
the listing, what is created after it has inherited.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, NamedTuple

from vfolder_backends.engine.problems import Problems
from vfolder_backends.engine.spans import Cursor, Path
from vfolder_backends.engine.stop import Stop
from vfolder_backends.engine.walk import Deed, Handler, Report, Walk


class Kind(Enum):
    """What an entry was when its directory was listed."""

    DIRECTORY = "directory"
    FILE = "file"
    LINK = "link"
    OTHER = "other"


_FILE: Final = Kind.FILE  # looking it up on the class costs as much as all the rest of `kind_of`


class Entry(NamedTuple):
    """One entry; its name is one component."""

    name: str
    kind: Kind


class Batch(NamedTuple):
    """Some entries of one directory, sorted by name.

    Attributes:
        parent: the open directory they lie in; it stays the walk's, and open until the callback
            returns. Open an entry by `openat.open_beneath(parent, name, ...)` only: it may have
            been swapped since it was listed.
        path: of that directory below the top.
        entries: what lies in it.
    """

    parent: int
    path: Path
    entries: Sequence[Entry]


@dataclass(frozen=True, slots=True)
class Visited:
    """How far a visit is.

    Attributes:
        entries: how many entries were handed over, in all runs of this visit.
        directories: how many of them were directories.
        problems: directories that could not be listed, and mounts, which are not stepped onto.
        cursor: where to go on; None when the visit is over.
    """

    entries: int
    directories: int
    problems: Problems
    cursor: str | None

    @property
    def done(self) -> bool:
        """Whether the whole tree was visited."""
        return self.cursor is None


def visit(
    top: int,
    callback: Callable[[Batch], None],
    *,
    stop: Stop | None = None,
    cursor: str | None = None,
    threads: int = 1,
    batch: int = 1024,
    report: Callable[[Visited], None] | None = None,
    report_every: float = 1.0,
) -> Visited:
    """Hand over all that lies below the open directory `top`, not that directory itself.

    Args:
        top: an open directory; to tag a whole tree, tag this one first.
        callback: called in several threads at once if `threads` is above 1, never twice at once
            with entries of one directory. It may raise to end the visit. Entries that vanish are
            its own to tolerate. A batch is handed over again after a kill in its midst.
        stop: when to stop.
        cursor: where an earlier visit of the same tree stopped, or was when it last reported.
        threads: how many work at once; 1 suffices where calls are answered from memory.
        batch: the most entries in one batch.
        report: called by this thread with a cursor that is good for a kill at any later time.
        report_every: seconds between two reports.

    Raises:
        ValueError: the cursor is none.
        OSError: the top cannot be read, or what the callback raises.
    """
    start = Cursor.load(cursor) if cursor is not None else Cursor()
    visitor = _Visitor(callback, batch, start.state)
    tell: Report | None = None
    if report is not None:
        told = report  # narrowed for the closure

        def tell(at: Cursor) -> None:
            told(_visited(at))

    return _visited(Walk(top, visitor, stop or Stop(), start, threads, tell, report_every).run())


def _visited(at: Cursor) -> Visited:
    entries, directories, problems = at.state
    text = None if at.done else at.dump()
    return Visited(entries, directories, Problems.restored(problems), text)


class _Visitor(Handler[Entry]):
    def __init__(self, callback: Callable[[Batch], None], batch: int, state: Any) -> None:
        super().__init__()
        self.batch = batch
        self._callback = callback
        self._entries = self._directories = 0
        if state is not None:
            self._entries, self._directories, problems = state
            self.problems = Problems.restored(problems)

    def read(self, fd: int) -> list[Entry]:
        return read_entries(fd)

    def name(self, item: Entry) -> str:
        return item.name

    def act(self, fd: int, path: Path, items: Sequence[Entry]) -> Deed:
        self._callback(Batch(fd, path, items))
        below = [entry.name for entry in items if entry.kind is Kind.DIRECTORY]
        return Deed(len(items), below, (len(items), len(below)))

    def commit(self, tally: Any) -> None:
        self._entries += tally[0]
        self._directories += tally[1]

    def state(self) -> Any:
        return [self._entries, self._directories, self.problems.state()]


def read_entries(fd: int) -> list[Entry]:
    """List an open directory, sorted by name."""
    with os.scandir(fd) as listed:
        entries = [tuple.__new__(Entry, (e.name, kind_of(e))) for e in listed]
    entries.sort()  # names differ, so kinds are never compared
    return entries


def kind_of(entry: "os.DirEntry[str]") -> Kind:
    """What a listed entry is; most file systems say so in the listing itself."""
    if entry.is_file(follow_symlinks=False):
        return _FILE
    if entry.is_dir(follow_symlinks=False):
        return Kind.DIRECTORY
    return Kind.LINK if entry.is_symlink() else Kind.OTHER

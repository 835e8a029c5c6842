"""Removing a tree that its users may have made as unpleasant as they could.

Everything is named by one component relative to an open directory; no link is followed, no mount is
stepped onto, nothing above the given directory is named. Depth costs neither recursion nor
descriptors: only the nearest levels stay open, the way back up from deeper ones goes through `..`,
and counts only if it leads to the directory one came from.
"""

import errno
import itertools
import os
import stat
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from vfolder_backends.engine.helpers import HelpedWalk, Recipe
from vfolder_backends.engine.spans import Cursor, Path
from vfolder_backends.engine.stop import Stop, Stopped
from vfolder_backends.engine.walk import Deed, Handler
from vfolder_backends.openat import open_beneath

_OPEN_LEVELS: Final = 32
_BATCH: Final = 2048
_GRANT: Final = 64  # entries between two looks at the budget
_SPELL: Final = 0.1  # seconds over which a rate is kept


class Budget:
    """How much may be removed in one go; may be shared by threads.

    Args:
        entries: how many system calls that remove something.
        stop_at: `time.monotonic()` after which nothing more is begun.
        rate: at most so many entries a second, so that others get their share of the storage.
        asked: says whether somebody asked to stop.

    Attributes:
        removed: how many entries were removed; may be read at any time.
        stop: when nothing more is begun.
        rate: as given.
    """

    def __init__(
        self,
        entries: int = sys.maxsize,
        stop_at: float = float("inf"),
        *,
        rate: float | None = None,
        asked: Callable[[], bool] | None = None,
    ) -> None:
        self._left = entries
        self.stop = Stop(stop_at, asked)
        self.rate = rate
        self._lock = threading.Lock()
        self._next = time.monotonic()
        self.removed = 0

    @property
    def spent(self) -> bool:
        """Whether nothing more may be removed."""
        return self._left <= 0 or self.stop.reached

    def take(self, wanted: int) -> int:
        """How many entries may be removed next, at most `wanted`; waits for them under a rate.

        They count as used whether they are removed or not. 0 is the end of the budget.
        """
        if self.stop.reached:
            return 0
        with self._lock:
            granted, until = min(wanted, self._left), 0.0
            if granted and self.rate is not None:
                granted = max(1, min(granted, int(self.rate * _SPELL)))
                # What was not used before is not made up for by a burst later.
                self._next = max(self._next, time.monotonic()) + granted / self.rate
                until = self._next
            self._left -= granted
        if until and self.stop.wait(until - time.monotonic() - _SPELL):
            return 0
        return granted

    def count(self, removed: int) -> None:
        """Entries were removed."""
        with self._lock:
            self.removed += removed

    def rest(self) -> int:
        """All that is left, whether it is time to stop or not."""
        with self._lock:
            rest, self._left = self._left, 0
        return rest

    def lend(self) -> int:
        """Half of what is left, for a helper process."""
        with self._lock:
            lent = self._left // 2
            self._left -= lent
        return lent

    def give_back(self, entries: int) -> None:
        """Some that were taken are not used."""
        with self._lock:
            self._left += entries


@dataclass(slots=True)
class _Level:
    fd: int  # -1 while a deep descent has closed it
    name: str
    identity: tuple[int, int]
    pending: list[str] = field(default_factory=list)  # directories that were not empty


def remove_contents(top: int, budget: Budget, helpers: int = 0) -> bool:
    """Remove everything inside the open directory `top`.

    Args:
        top: an open directory.
        budget: how much may be removed; it tells how much was.
        helpers: how many processes help when it takes longer than they need to start. None do
            under a rate.

    Returns:
        Whether it is empty; False at the end of the budget, or when the tree was moved about.

    Raises:
        OSError: an entry resists, by its errno; EXDEV for a mount inside.
    """
    if helpers and budget.rate is None:
        # All but directories, by many; what is left, or came meanwhile, is for the careful way,
        # which gets half of the time: it alone gets on where there are many directories.
        now = time.monotonic()
        half = Stop(now + (budget.stop.stop_at - now) / 2, lambda: budget.stop.reached)
        HelpedWalk(top, Remover(budget), half, Cursor(), helpers, Recipe("remove")).run()
    levels = [_Level(os.dup(top), "", _identity(top))]
    try:
        while True:
            level = levels[-1]
            if not level.pending and not _sweep(level, budget):
                return False
            if level.pending:
                name = level.pending.pop()
                try:
                    fd = _open(level.fd, name)
                except (FileNotFoundError, NotADirectoryError):
                    continue  # gone, or swapped for something else; the next sweep sees it
                except OSError as error:
                    if error.errno == errno.ELOOP:
                        continue
                    raise
                levels.append(_Level(fd, name, _identity(fd)))
                if len(levels) > _OPEN_LEVELS:
                    _close(levels[-_OPEN_LEVELS])
                continue
            # Empty: one level up, and remove it there.
            if len(levels) == 1:
                return True
            above = levels[-2]
            if above.fd < 0 and not _reopen(above, level.fd):
                return False  # somebody moved it; the next purge begins at the top again
            levels.pop()
            _close(level)
            if not budget.take(1):
                return False
            try:
                os.rmdir(level.name, dir_fd=above.fd)
                budget.count(1)
            except (FileNotFoundError, NotADirectoryError):
                continue  # gone, or swapped for something else; the next sweep sees it
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                if not _still_filled(above.fd, level.name):
                    raise  # nothing is listed and yet it is not empty: snapshots, for one
    finally:
        for level in levels:
            _close(level)


def _sweep(level: _Level, budget: Budget) -> bool:
    """Remove what can be removed of one directory and note the directories that hold something.

    Returns:
        False at the end of the budget.
    """
    while not level.pending:
        try:
            with os.scandir(level.fd) as entries:
                some = itertools.islice(entries, _BATCH)
                batch = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in some]
        except FileNotFoundError:
            return True  # another purge removed the directory we are in
        if not batch:
            return True
        while batch:
            granted = budget.take(min(len(batch), _GRANT))
            if not granted:
                return False
            _remove(level, batch[:granted], budget)
            del batch[:granted]
    return True


def _remove(level: _Level, entries: list[tuple[str, bool]], budget: Budget) -> None:
    removed, fd, unlink, rmdir = 0, level.fd, os.unlink, os.rmdir
    try:
        for name, is_directory in entries:
            try:
                if is_directory:
                    rmdir(name, dir_fd=fd)
                else:
                    unlink(name, dir_fd=fd)
                removed += 1
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
                continue  # changed under us; the next sweep sees what it is now
            except OSError as error:
                if not is_directory or error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                level.pending.append(name)
    finally:
        budget.count(removed)


def _open(parent: int, name: str) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK
    try:
        fd = open_beneath(parent, name, flags, same_mount=True)
    except PermissionError:
        # As its owner we may give ourselves the bits, by a descriptor that nobody can swap.
        handle = open_beneath(parent, name, os.O_PATH | os.O_DIRECTORY, same_mount=True)
        try:
            os.chmod(f"/proc/self/fd/{handle}", stat.S_IRWXU)
        finally:
            os.close(handle)
        fd = open_beneath(parent, name, flags, same_mount=True)
    if stat.S_IMODE(os.fstat(fd).st_mode) & stat.S_IRWXU != stat.S_IRWXU:
        os.fchmod(fd, stat.S_IRWXU)
    return fd


class Remover(Handler[tuple[str, bool]]):
    """Removes all but directories: the part of the work that can be shared.

    A failure is not told here; who comes after meets it again.
    """

    batch = 256

    def __init__(self, budget: Budget) -> None:
        super().__init__()
        self._budget = budget
        self._untold = 0  # removed of a batch that was not finished

    @classmethod
    def helping(cls, stop: Stop) -> "Remover":
        """One in a helper process, which may use what it borrows."""
        return cls(Budget(0, stop.stop_at, asked=lambda: stop.reached))

    def read(self, fd: int) -> list[tuple[str, bool]]:
        """See `Handler`."""
        with os.scandir(fd) as entries:
            found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        found.sort()
        return found

    def name(self, item: tuple[str, bool]) -> str:
        """See `Handler`."""
        return item[0]

    def act(self, fd: int, path: Path, items: Sequence[tuple[str, bool]]) -> Deed:
        """See `Handler`."""
        files = [name for name, is_directory in items if not is_directory]
        granted = self._budget.take(len(files)) if files else 0
        if files and not granted:
            raise Stopped
        removed, unlink = 0, os.unlink
        for name in files[:granted]:
            with suppress(OSError):
                unlink(name, dir_fd=fd)
                removed += 1
        self._budget.count(removed)
        if granted < len(files):
            self._untold += removed
            raise Stopped
        below = [name for name, is_directory in items if is_directory]
        return Deed(len(items), below, removed)

    def lend(self) -> int:
        """See `Handler`."""
        return self._budget.lend()

    def borrow(self, lent: int) -> None:
        """See `Handler`."""
        self._budget.give_back(lent)

    def give_back(self) -> tuple[int, int]:
        """See `Handler`."""
        return self._budget.rest(), self._untold

    def returned(self, given_back: tuple[int, int]) -> None:
        """See `Handler`."""
        self._budget.give_back(given_back[0])
        self._budget.count(given_back[1])

    def settle(self, tally: int) -> None:
        """See `Handler`."""
        self._budget.count(tally)

    def commit(self, tally: Any) -> None:
        """See `Handler`."""
        pass

    def state(self) -> Any:
        """See `Handler`."""
        return None


def _identity(fd: int) -> tuple[int, int]:
    found = os.fstat(fd)
    return found.st_dev, found.st_ino


def _reopen(level: _Level, below: int) -> bool:
    try:
        fd = os.open("..", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=below)
    except FileNotFoundError:
        return False
    if _identity(fd) != level.identity:
        os.close(fd)
        return False
    level.fd = fd
    return True


def _still_filled(parent: int, name: str) -> bool:
    fd = _open(parent, name)
    try:
        with os.scandir(fd) as entries:
            return next(entries, None) is not None
    finally:
        os.close(fd)


def _close(level: _Level) -> None:
    if level.fd >= 0:
        os.close(level.fd)
        level.fd = -1

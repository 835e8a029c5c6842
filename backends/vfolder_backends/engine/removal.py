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
import time
from dataclasses import dataclass, field
from typing import Final

from vfolder_backends.engine.budget import Budget
from vfolder_backends.engine.helpers import HelpedWalk, Recipe
from vfolder_backends.engine.problems import VANISHED, described
from vfolder_backends.engine.remover import Remover
from vfolder_backends.engine.spans import Cursor
from vfolder_backends.engine.stop import Stop
from vfolder_backends.openat import open_beneath

_FILLED: Final = (errno.ENOTEMPTY, errno.EEXIST)
_OPEN_LEVELS: Final = 32
_BATCH: Final = 2048
_GRANT: Final = 64  # entries between two looks at the budget


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
        OSError: an entry resists, by its errno; EXDEV for a mount inside, ENOTEMPTY, with its path
            below `top`, for a directory that holds what it does not list, such as snapshots.
    """
    if helpers and budget.rate is None:
        # All but directories, by many; what is left, or came meanwhile, is for the careful way,
        # which gets half of the time: it alone gets on where there are many directories.
        now = time.monotonic()
        half = Stop(now + (budget.stop.stop_at - now) / 2, lambda: budget.stop.reached)
        try:
            HelpedWalk(top, Remover(budget), half, Cursor(), helpers, Recipe("remover")).run()
        except OSError as error:
            if error.errno not in VANISHED:
                raise
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
                except OSError as error:
                    if error.errno in VANISHED:
                        continue  # gone, or swapped for something else; the next sweep sees it
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
            except OSError as error:
                if error.errno in VANISHED:
                    continue  # gone, or swapped for something else; the next sweep sees it
                path = tuple(one.name for one in (*levels[1:], level))
                if error.errno not in _FILLED:
                    raise described(error, path) from error
                if not _still_filled(above.fd, level.name):
                    # Nothing is listed and yet it is not empty: snapshots, for one.
                    raise described(error, path) from error
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
        except OSError as error:
            if error.errno in VANISHED:
                return True  # another purge removed the directory we are in
            raise
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
            except OSError as error:
                if error.errno in VANISHED or error.errno == errno.EISDIR:
                    continue  # changed under us; the next sweep sees what it is now
                if not is_directory or error.errno not in _FILLED:
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


def _identity(fd: int) -> tuple[int, int]:
    found = os.fstat(fd)
    return found.st_dev, found.st_ino


def _reopen(level: _Level, below: int) -> bool:
    try:
        fd = os.open("..", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=below)
    except OSError as error:
        if error.errno in VANISHED:
            return False
        raise
    if _identity(fd) != level.identity:
        os.close(fd)
        return False
    level.fd = fd
    return True


def _still_filled(parent: int, name: str) -> bool:
    try:
        fd = _open(parent, name)
    except OSError as error:
        if error.errno in VANISHED:
            return True  # something else lies there now, or nothing: to be looked at again
        raise
    try:
        with os.scandir(fd) as entries:
            return next(entries, None) is not None
    finally:
        os.close(fd)


def _close(level: _Level) -> None:
    if level.fd >= 0:
        os.close(level.fd)
        level.fd = -1

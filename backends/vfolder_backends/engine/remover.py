"""The part of a removal that processes can share: everything but directories."""

import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from vfolder_backends.engine.budget import Budget
from vfolder_backends.engine.spans import Path
from vfolder_backends.engine.stop import Stop, Stopped
from vfolder_backends.engine.walk import Deed, Handler


class Remover(Handler[tuple[str, bool]]):
    """Removes all but directories.

    A failure is not told here; who comes after meets it again.
    """

    batch = 256

    def __init__(self, budget: Budget) -> None:
        super().__init__()
        self._budget = budget
        self._untold = 0  # removed of a batch that was not finished

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


def helping(fds: Sequence[int], given: Any, stop: Stop) -> Remover:
    """One in a helper process, which may use what it borrows."""
    return Remover(Budget(0, stop.stop_at, asked=lambda: stop.reached))

"""How much may be removed in one go, and how fast: what several threads and processes share."""

import sys
import threading
import time
from collections.abc import Callable
from typing import Final

from vfolder_backends.engine.stop import Stop

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

"""A circuit breaker: an array that does not answer is asked again only once in a while.

Closed, every call goes through. After some failures in a row it opens: calls fail at once. After a
pause it is half open: one call goes through and decides.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from vfolder_backends.errors import Unavailable
from vfolder_backends.facts import Circuit

_FAILURES: Final = 5
_FIRST_PAUSE: Final = 2.0
_LONGEST_PAUSE: Final = 30.0


class Breaker:
    """The breaker of one array; belongs to one event loop.

    Args:
        array: its name, for messages.
        clock: seconds that only go forward.
    """

    def __init__(self, array: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._array = array
        self._clock = clock
        self._failures = 0
        self._pause = _FIRST_PAUSE
        self._open_until: float | None = None
        self._trial = False
        self._cause = ""

    @property
    def state(self) -> Circuit:
        """Where it is."""
        if self._open_until is None:
            return Circuit.CLOSED
        return Circuit.OPEN if self._clock() < self._open_until else Circuit.HALF_OPEN

    @contextmanager
    def passage(self) -> Iterator[None]:
        """Let one call through; inside, `succeeded` or `failed` tells how it went.

        A caller that leaves early, at its own deadline, tells nothing.

        Raises:
            Unavailable: open, or half open with the one trial under way.
        """
        state = self.state
        if state is Circuit.OPEN or (state is Circuit.HALF_OPEN and self._trial):
            raise Unavailable(
                f"{self._array} failed {self._failures} times in a row and is left alone for a"
                f" moment; last: {self._cause}"
            )
        trial = state is Circuit.HALF_OPEN
        self._trial = self._trial or trial
        try:
            yield
        finally:
            if trial:
                self._trial = False

    def succeeded(self) -> None:
        """An answer came, be it a refusal."""
        self._failures, self._pause, self._open_until = 0, _FIRST_PAUSE, None

    def failed(self, cause: str) -> None:
        """No answer came, or one that says that the array cannot work now."""
        self._failures += 1
        self._cause = cause
        if self._failures < _FAILURES:
            return
        if self._open_until is not None:
            self._pause = min(self._pause * 2, _LONGEST_PAUSE)
        self._open_until = self._clock() + self._pause

"""When a long piece of work has to stop: at a time, when somebody asks, or both."""

import time
from collections.abc import Callable
from typing import Final

_GLANCE: Final = 0.05


class Stopped(Exception):
    """The work was stopped before its end; raised only inside the engine."""


class Stop:
    """Looked at between any two steps; may be shared by threads.

    Args:
        stop_at: `time.monotonic()` after which nothing more is begun.
        asked: says whether somebody asked to stop, such as `threading.Event().is_set`.
    """

    def __init__(
        self, stop_at: float = float("inf"), asked: Callable[[], bool] | None = None
    ) -> None:
        self.stop_at = stop_at
        self._asked = asked

    @property
    def reached(self) -> bool:
        """Whether to stop."""
        return time.monotonic() >= self.stop_at or (self._asked is not None and self._asked())

    def check(self) -> None:
        """Raise `Stopped` when it is time to stop."""
        if self.reached:
            raise Stopped

    def wait(self, seconds: float) -> bool:
        """Wait that long unless it is time to stop before; returns whether it is."""
        until = time.monotonic() + seconds
        while not self.reached:
            left = until - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(left, _GLANCE))
        return True

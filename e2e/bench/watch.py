"""When objects reach a phase, seen by one watch: polling would take the processors' time away."""

import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import IO

from e2e.cluster import RigError

_FORMAT = '{.type} {.object.metadata.name} {.object.status.phase}{"\\n"}'


class Watch:
    """Notes the time at which each object first is in a phase, and at which it goes.

    Args:
        kubectl: the command line that stands for `kubectl`.
        environment: of that program.
        words: what to watch, as `kubectl get` names it.
        phase: the phase that is waited for.
    """

    def __init__(
        self,
        kubectl: Sequence[str],
        environment: Mapping[str, str],
        words: Sequence[str],
        phase: str,
    ) -> None:
        listing = (
            "get",
            *words,
            "--watch",
            "--output-watch-events",
            f"--output=jsonpath={_FORMAT}",
        )
        self._argv = [*kubectl, *listing]
        self._environment = environment
        self._what = f"{words[0]} {phase}"
        self._phase = phase
        self._changed = threading.Condition()
        self._reached: dict[str, float] = {}
        self._present: dict[str, str] = {}
        self._left = 0.0

    def __enter__(self) -> "Watch":
        self._process = subprocess.Popen(
            self._argv, env=dict(self._environment), stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,))
        self._reader.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.wait()
        self._reader.join()

    def _read(self, lines: IO[str]) -> None:
        with lines:
            for line in lines:
                self.note(line, time.monotonic())

    def note(self, line: str, now: float) -> None:
        """Take one line of the watch."""
        event, name, phase = line.rstrip("\n").split(" ")
        with self._changed:
            if event == "DELETED":
                self._present.pop(name, None)
                self._left = now
            else:
                self._present[name] = phase
                if phase == self._phase:
                    self._reached.setdefault(name, now)
            self._changed.notify_all()

    def until_reached(self, count: int, seconds: float) -> float:
        """Wait until `count` objects are in the phase at once; returns when the last one came.

        Raises:
            RigError: not within `seconds`.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._in_phase() >= count, seconds):
                raise RigError(f"{self._what}: {self._in_phase()} of {count} within {seconds:g} s")
            return sorted(self._reached.values())[count - 1]

    def _in_phase(self) -> int:
        return sum(phase == self._phase for phase in self._present.values())

    def until_gone(self, seconds: float) -> float:
        """Wait until there is no object left; returns when the last one went.

        Raises:
            RigError: not within `seconds`.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: not self._present, seconds):
                raise RigError(f"{self._what}: {len(self._present)} left after {seconds:g} s")
            return self._left

"""When objects reach a phase, seen by one watch: polling would take the processors' time away."""

import json
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType

from e2e.cluster import RigError, commands

# The server tells all objects first, then that these were all, then what happens.
_QUERY = (
    "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
)
_ALL_TOLD = "k8s.io/initial-events-end"
_RESTART_SECONDS = 0.1


class Phases:
    """When each object first was in a phase, and when the last one went.

    Args:
        phase: the phase that is waited for.
    """

    def __init__(self, phase: str) -> None:
        self.changed = threading.Condition()
        self.present: dict[str, str] = {}
        self.reached: dict[str, float] = {}
        self.left = 0.0
        self._phase = phase
        self._told: set[str] | None = None

    def begin(self) -> None:
        """A watch begins, perhaps not the first one."""
        self._told = set()

    def note(self, line: str, now: float) -> None:
        """Take one event of the watch, which is JSON, at `now` seconds."""
        event = json.loads(line)
        kind, meta = event["type"], event["object"].get("metadata", {})
        with self.changed:
            if kind in ("ADDED", "MODIFIED"):
                self._put(meta["name"], event["object"].get("status", {}).get("phase", ""), now)
            elif kind == "DELETED":
                self._drop(meta["name"], now)
            elif kind == "BOOKMARK" and _ALL_TOLD in meta.get("annotations", {}):
                for name in self.present.keys() - (self._told or set()):
                    self._drop(name, now)  # it went between two watches
                self._told = None
            self.changed.notify_all()

    def _put(self, name: str, phase: str, now: float) -> None:
        if self._told is not None:
            self._told.add(name)
        self.present[name] = phase
        if phase == self._phase:
            self.reached.setdefault(name, now)

    def _drop(self, name: str, now: float) -> None:
        if self.present.pop(name, None) is not None:
            self.left = now

    @property
    def count(self) -> int:
        """How many objects are in the phase now."""
        return sum(phase == self._phase for phase in self.present.values())


class Watch:
    """A watch that runs while it is entered; where the server ends it, it is begun again.

    Args:
        kubectl: the command line that stands for `kubectl`.
        environment: variables of that program, on top of ours.
        path: the collection's path in the API.
        phase: the phase that is waited for.
    """

    def __init__(
        self, kubectl: Sequence[str], environment: Mapping[str, str], path: str, phase: str
    ) -> None:
        # What kubectl does not parse it passes on fast; the server ends watches that are slow.
        self._argv = [*kubectl, "get", "--raw", f"{path}?{_QUERY}"]
        self._environment = commands.environment(environment)
        self._what = f"{path} {phase}"
        self._phases = Phases(phase)
        self._closing = threading.Event()
        self._reader = threading.Thread(target=self._read)

    def __enter__(self) -> "Watch":
        self._process = self._start()
        self._reader.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing.set()
        while self._reader.is_alive():
            self._process.terminate()
            self._reader.join(_RESTART_SECONDS)

    def _start(self) -> subprocess.Popen[str]:
        self._phases.begin()
        return subprocess.Popen(
            self._argv, env=self._environment, stdout=subprocess.PIPE, text=True
        )

    def _read(self) -> None:
        while True:
            with self._process as process:
                assert process.stdout is not None
                for line in process.stdout:
                    self._phases.note(line, time.monotonic())
            if self._closing.wait(_RESTART_SECONDS):
                return
            self._process = self._start()

    def until_reached(self, count: int, seconds: float) -> float:
        """Wait until `count` objects are in the phase at once; returns when the last one came.

        Raises:
            RigError: not within `seconds`.
        """
        phases = self._phases
        with phases.changed:
            if not phases.changed.wait_for(lambda: phases.count >= count, seconds):
                raise RigError(f"{self._what}: {phases.count} of {count} within {seconds:g} s")
            return sorted(phases.reached.values())[count - 1]

    def until_gone(self, seconds: float) -> float:
        """Wait until there is no object left; returns when the last one went.

        Raises:
            RigError: not within `seconds`.
        """
        phases = self._phases
        with phases.changed:
            if not phases.changed.wait_for(lambda: not phases.present, seconds):
                raise RigError(f"{self._what}: {len(phases.present)} left after {seconds:g} s")
            return phases.left

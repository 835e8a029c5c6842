"""The other end of `helpers`: a process that does spans of a walk, and tells what it did.

A line in is a task, or the word `share` or `stop`; a line out is a batch that is done, a directory
that could not be read, what is given away, or the end of the task. It ends with its parent.
"""

import ctypes
import json
import os
import select
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

from vfolder_backends.engine.copying import Copier
from vfolder_backends.engine.problems import described, general
from vfolder_backends.engine.removal import Remover
from vfolder_backends.engine.spans import Cursor, Path, Span
from vfolder_backends.engine.stop import Stop
from vfolder_backends.engine.usage import Counter
from vfolder_backends.engine.walk import Handler, Task, Walk

_PR_SET_PDEATHSIG: Final = 1

#: By the kind of a `Recipe`: from the descriptors, what it was given, and when to stop.
HANDLERS: Final[dict[str, Callable[[Sequence[int], Any, Stop], Handler[Any]]]] = {
    "usage": lambda fds, given, stop: Counter(os.fstat(fds[0]), None),
    "copy": lambda fds, given, stop: Copier(fds[0], fds[1], stop, None, helping=True),
    "remove": lambda fds, given, stop: Remover.helping(stop),
}


class _Line:
    """What comes in."""

    def __init__(self) -> None:
        self._rest = b""
        self._lines: list[Any] = []
        self.share = self.stop = False

    def _read(self) -> None:
        some = os.read(0, 1 << 16)
        if not some:
            sys.exit()
        *lines, self._rest = (self._rest + some).split(b"\n")
        self._lines += [json.loads(line) for line in lines]

    def task(self) -> Any:
        """Wait for the next task."""
        while True:
            while self._lines:
                if isinstance(message := self._lines.pop(0), dict):
                    self.share = self.stop = False
                    return message
            self._read()

    def stopped(self) -> bool:
        """Whether to stop; looks at what has come."""
        while select.select([0], [], [], 0)[0]:
            self._read()
        for message in self._lines:
            self.share |= message == "share"
            self.stop |= message == "stop"
        self._lines.clear()
        return self.stop


class _ToldWalk(Walk[Any]):
    """Tells of its steps; whom it tells counts."""

    def __init__(self, top: int, handler: Handler[Any], stop: Stop, span: Span, line: _Line):
        super().__init__(top, handler, stop, Cursor([span]))
        self._line = line

    def _pause(self, task: Task, *, reporting: bool) -> None:
        super()._pause(task, reporting=reporting)
        if self._line.share:
            self._line.share = False
            self._share(task)
            _tell("shared", self._queue.pop().start if self._queue else None)

    def _commit(self, task: Task, path: Path, after: str, tally: Any) -> None:
        _tell("done", path, after, tally)

    def _note(self, path: Path, error: OSError) -> None:
        if general(error):
            raise described(error, path) from error
        _tell("left out", path, error.errno)


def _tell(*message: Any) -> None:
    rest = memoryview(json.dumps(message, separators=(",", ":")).encode() + b"\n")
    while rest:
        rest = rest[os.write(1, rest) :]


def main(kind: str, fds: str, given: str) -> None:
    """Do tasks until there is nobody to tell."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return
    line, tops = _Line(), json.loads(fds)
    while True:
        task = line.task()
        start, after, end = task["span"]
        span = Span(tuple(start), after, None if end is None else tuple(end))
        stop = Stop(task["stop_at"], line.stopped)
        handler = HANDLERS[kind](tops, json.loads(given), stop)
        handler.borrow(task["more"])
        walk = _ToldWalk(tops[0], handler, stop, span, line)
        try:
            over = walk.run().done
        except OSError as error:
            _tell("failed", error.errno, error.filename)
        else:
            _tell("over", not over, handler.give_back())

"""The other end of `helpers`: a process that does spans of a walk, and tells what it did.

A line in is a task, or the word `share` or `stop`; a line out is a batch that is done, a directory
that could not be read, what is given away, or the end of the task. It ends with its parent.
"""

import ctypes
import importlib
import json
import os
import select
import signal
import sys
import time
from typing import Any, Final

from vfolder_backends.engine.problems import described, general
from vfolder_backends.engine.spans import Cursor, Path, Span
from vfolder_backends.engine.stop import Stop
from vfolder_backends.engine.walk import Handler, Task, Walk

_PR_SET_PDEATHSIG: Final = 1

_SPELL: Final = 0.02
"""Seconds of work that are told of at once: who is told has work of its own."""


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


class _Voice:
    """What goes out."""

    def __init__(self) -> None:
        self._unsaid: list[bytes] = []
        self._told_at = 0.0

    def later(self, *message: Any) -> None:
        """Tell with what else is done within a moment."""
        self._unsaid.append(json.dumps(message, separators=(",", ":")).encode() + b"\n")
        if time.monotonic() - self._told_at > _SPELL:
            self._tell()

    def now(self, *message: Any) -> None:
        """Tell, after all that was said before."""
        self.later(*message)
        self._tell()

    def _tell(self) -> None:
        rest = memoryview(b"".join(self._unsaid))
        self._unsaid.clear()
        while rest:
            rest = rest[os.write(1, rest) :]
        self._told_at = time.monotonic()


class _ToldWalk(Walk[Any]):
    """Tells of its steps; whom it tells counts."""

    def __init__(
        self, top: int, handler: Handler[Any], stop: Stop, span: Span, line: _Line, voice: _Voice
    ) -> None:
        super().__init__(top, handler, stop, Cursor([span]))
        self._line = line
        self._voice = voice

    def _pause(self, task: Task, *, reporting: bool) -> None:
        super()._pause(task, reporting=reporting)
        if self._line.share:
            self._line.share = False
            self._share(task)
            self._voice.now("shared", self._queue.pop().start if self._queue else None)

    def _commit(self, task: Task, path: Path, after: str, tally: Any) -> None:
        self._voice.later("done", path, after, tally)

    def _note(self, path: Path, error: OSError) -> None:
        if general(error):
            raise described(error, path) from error
        self._voice.later("left out", path, error.errno)


def main(module: str, fds: str, given: str) -> None:
    """Do tasks until there is nobody to tell."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return
    make = importlib.import_module(f"{__package__}.{module}").helping
    line, voice, tops = _Line(), _Voice(), json.loads(fds)
    while True:
        task = line.task()
        start, after, end = task["span"]
        span = Span(tuple(start), after, None if end is None else tuple(end))
        stop = Stop(task["stop_at"], line.stopped)
        handler = make(tops, json.loads(given), stop)
        handler.borrow(task["more"])
        walk = _ToldWalk(tops[0], handler, stop, span, line, voice)
        try:
            over = walk.run().done
        except OSError as error:
            voice.now("failed", error.errno, error.filename)
        else:
            voice.now("over", not over, handler.give_back())

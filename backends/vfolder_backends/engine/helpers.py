"""Walks that share their work with processes, because threads of one interpreter cannot.

Where calls are answered from memory, the interpreter's lock is what a walk waits for. A helper is
the same program, started for one walk, with nothing but its part of the engine in it. It is handed
a span, tells at short intervals which batches it has done, gives half of what it has left when it
is asked to, and ends with our end of its pipe. A helper that dies loses nothing: what it told of is
done, the rest goes back.
"""

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from vfolder_backends.engine.spans import Cursor, Span
from vfolder_backends.engine.stop import Stop, Stopped
from vfolder_backends.engine.walk import Do, Gone, Handler, Item, Report, Task, Walk

HELPERS: Final = min(4, len(os.sched_getaffinity(0))) - 1
"""One process for each processor, up to four; the calling one works, too."""

_ROOT: Final = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
_PROGRAM: Final = (
    "import sys; sys.path.insert(0, sys.argv[1]);"
    "from vfolder_backends.engine.helper import main; main(*sys.argv[2:])"
)
_GLANCE: Final = 0.05
_WORTH: Final = 0.005  # seconds of walking after which a helper may still pay for its start


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a helper makes the walk's handler.

    Attributes:
        module: of the engine; its `helping` makes the handler from the descriptors, from `given`,
            and from when to stop.
        others: descriptors it needs besides the top's.
        given: JSON for it.
        held: descriptors that it only keeps open, such as one with a lock on what it works on: it
            may outlive us for a moment.
    """

    module: str
    others: Sequence[int] = ()
    given: Any = None
    held: Sequence[int] = ()


class _Helper:
    def __init__(self, top: int, recipe: Recipe) -> None:
        fds = top, *recipe.others
        command = [sys.executable, "-I", "-S", "-c", _PROGRAM, _ROOT, recipe.module]
        self._process = subprocess.Popen(
            [*command, json.dumps(fds), json.dumps(recipe.given)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(*fds, *recipe.held),
            bufsize=0,
            process_group=0,  # what a terminal says to us is not for it
        )
        self._rest = b""

    def say(self, message: Any) -> None:
        assert self._process.stdin is not None  # noqa: S101 - as started above
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
        except BrokenPipeError as error:
            raise Gone from error

    def hear(self) -> list[Any]:
        """What it told since, after waiting for a moment."""
        assert self._process.stdout is not None  # noqa: S101 - as started above
        out = self._process.stdout.fileno()
        if not select.select([out], [], [], _GLANCE)[0]:
            return []
        some = os.read(out, 1 << 16)
        if not some:
            raise Gone
        *lines, self._rest = (self._rest + some).split(b"\n")
        return [json.loads(line) for line in lines]

    def end(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.kill()
        self._process.wait()


class HelpedWalk(Walk[Item]):
    """A walk by the calling thread and by helper processes.

    Args:
        helpers: how many; they start when the walk takes longer than their start does.
        recipe: how they make the handler.
    """

    def __init__(
        self,
        top: int,
        handler: Handler[Item],
        stop: Stop,
        cursor: Cursor,
        helpers: int,
        recipe: Recipe,
        report: Report | None = None,
        report_every: float = 1.0,
    ) -> None:
        super().__init__(top, handler, stop, cursor, 1, report, report_every)
        self._recipe = recipe
        self._missing = helpers
        self._begun = time.monotonic()
        self._helpers: list[_Helper] = []

    def run(self) -> Cursor:
        """As `Walk.run`."""
        try:
            return super().run()
        finally:
            for helper in self._helpers:
                helper.end()

    def _pause(self, task: Task, *, reporting: bool) -> None:
        super()._pause(task, reporting=reporting)
        if self._missing and time.monotonic() - self._begun > _WORTH:
            for _ in range(self._missing):
                self._helpers.append(_Helper(self._top, self._recipe))
                self._hire(self._standing_for(self._helpers[-1]))
            self._missing = 0

    def _standing_for(self, helper: _Helper) -> Do:
        def do(task: Task, *, reporting: bool) -> None:
            self._help(helper, task)

        return do

    def _help(self, helper: _Helper, task: Task) -> None:
        span = [task.start, task.after, task.end]
        more = self._handler.lend()
        helper.say({"span": span, "stop_at": self._stop.stop_at, "more": more})
        stopping = asked = False
        while True:
            if not stopping and (self._failure is not None or self._stop.reached):
                helper.say("stop")
                stopping = True
            elif not (stopping or asked) and self._wanted:
                helper.say("share")
                asked = True
            for kind, *rest in helper.hear():
                if kind == "shared":
                    asked = False
                if self._told(task, kind, rest):
                    return

    def _told(self, task: Task, kind: str, rest: list[Any]) -> bool:
        if kind == "done":
            path, after, tally = rest
            self._handler.settle(tally)
            self._commit(task, tuple(path), after, tally)
        elif kind == "left out":
            self._note(tuple(rest[0]), OSError(rest[1], os.strerror(rest[1])))
        elif kind == "shared" and rest[0] is not None:
            start = tuple(rest[0])
            with self._changed:
                self._queue.append(Task(Span(start, None, task.end)))
                task.end = start
                self._changed.notify()
        elif kind == "failed":
            raise OSError(rest[0], os.strerror(rest[0]), rest[1])
        elif kind == "over":
            self._handler.returned(rest[1])
            if rest[0]:
                raise Stopped
            return True
        return False

"""The walk that counting, visiting, copying and comparing are built on.

Directories come in the order of `spans`, each before what it holds. Their entries are handed over
in batches, sorted by name, and a batch counts together with the step of the cursor past it, under
one lock: what is counted is counted once, however often the walk is stopped and resumed. A batch
under way at a kill is handed over again.

Several threads share a walk by halving what one has still to do. The interpreter's lock is free
during system calls, so this pays where calls take time: on a network, on a cold disk, in writes.

If the tree changes meanwhile: what is there from the first to the last moment and is not moved is
met once; what comes, goes or is renamed may be met or not, a file renamed forward twice. No entry
is met outside the tree, except below a directory that was moved out while the walk was inside.
"""

import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from vfolder_backends.engine.descent import Descent
from vfolder_backends.engine.problems import Problems, described, general, reason_of
from vfolder_backends.engine.spans import Cursor, Path, Span
from vfolder_backends.engine.stop import Stop, Stopped

Item = TypeVar("Item")
Report = Callable[[Cursor], None]
"""Called about once a second by the thread that called `run`, to store the cursor or tell of it."""


class Deed(NamedTuple):
    """What was done with a batch.

    Attributes:
        done: how many of its items; fewer than given when it is time to stop, but at least one.
        below: names of directories among them to walk into.
        tally: handed to `commit`; JSON, because a helper process may be what did it.
    """

    done: int
    below: Sequence[str]
    tally: Any


class Handler(ABC, Generic[Item]):
    """What a walk does with the entries. All but `commit` and `state` may run in several threads.

    Attributes:
        batch: how many items are handed over at once.
        problems: what could not be read; part of the state.
    """

    batch = 1024

    def __init__(self) -> None:
        self.problems = Problems()

    @abstractmethod
    def read(self, fd: int) -> list[Item]:
        """List an open directory, sorted by name."""

    @abstractmethod
    def name(self, item: Item) -> str:
        """The name of an item."""

    @abstractmethod
    def act(self, fd: int, path: Path, items: Sequence[Item]) -> Deed:
        """Do the work on some entries of the open directory `path`."""

    def leave(self, fd: int, path: Path) -> None:
        """Called when all below a directory is done; only for walks by one thread."""

    def unreadable(self, path: Path, error: OSError) -> None:
        """Called for a directory that cannot be listed; under the walk's lock."""
        self.problems.add(path, reason_of(error))

    def rest(self) -> None:
        """Called by a thread that has no work for now, to close what it holds open."""

    def pulse(self) -> None:
        """For handlers to call within long work; the walk puts its reporting here."""

    def settle(self, tally: Any) -> None:
        """Called here with the tally of a helper process, before `commit`: to do what it left."""

    def lend(self) -> Any:
        """What a helper process is given with a task, as JSON."""

    def borrow(self, lent: Any) -> None:
        """Called in the helper with what `lend` gave."""

    def give_back(self) -> Any:
        """What a helper process returns at the end of a task, as JSON."""

    def returned(self, given_back: Any) -> None:
        """Called with what `give_back` gave."""

    @abstractmethod
    def commit(self, tally: Any) -> None:
        """Count what was done; under the walk's lock."""

    @abstractmethod
    def state(self) -> Any:
        """All counted so far, for the cursor; under the walk's lock."""


class Gone(Exception):
    """Whoever did a task cannot go on; somebody else does the rest."""


class Do(Protocol):
    """Does a task to its end, or raises `Stopped`."""

    def __call__(self, task: "Task", *, reporting: bool) -> None:
        """Do it."""


class Task:
    """What one thread has still to do of a walk.

    Attributes:
        first: the span it begins with; `start`, `after` and `end` are that span's rest.
        parts: the path of the directory it is in.
        levels: for that directory and all above it the directories to do, last one first.
    """

    def __init__(self, span: Span) -> None:
        self.first = span
        self.start, self.after, self.end = span
        self.parts: list[str] = []
        self.levels: list[list[str]] = []

    @property
    def span(self) -> Span:
        """What is left."""
        return Span(self.start, self.after, self.end)


class Walk(Generic[Item]):
    """One walk below the open directory `top`; to be run once.

    Args:
        top: an open directory; the walk hands over what lies in it, not the directory itself.
        handler: what is done with it.
        stop: when to stop.
        cursor: where to go on; the handler must have taken its state.
        threads: how many work at once, the calling one included.
        report: see `Report`.
        report_every: seconds between two reports.
    """

    def __init__(
        self,
        top: int,
        handler: Handler[Item],
        stop: Stop,
        cursor: Cursor,
        threads: int = 1,
        report: Report | None = None,
        report_every: float = 1.0,
    ) -> None:
        self._top = top
        self._handler = handler
        self._leaves = type(handler).leave is not Handler.leave
        self._stop = stop
        self._threads = threads
        self._report = report
        self._every = report_every
        self._next_report = time.monotonic() + report_every
        self._changed = threading.Condition()
        self._queue = [Task(span) for span in reversed(cursor.spans)]
        self._active: list[Task] = []
        self._left: list[Task] = []
        self._hired: list[threading.Thread] = []
        self._idle = 0
        self._failure: BaseException | None = None

    def cursor(self) -> Cursor:
        """Where the walk is, at any time and from any thread."""
        with self._changed:
            tasks = [*self._left, *self._active, *self._queue]
            spans = sorted((task.span for task in tasks), key=lambda span: span.start)
            return Cursor(spans, self._handler.state())

    def run(self) -> Cursor:
        """Walk to the end, or until it is time to stop, and return where it ended.

        Raises:
            OSError: the top could not be read, or what the handler raised; `cursor` is still good.
        """
        caller = threading.get_ident()

        def pulse() -> None:
            if threading.get_ident() == caller:
                self._tick()

        self._handler.pulse = pulse  # type: ignore[method-assign] # as its docstring says
        for _ in range(self._threads - 1):
            self._hire(self._do)
        self._work(self._do, reporting=True)
        for other in self._hired:
            other.join()
        if self._failure is not None:
            raise self._failure
        return self.cursor()

    def _hire(self, do: Do) -> None:
        other = threading.Thread(target=self._work, args=(do,), name="walk", daemon=True)
        self._hired.append(other)
        other.start()

    def _work(self, do: Do, *, reporting: bool = False) -> None:
        while (task := self._take(reporting=reporting)) is not None:
            over = False
            try:
                do(task, reporting=reporting)
                over = True
            except Stopped:
                pass
            except Gone:
                with self._changed:
                    self._queue.append(Task(task.span))
                    self._active.remove(task)
                    self._changed.notify_all()
                return
            except BaseException as error:  # noqa: BLE001 - raised by `run`
                self._failure = self._failure or error
            self._handler.rest()
            with self._changed:
                self._active.remove(task)
                if not over:
                    self._left.append(task)
                self._changed.notify_all()

    def _take(self, *, reporting: bool) -> Task | None:
        while True:
            with self._changed:
                if self._failure is not None or not (self._queue or self._active):
                    return None
                if self._queue:
                    task = self._queue.pop()
                    self._active.append(task)
                    return task
                self._idle += 1
                self._changed.wait(self._every if reporting else None)
                self._idle -= 1
            if reporting:
                try:
                    self._tick()
                except BaseException as error:  # noqa: BLE001 - raised by `run`
                    self._failure = error

    def _tick(self) -> None:
        if self._report is not None and time.monotonic() >= self._next_report:
            self._report(self.cursor())
            self._next_report = time.monotonic() + self._every

    def _pause(self, task: Task, *, reporting: bool) -> None:
        if self._failure is not None:
            raise Stopped
        self._stop.check()
        if reporting:
            self._tick()
        if self._wanted:
            self._share(task)

    @property
    def _wanted(self) -> bool:
        return self._idle > len(self._queue)

    def _share(self, task: Task) -> None:
        depth = next((at for at, level in enumerate(task.levels) if level), None)
        if depth is None:
            return
        level = task.levels[depth]
        given = level[: (len(level) + 1) // 2]
        start = (*task.parts[:depth], given[-1])
        with self._changed:
            del level[: len(given)]
            other = Task(Span(start, None, task.end))
            other.parts, other.levels = task.parts[:depth], [[] for _ in range(depth)] + [given]
            task.end = start
            self._queue.append(other)
            self._changed.notify()

    def _do(self, task: Task, *, reporting: bool) -> None:
        descent = Descent(self._top)
        try:
            if not task.levels:
                self._enter(task, descent, (), reporting=reporting)
            while (path := self._next(task, descent)) is not None:
                self._enter(task, descent, path, reporting=reporting)
        finally:
            descent.close()

    def _next(self, task: Task, descent: Descent) -> Path | None:
        while task.levels:
            if pending := task.levels[-1]:
                path = (*task.parts, pending.pop())
                with self._changed:
                    if path > task.start:
                        task.start, task.after = path, None
                task.parts.append(path[-1])
                return path
            if self._leaves:  # from deep down the way back to each is long
                path = tuple(task.parts)
                try:
                    self._handler.leave(descent.open(path), path)
                except OSError as error:
                    self._note(path, error)
            task.levels.pop()
            if task.parts:
                task.parts.pop()
        return None

    def _enter(self, task: Task, descent: Descent, path: Path, *, reporting: bool) -> None:
        span, below = task.first, list[str]()
        inside = span.holds(path)
        if inside:  # on the way back to where it was nothing is gained by stopping
            self._pause(task, reporting=reporting)
        try:
            fd = descent.open(path)
            if not inside or (path == span.start and span.after is not None):
                below += _directories(fd)
            items = self._handler.read(fd) if inside else []
        except OSError as error:
            if not path:
                raise
            self._note(path, error)
            task.parts.pop()  # it is not entered, and so not left
            return
        if inside and path == span.start and span.after is not None:
            items = [item for item in items if self._handler.name(item) > span.after]
            below = [name for name in below if name <= span.after]
        at = 0
        while at < len(items):
            if at:
                self._pause(task, reporting=reporting)
            deed = self._handler.act(fd, path, items[at : at + self._handler.batch])
            at += deed.done
            below += deed.below
            self._commit(task, path, self._handler.name(items[at - 1]), deed.tally)
        below.sort(reverse=True)
        limits = Span(span.start, None, task.end)
        if not inside or task.end is not None:
            below = [name for name in below if limits.meets((*path, name))]
        task.levels.append(below)

    def _commit(self, task: Task, path: Path, after: str, tally: Any) -> None:
        with self._changed:
            self._handler.commit(tally)
            task.start, task.after = path, after

    def _note(self, path: Path, error: OSError) -> None:
        if general(error):
            raise described(error, path) from error
        with self._changed:
            self._handler.unreadable(path, error)


def _directories(fd: int) -> list[str]:
    with os.scandir(fd) as entries:
        return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]

"""One keyed queue between what happens and what is done about it.

A key is an object. However many events say that it should be looked at, it waits in the queue once;
while it is being worked on, further events make it run once more afterwards, never twice at a time.
A run that fails, or that is waiting for something, comes back by itself after a growing delay.

Keys run in lanes, one per storage: a storage that hangs fills its own lane and no other.
"""

import asyncio
import heapq
import itertools
import logging
import random
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

log = logging.getLogger(__name__)

FIRST_BACKOFF = 0.5
LAST_BACKOFF = 60.0
"""Seconds; also how long something that is mended without an event may go unnoticed."""


def backoff(attempt: int) -> float:
    """Seconds to wait after the nth failure in a row (from 1), with jitter against herds."""
    delay = min(FIRST_BACKOFF * 2.0 ** min(attempt - 1, 20), LAST_BACKOFF)
    return delay * random.uniform(0.8, 1.2)  # noqa: S311 - not for secrets


class Retry(Exception):
    """Raised by work that wants its key back after the growing delay, without a word in the log."""


class WorkQueue(Generic[K]):
    """Runs `work(key)` for every key that was added.

    `work` returns the seconds after which the key wants to be looked at again, or None. An
    exception means: again after a back-off that grows with each failure in a row.

    Args:
        work: what is done for a key.
        lane: the lane of a key, asked when the key is added.
        workers: keys that run at one time.
        per_lane: keys of one lane that run at one time.
    """

    def __init__(
        self,
        work: Callable[[K], Awaitable[float | None]],
        lane: Callable[[K], str],
        workers: int,
        per_lane: int,
    ) -> None:
        self._work = work
        self._lane = lane
        self._workers = workers
        self._per_lane = per_lane
        self._lanes: dict[str, deque[K]] = {}
        self._busy: Counter[str] = Counter()
        self._waiting: set[K] = set()  # in a lane
        self._running: set[K] = set()
        self._dirty: set[K] = set()  # added again while running
        self._failures: dict[K, int] = {}
        self._due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._order = itertools.count()
        self._tick = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, key: K, *, first: bool = False) -> None:
        """Have the key looked at now; `first` goes ahead of all that wait in its lane."""
        self._due.pop(key, None)
        if key in self._running:
            self._dirty.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            lane = self._lanes.setdefault(self._lane(key), deque())
            (lane.appendleft if first else lane.append)(key)
            self._dispatch()

    def add_after(self, key: K, seconds: float) -> None:
        """Have the key looked at later; the earlier of two dates counts."""
        when = asyncio.get_running_loop().time() + seconds
        if key in self._waiting or self._due.get(key, when + 1) <= when:
            return
        self._due[key] = when
        heapq.heappush(self._heap, (when, next(self._order), key))
        self._tick.set()

    def forget(self, key: K) -> None:
        """Drop the memory of a key whose object is gone."""
        self._due.pop(key, None)
        self._failures.pop(key, None)

    async def drain(self, seconds: float) -> None:
        """Start nothing more, and give what runs some time to end."""
        self._lanes.clear()
        self._waiting.clear()
        self._workers = 0
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while self._running and loop.time() < end:
            await asyncio.wait(self._tasks, timeout=end - loop.time())

    @property
    def depth(self) -> int:
        """Keys that wait to be looked at now."""
        return len(self._waiting)

    async def run(self) -> None:
        """Work until cancelled; running work is then cancelled and awaited."""
        try:
            async with asyncio.TaskGroup() as self._group:
                self._dispatch()
                await self._alarm()
        finally:
            self._group = None

    def _dispatch(self) -> None:
        """Start what may start, lane by lane, one key of each at a time."""
        if self._group is None:
            return
        progress = True
        while progress and len(self._running) < self._workers:
            progress = False
            for lane, keys in list(self._lanes.items()):
                if len(self._running) >= self._workers:
                    return
                if not keys:
                    del self._lanes[lane]
                elif self._busy[lane] < self._per_lane:
                    self._start(keys.popleft(), lane)
                    progress = True

    def _start(self, key: K, lane: str) -> None:
        assert self._group is not None  # noqa: S101 - only _dispatch calls this
        self._waiting.discard(key)
        self._running.add(key)
        self._busy[lane] += 1
        task = self._group.create_task(self._run_one(key, lane))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run_one(self, key: K, lane: str) -> None:
        again: float | None
        try:
            again = await self._work(key)
            self._failures.pop(key, None)
        except Retry:
            again = self._failed(key)
        except Exception:  # the one place where work may fail in any way
            again = self._failed(key)
            log.exception("reconcile failed", extra={"key": str(key), "retryInSeconds": again})
        finally:
            self._running.discard(key)
            self._busy[lane] -= 1
        if key in self._dirty:
            self._dirty.discard(key)
            self.add(key)
        elif again is not None:
            self.add_after(key, again)
        self._dispatch()

    def _failed(self, key: K) -> float:
        attempt = self._failures[key] = self._failures.get(key, 0) + 1
        return backoff(attempt)

    async def _alarm(self) -> None:
        """Add keys when their time has come."""
        loop = asyncio.get_running_loop()
        while True:
            self._tick.clear()
            while self._heap and self._heap[0][0] <= loop.time():
                when, _, key = heapq.heappop(self._heap)
                if self._due.get(key) == when:
                    self.add(key)
            delay = self._heap[0][0] - loop.time() if self._heap else None
            try:
                async with asyncio.timeout(delay):
                    await self._tick.wait()
            except TimeoutError:
                continue

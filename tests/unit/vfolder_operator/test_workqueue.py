"""The queue: once at a time, once more when dirty, back-off, lanes."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from vfolder_operator.workqueue import LAST_BACKOFF, Retry, WorkQueue, backoff


@contextlib.asynccontextmanager
async def running(
    work: Callable[[str], Awaitable[float | None]], workers: int = 8, per_lane: int = 8
) -> AsyncIterator[WorkQueue[str]]:
    queue: WorkQueue[str] = WorkQueue(work, lambda key: key[0], workers, per_lane)
    task = asyncio.create_task(queue.run())
    try:
        async with asyncio.timeout(10):
            yield queue
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_a_key_added_often_runs_once_and_once_more_when_added_while_running() -> None:
    runs: Counter[str] = Counter()
    started, go = asyncio.Event(), asyncio.Event()

    async def work(key: str) -> None:
        runs[key] += 1
        started.set()
        await go.wait()

    async with running(work) as queue:
        for _ in range(5):
            queue.add("a")
        await started.wait()
        for _ in range(5):
            queue.add("a")
        go.set()
        while runs["a"] < 2:
            await asyncio.sleep(0)
        for _ in range(20):
            await asyncio.sleep(0)
    assert runs == {"a": 2}


async def test_a_key_never_runs_twice_at_a_time() -> None:
    inside: Counter[str] = Counter()
    seen: list[int] = []
    done = asyncio.Event()

    async def work(key: str) -> None:
        inside[key] += 1
        seen.append(inside[key])
        queue.add(key)
        await asyncio.sleep(0)
        inside[key] -= 1
        if len(seen) > 20:
            done.set()

    async with running(work) as queue:
        queue.add("a")
        await done.wait()
    assert set(seen) == {1}


async def test_a_lane_that_hangs_holds_up_no_other() -> None:
    done: list[str] = []
    never = asyncio.Event()

    async def work(key: str) -> None:
        if key.startswith("h"):
            await never.wait()
        done.append(key)

    async with running(work, workers=4, per_lane=2) as queue:
        for n in range(10):
            queue.add(f"h{n}")
        for n in range(10):
            queue.add(f"o{n}")
        while len(done) < 10:
            await asyncio.sleep(0)
    assert sorted(done) == [f"o{n}" for n in range(10)]


@pytest.mark.parametrize("error", [Retry("told"), RuntimeError("not told")])
async def test_what_fails_comes_back(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    attempts = asyncio.Event()
    count = 0

    async def work(key: str) -> None:
        nonlocal count
        count += 1
        if count == 1:
            raise error
        attempts.set()

    async with running(work) as queue:
        queue.add("a")
        await attempts.wait()
    assert count == 2
    assert ("reconcile failed" in caplog.text) is isinstance(error, RuntimeError)


async def test_the_earlier_of_two_dates_counts_and_an_event_beats_both() -> None:
    times: list[float] = []
    ran = asyncio.Event()

    async def work(key: str) -> None:
        times.append(asyncio.get_running_loop().time())
        ran.set()

    async with running(work) as queue:
        queue.add_after("a", 60)
        queue.add_after("a", 0.01)
        await ran.wait()
        ran.clear()
        queue.add_after("a", 60)
        queue.add("a")
        await ran.wait()
    assert len(times) == 2


async def test_what_is_nearly_done_goes_first() -> None:
    done: list[str] = []
    started, go = asyncio.Event(), asyncio.Event()

    async def work(key: str) -> None:
        started.set()
        await go.wait()
        done.append(key)

    async with running(work, workers=1) as queue:
        queue.add("a0")
        await started.wait()
        queue.add("a1")
        queue.add("a2", first=True)
        go.set()
        while len(done) < 3:
            await asyncio.sleep(0)
    assert done == ["a0", "a2", "a1"]


async def test_draining_lets_running_work_end_and_starts_nothing() -> None:
    started, ended = asyncio.Event(), asyncio.Event()
    done: list[str] = []

    async def work(key: str) -> None:
        started.set()
        await ended.wait()
        done.append(key)

    async with running(work, workers=1) as queue:
        queue.add("a")
        queue.add("b")
        await started.wait()
        drain = asyncio.create_task(queue.drain(5))
        await asyncio.sleep(0)
        ended.set()
        await drain
    assert done == ["a"]


def test_backoff_grows_to_its_cap() -> None:
    delays = [backoff(n) for n in (1, 2, 5, 30, 10_000)]
    assert delays == sorted(delays[:3]) + delays[3:]
    assert delays[0] < 1
    assert all(d <= LAST_BACKOFF * 1.2 for d in delays)

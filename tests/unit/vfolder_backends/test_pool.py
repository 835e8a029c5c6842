import asyncio
import contextvars
import subprocess
import sys
import threading
import time

import pytest

from vfolder_backends.errors import DeadlineExceeded, Unavailable
from vfolder_backends.pool import BoundedPool


@pytest.fixture
def release():
    event = threading.Event()
    yield event
    event.set()


async def test_results_and_errors_come_back():
    pool = BoundedPool("b", 2, 5.0)
    assert await pool.run(lambda a, b: a + b, 1, b=2) == 3
    with pytest.raises(KeyError):
        await pool.run({}.__getitem__, "x")
    with pytest.raises(TimeoutError, match="from inside"):
        await pool.run(_raise, TimeoutError("from inside"))
    pool.close()


def _raise(error):
    raise error


async def test_never_more_than_its_size_at_once():
    pool, lock = BoundedPool("b", 3, 5.0), threading.Lock()
    now, most = 0, 0

    def work():
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.005)
        with lock:
            now -= 1

    await asyncio.gather(*(pool.run(work) for _ in range(30)))
    assert most == 3
    pool.close()


async def test_stuck_call_leaves_its_caller_and_keeps_its_place(release):
    pool = BoundedPool("b", 2, 0.1)
    with pytest.raises(DeadlineExceeded, match=r"'b'.*0\.1 s"):
        await pool.run(release.wait)
    assert pool.stuck == 1
    assert await pool.run(lambda: "the other place works") == "the other place works"
    pool.close()


async def test_all_stuck_fails_at_once_and_recovers(release):
    pool = BoundedPool("b", 2, 0.2)
    results = await asyncio.gather(
        *(pool.run(release.wait) for _ in range(2)), return_exceptions=True
    )
    assert [type(result) for result in results] == [DeadlineExceeded] * 2
    ran = False

    def must_not_run():
        nonlocal ran
        ran = True

    begun = time.monotonic()
    with pytest.raises(Unavailable, match="does not answer"):
        await pool.run(must_not_run)
    assert time.monotonic() - begun < 0.1
    release.set()
    async with asyncio.timeout(5):
        while pool.stuck:
            await asyncio.sleep(0.01)
    assert not ran
    assert await pool.run(lambda: "well again") == "well again"
    pool.close()


async def test_waiting_for_a_place_ends_at_the_callers_own_deadline(release):
    pool = BoundedPool("b", 1, 0.2)
    first = asyncio.create_task(pool.run(release.wait))
    await asyncio.sleep(0)
    ran = []
    begun = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        await pool.run(ran.append, 1)
    assert 0.1 < time.monotonic() - begun < 1.0
    with pytest.raises(DeadlineExceeded):
        await first
    release.set()
    async with asyncio.timeout(5):
        while pool.stuck:
            await asyncio.sleep(0.01)
    assert ran == []
    pool.close()


async def test_cancelled_caller_does_not_free_the_place(release):
    pool = BoundedPool("b", 1, 0.3)
    first = asyncio.create_task(pool.run(release.wait))
    await asyncio.sleep(0.05)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    with pytest.raises(DeadlineExceeded):
        await pool.run(lambda: None)
    pool.close()


async def test_closed_pool_refuses_and_never_blocks(release):
    pool = BoundedPool("b", 1, 0.05)
    with pytest.raises(DeadlineExceeded):
        await pool.run(release.wait)
    pool.close()
    with pytest.raises(Unavailable, match="closed"):
        await pool.run(lambda: None)


async def test_context_reaches_the_thread():
    pool, correlation = BoundedPool("b", 1, 5.0), contextvars.ContextVar("correlation")
    correlation.set("abc")
    assert await pool.run(correlation.get) == "abc"
    pool.close()


def test_a_stuck_thread_does_not_hold_the_process():
    script = """
import asyncio, threading
from vfolder_backends.errors import DeadlineExceeded
from vfolder_backends.pool import BoundedPool

async def main():
    try:
        await BoundedPool("b", 1, 0.05).run(threading.Event().wait)
    except DeadlineExceeded:
        print("left")

asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=20, check=True
    )
    assert done.stdout == "left\n"

import asyncio
import threading
import time

import pytest

from vfolder_csi.errors import DeadlineExceeded, Unavailable
from vfolder_csi.pool import Pool


@pytest.fixture
def hung():
    """A server that does not answer until the test lets it."""
    event = threading.Event()
    yield event
    event.set()


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


async def test_results_and_errors():
    pool = Pool()
    assert await pool.run("a", 5, lambda: 7) == 7
    assert await pool.run("a", None, lambda: None) is None
    with pytest.raises(ZeroDivisionError):
        await pool.run("a", 5, lambda: 1 // 0)


async def test_calls_run_beside_the_loop_and_each_other():
    pool = Pool()
    barrier = threading.Barrier(4, timeout=5)
    await asyncio.gather(*(pool.run("a", 5, barrier.wait) for _ in range(4)))


async def test_a_lane_is_no_wider_than_it_may_be():
    pool = Pool(width=2)
    now, most, lock = 0, 0, threading.Lock()

    def call():
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.005)
        with lock:
            now -= 1

    await asyncio.gather(*(pool.run("a", 5, call) for _ in range(12)))
    assert most == 2


async def test_a_hung_lane_answers_and_then_refuses_while_others_go_on(hung):
    pool = Pool(width=2)
    for _ in range(2):
        with pytest.raises(DeadlineExceeded, match="a: the storage did not answer"):
            await pool.run("a", 0.02, hung.wait)
    begun = time.monotonic()
    with pytest.raises(Unavailable, match="not answered 2 calls"):
        await pool.run("a", 5, lambda: None)
    assert time.monotonic() - begun < 1
    assert await pool.run("b", 5, lambda: "fine") == "fine"
    hung.set()
    async with asyncio.timeout(5):
        while True:
            try:
                assert await pool.run("a", 5, lambda: "back") == "back"
            except Unavailable:
                await asyncio.sleep(0.005)
            else:
                return


async def test_no_free_thread_in_time(hung):
    pool = Pool(width=1)
    first = asyncio.create_task(pool.run("a", 5, hung.wait))
    await asyncio.sleep(0)
    with pytest.raises(DeadlineExceeded, match="no free thread"):
        await pool.run("a", 0.02, lambda: None)
    hung.set()
    assert await first


async def test_a_late_result_is_disposed_of(hung):
    pool, late = Pool(), []

    def call():
        hung.wait()
        return "descriptor"

    with pytest.raises(DeadlineExceeded):
        await pool.run("a", 0.02, call, late=late.append)
    assert late == []
    hung.set()
    await until(lambda: late == ["descriptor"])


async def test_so_is_the_result_of_a_caller_that_went_away(hung):
    pool, late = Pool(), []

    def call():
        hung.wait()
        return "descriptor"

    caller = asyncio.create_task(pool.run("a", None, call, late=late.append))
    await asyncio.sleep(0.01)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    hung.set()
    await until(lambda: late == ["descriptor"])


async def test_a_result_in_time_is_not():
    late = []
    await Pool().run("a", 5, lambda: "mine", late=late.append)
    assert late == []


def test_a_hung_thread_does_not_hold_up_the_end(hung):
    async def main():
        with pytest.raises(DeadlineExceeded):
            await Pool().run("a", 0.02, hung.wait)

    asyncio.run(main())
    assert any(t.name == "pool-a" and t.daemon for t in threading.enumerate())

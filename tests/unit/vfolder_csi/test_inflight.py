import asyncio

import pytest

from vfolder_csi.errors import DeadlineExceeded, OperationPending
from vfolder_csi.inflight import InFlight

KEY = ("volume", "/target")


@pytest.fixture
def gate():
    """A body that has begun, and ends when it is let go."""

    class Gate:
        def __init__(self):
            self.begun, self.go = asyncio.Event(), asyncio.Event()

        async def body(self):
            self.begun.set()
            await self.go.wait()
            return "done"

    return Gate()


async def nothing():
    return None


async def test_the_result_and_the_error_come_through():
    inflight = InFlight()

    async def fails():
        raise KeyError("x")

    assert await inflight.run(KEY, 5, lambda: asyncio.sleep(0, "done")) == "done"
    with pytest.raises(KeyError):
        await inflight.run(KEY, 5, fails)
    await inflight.run(KEY, 5, nothing)


async def test_the_same_key_is_refused_and_another_is_not(gate):
    inflight = InFlight()
    first = asyncio.create_task(inflight.run(KEY, 5, gate.body))
    await gate.begun.wait()
    with pytest.raises(OperationPending, match="volume at /target"):
        await inflight.run(KEY, 5, nothing)
    await inflight.run(("volume", "/other"), 5, nothing)
    gate.go.set()
    assert await first == "done"
    await inflight.run(KEY, 5, nothing)


async def test_two_at_the_very_same_moment():
    inflight = InFlight()
    results = await asyncio.gather(
        *(inflight.run(KEY, 5, nothing) for _ in range(3)), return_exceptions=True
    )
    assert [type(result) for result in results] == [type(None), OperationPending, OperationPending]


async def test_a_cancelled_caller_leaves_the_key_taken(gate):
    inflight = InFlight()
    caller = asyncio.create_task(inflight.run(KEY, 5, gate.body))
    await gate.begun.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    with pytest.raises(OperationPending):
        await inflight.run(KEY, 5, nothing)
    gate.go.set()
    async with asyncio.timeout(5), inflight.hold(*KEY):
        pass
    await inflight.run(KEY, 5, nothing)


async def test_a_deadline_leaves_the_key_taken(gate):
    inflight = InFlight()
    with pytest.raises(DeadlineExceeded, match="goes on"):
        await inflight.run(KEY, 0.01, gate.body)
    with pytest.raises(OperationPending):
        await inflight.run(KEY, 5, nothing)
    gate.go.set()
    async with asyncio.timeout(5), inflight.hold(*KEY):
        pass


async def test_an_error_after_the_caller_has_gone_is_logged(gate, caplog):
    inflight = InFlight()

    async def fails():
        await gate.body()
        raise OperationPending("too late")

    with pytest.raises(DeadlineExceeded):
        await inflight.run(KEY, 0.01, fails)
    gate.go.set()
    async with asyncio.timeout(5), inflight.hold(*KEY):
        pass
    [record] = caplog.records
    assert record.getMessage() == "operation ended after its caller had gone"
    assert record.error == "too late"


async def test_hold_waits_for_its_turn(gate):
    inflight = InFlight()
    order = []

    async def held(name):
        async with inflight.hold(*KEY):
            order.append(name)
            await asyncio.sleep(0)
            order.append(name)

    first = asyncio.create_task(inflight.run(KEY, 5, gate.body))
    await gate.begun.wait()
    others = [asyncio.create_task(held(name)) for name in "ab"]
    await asyncio.sleep(0)
    assert order == []
    gate.go.set()
    await asyncio.gather(first, *others)
    assert order in (list("aabb"), list("bbaa"))

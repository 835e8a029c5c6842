"""A server that never answers, or is gone for good, hurts only its own volumes."""

import asyncio
import threading
import time

import grpc
import pytest

from vfolder_csi._proto import csi_pb2
from vfolder_csi.directory import HostPath
from vfolder_csi.pool import LANE_WIDTH, Pool

ROOT_ID = "0123456789abcdef" * 2


@pytest.fixture
def dead(node):
    path = node.host_root / "dead"
    path.mkdir()
    node.add_backend("dead", HostPath(str(path), ROOT_ID))
    return node.hang(path)


def stuck_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("pool-dead")]


async def test_publish_answers_and_others_go_on(node, dead, fails, eventually):
    broken, healthy = node.folder(1, "dead", make=False), node.folder(2)
    with fails("DEADLINE_EXCEEDED", "dead", "did not answer"):
        await node.publish(broken)

    begun = time.monotonic()
    target = await node.publish(healthy, node.target("pod-2"))
    assert time.monotonic() - begun < node.deadlines.storage
    assert (await node.stats(healthy, target)).usage
    probe = await node.identity.Probe(csi_pb2.ProbeRequest(), timeout=1)
    assert probe.ready.value

    await node.unpublish(broken)
    assert not node.target().exists()
    dead.die()
    await eventually(lambda: not stuck_threads())
    assert node.mounts_at(node.target()) == []
    assert not node.target().exists()


async def test_stuck_threads_are_few(node, dead, fails):
    handles = [node.folder(i, "dead", make=False) for i in range(1, 3 * LANE_WIDTH)]

    async def code(handle, i):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await node.publish(handle, node.target(f"pod-{i}"))
        return caught.value.code().name

    codes = await asyncio.gather(*(code(handle, i) for i, handle in enumerate(handles)))
    assert set(codes) <= {"DEADLINE_EXCEEDED", "UNAVAILABLE"}
    assert len(stuck_threads()) <= LANE_WIDTH

    begun = time.monotonic()
    with fails("UNAVAILABLE", f"has not answered {LANE_WIDTH} calls"):
        await node.publish(handles[0])
    assert time.monotonic() - begun < node.deadlines.storage
    for i, handle in enumerate(handles):
        await node.unpublish(handle, node.target(f"pod-{i}"))


async def test_a_storage_that_comes_back_works_again(node, fails, eventually):
    handle = node.folder()
    hung = node.hang(node.storage)
    for _ in range(2):
        with fails("DEADLINE_EXCEEDED"):
            await node.publish(handle)
    hung.die()
    await eventually(lambda: not stuck_threads())
    node.unmount(node.storage)
    await node.publish(handle)


async def test_the_caller_may_go_away_and_ask_again(node, dead):
    handle = node.folder(1, "dead", make=False)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await node.publish(handle, timeout=0.1)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await node.publish(handle, timeout=0.1)
    assert caught.value.code().name in ("ABORTED", "DEADLINE_EXCEEDED")


async def test_stats_and_unpublish_of_a_dead_target(node, fails):
    handle = node.folder()
    target = await node.publish(handle)
    node.hang(target)
    with fails("DEADLINE_EXCEEDED"):
        await node.stats(handle, target)
    await node.unpublish(handle)
    assert node.mounts_at(target) == []
    assert not target.exists()


async def test_a_target_whose_server_is_gone_is_mounted_anew(node):
    handle = node.folder()
    target = await node.publish(handle)
    node.hang(target).die()
    with pytest.raises(OSError, match="not connected"):
        target.stat()
    await node.publish(handle)
    (target / "file").write_text("works")
    assert len(node.mounts_at(target)) == 1


class FlushingPool(Pool):
    """Unmounting takes the mount away and then hangs, as in a flush to a dead server."""

    def __init__(self):
        super().__init__()
        self.flushed = threading.Event()

    async def run(self, lane, timeout, call, late=None):
        def hanging():
            result = call()
            self.flushed.wait()
            return result

        return await super().run(lane, timeout, hanging if "unmount" in lane else call, late)


async def test_a_flush_that_hangs_does_not_keep_a_pod_from_ending(node, eventually):
    pool = FlushingPool()
    node.pool = pool
    await node.restart()
    handle = node.folder()
    target = await node.publish(handle)
    await node.unpublish(handle)
    assert not target.exists()

    await node.publish(handle)
    pool.flushed.set()
    await eventually(
        lambda: not any(thread.name.endswith("/unmount") for thread in threading.enumerate())
    )
    assert len(node.mounts_at(target)) == 1, "the late thread must not touch the new mount"

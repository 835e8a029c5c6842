"""A file server that goes away, for a while or for good, seen by the node plugin and by pods."""

import asyncio
import hashlib
import os
import subprocess
import threading
import time

import grpc
import pytest
from nfs_site import IMPATIENT, MIB, VERSIONS, new_node
from node_rig import base_folder, eventually, fails

from vfolder_csi._proto import csi_pb2
from vfolder_csi.mounts.targets import Deadlines
from vfolder_csi.pool import LANE_WIDTH

STORAGE, UNMOUNT, SLACK = 2.0, 2.0, 4.0
NOT_STUCK = 90.0
"""In this time a client as impatient as ours gives up all that it asks a dead server."""


@pytest.fixture(params=VERSIONS)
def version(request):
    return request.param


@pytest.fixture
def export(site):
    return site.exports["xfs", "no_root_squash"]


@pytest.fixture
async def node(site, export, version):
    with base_folder() as base:
        node = new_node(base)
        node.deadlines = Deadlines(call=20.0, storage=STORAGE, unmount=UNMOUNT)
        site.connect(node, export, version, *IMPATIENT)
        try:
            await node.start()
            yield node
        finally:
            await node.stop()


def stuck():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("pool-")]


def left_below(folder):
    return [path for path in folder.rglob("*") if path.name == "mount"]


async def bounded(call, seconds):
    """Await a call; how it ends is its own matter, when it ends is not."""
    begun = time.monotonic()
    try:
        await call
        said = "OK"
    except grpc.aio.AioRpcError as error:
        said = error.code().name
    assert time.monotonic() - begun < seconds
    return said


def force(path):
    """Do what an administrator does who gives a server up."""
    subprocess.run(["umount", "-i", "-f", str(path)], timeout=NOT_STUCK, check=False)


async def test_a_writer_goes_on_when_the_server_is_back(site, node, export):
    handle = await site.volume(export)
    await node.stage(handle)
    target = await node.publish(handle)
    data = os.urandom(2 * MIB)
    failures = []

    def write():
        try:
            with open(target / "file", "wb") as file:
                for start in range(0, len(data), MIB // 8):
                    file.write(data[start : start + MIB // 8])
                    os.fsync(file.fileno())
        except OSError as error:
            failures.append(error)

    server = export.path(handle) / "file"
    writer = threading.Thread(target=write, daemon=True)
    with site.gone():
        writer.start()
        with fails("DEADLINE_EXCEEDED"):
            await node.stats(handle, target)
        assert writer.is_alive()
        assert not server.exists() or server.stat().st_size < len(data)
    await eventually(lambda: not writer.is_alive(), NOT_STUCK)
    assert failures == []
    assert hashlib.sha256(server.read_bytes()).digest() == hashlib.sha256(data).digest()
    await eventually(lambda: not stuck(), NOT_STUCK)
    assert (await node.stats(handle, target)).usage
    await node.unpublish(handle)
    await node.unstage(handle)


async def test_a_server_that_never_comes_back(site, node, export):
    """Everything answers, other volumes do not notice, and what is forced away leaves nothing."""
    broken, healthy = await site.volume(export), node.folder(2)
    await node.stage(broken)
    target = await node.publish(broken)
    beside = await node.publish(healthy, node.target("beside"))
    with site.gone():
        assert await bounded(node.stats(broken, target), STORAGE + SLACK) == "DEADLINE_EXCEEDED"
        again = node.publish(broken, node.target("second"))
        assert await bounded(again, STORAGE + SLACK) == "DEADLINE_EXCEEDED"
        assert (await node.identity.Probe(csi_pb2.ProbeRequest(), timeout=1)).DESCRIPTOR is not None

        (beside / "file").write_text("unharmed")
        assert await bounded(node.stats(healthy, beside), SLACK) == "OK"
        assert await bounded(node.publish(healthy, node.target("third")), SLACK) == "OK"

        assert await bounded(node.unpublish(broken), UNMOUNT + SLACK) == "OK"
        assert await bounded(node.unpublish(broken, node.target("second")), SLACK) == "OK"
        assert not target.exists()
        # As an administrator who gives the server up.
        staging = node.staging(broken)
        forced = subprocess.run(
            ["umount", "-i", "-f", str(staging)], timeout=NOT_STUCK, check=False
        )
        assert forced.returncode in (0, 32)
        said = await bounded(node.unstage(broken), 2 * UNMOUNT + SLACK)
        assert said == "OK"
        assert node.mounts_at(staging) == []
        await eventually(lambda: not stuck(), NOT_STUCK)
    for name in ("beside", "third"):
        await node.unpublish(healthy, node.target(name))
    assert left_below(node.kubelet) == []


async def test_a_new_stage_of_a_dead_server_ends_in_time(site, node, export):
    handle = await site.volume(export)
    await node.with_deadlines(call=4.0)
    with site.gone():
        said = await bounded(node.stage(handle), 4.0 + SLACK)
        assert said in ("DEADLINE_EXCEEDED", "UNAVAILABLE")
        assert node.mounts_at(node.staging(handle)) == []
    end = time.monotonic() + NOT_STUCK
    while await bounded(node.stage(handle), 4.0 + SLACK) != "OK":
        assert time.monotonic() < end
        await asyncio.sleep(0.2)
    await node.publish(handle)
    await node.unpublish(handle)
    await node.unstage(handle)


async def test_a_pool_full_of_stuck_threads_says_so_at_once(site, node, export):
    handle = await site.volume(export)
    await node.stage(handle)
    with site.gone():
        targets = [node.target(f"pod-{number}") for number in range(LANE_WIDTH)]
        ends = await asyncio.gather(
            *(bounded(node.publish(handle, target), STORAGE + SLACK) for target in targets)
        )
        assert set(ends) == {"DEADLINE_EXCEEDED"}
        begun = time.monotonic()
        with fails("UNAVAILABLE", f"has not answered {LANE_WIDTH} calls"):
            await node.publish(handle, node.target("late"))
        assert time.monotonic() - begun < STORAGE
        assert (await node.identity.Probe(csi_pb2.ProbeRequest(), timeout=1)).ready.value
    await eventually(lambda: not stuck(), NOT_STUCK)
    await node.publish(handle)
    await node.unpublish(handle)
    await node.unstage(handle)


async def test_what_a_killed_writer_had_not_written_holds_up_nobody_else(
    site, node, export, version
):
    """Its process hangs until its data is written, or given up by force (version 3 only)."""
    handle, healthy = await site.volume(export), node.folder(2)
    await node.stage(handle)
    target = await node.publish(handle)
    words = ["/usr/bin/python3", "-c", _DIRTY, str(target / "file")]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        await eventually(lambda: (export.path(handle) / "file").exists(), 20)
        with site.gone():
            writer.stdin.write("\n")
            writer.stdin.flush()
            assert writer.stdout.readline() == "dirty\n"
            writer.kill()
            assert await bounded(node.unpublish(handle), UNMOUNT + SLACK) == "OK"
            assert await bounded(node.publish(healthy), SLACK) == "OK"
            end = time.monotonic() + NOT_STUCK
            while version == "3" and writer.poll() is None:
                assert time.monotonic() < end
                force(node.staging(handle))
                await asyncio.sleep(0.1)
            assert await bounded(node.unstage(handle), 2 * UNMOUNT + SLACK) == "OK"
        await eventually(lambda: writer.poll() is not None, NOT_STUCK)
    await node.unpublish(healthy)
    await eventually(lambda: not stuck(), NOT_STUCK)
    assert left_below(node.kubelet) == []


_DIRTY = """
import mmap, os, sys, time
fd = os.open(sys.argv[1], os.O_CREAT | os.O_RDWR)
os.write(fd, b'1' * 100000)
os.fsync(fd)
shown = mmap.mmap(fd, 100000)
sys.stdin.readline()
shown[:] = b'2' * 100000
print('dirty', flush=True)
time.sleep(1000)
"""

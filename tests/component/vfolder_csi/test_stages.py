"""Backends that the plugin mounts itself: by helper program, or by the kernel alone."""

import asyncio

import grpc
import pytest

from vfolder_csi._proto import csi_pb2
from vfolder_csi.directory import NetworkMount

MODE = csi_pb2.VolumeCapability.AccessMode


@pytest.fixture
def calls(node):
    """A helper for the made-up file system `vftest`: a tmpfs, and a list of its calls."""
    path = node.base / "calls"
    helper = node.helpers / "mount.vftest"
    helper.write_text(
        f'#!/bin/sh\necho "$@" >> {path}\nexec mount -i -t tmpfs "$1" "$2" -o "nosuid,nodev"\n'
    )
    helper.chmod(0o755)
    node.add_backend("net", NetworkMount("vftest", "filer:/export/", ("vers=4.1", "hard")))

    def read():
        return path.read_text().splitlines() if path.exists() else []

    return read


@pytest.fixture
def volume(node):
    return node.folder(1, "net", make=False)


async def test_whole_life(node, calls, volume):
    staging = node.staging(volume)
    await node.stage(volume)
    [stage] = node.mounts_at(staging)
    path = f"{volume.scope}/00/00/{volume.folder.value[4:]}"
    assert stage.source == f"filer:/export/{path}"
    assert calls() == [f"filer:/export/{path} {staging} -o nodev,nosuid,vers=4.1,hard"]

    first = await node.publish(volume)
    second = await node.publish(volume, node.target("pod-2"), readonly=True)
    (first / "file").write_text("one mount, many pods")
    assert (second / "file").read_text() == "one mount, many pods"
    with pytest.raises(OSError, match="Read-only file system"):
        (second / "file").write_text("no")

    await node.unpublish(volume)
    await node.unpublish(volume, second)
    await node.unstage(volume)
    assert node.mounts_at(staging) == []
    assert staging.is_dir()


async def test_every_step_may_be_repeated(node, calls, volume):
    for _ in range(2):
        await node.stage(volume)
        await node.publish(volume)
    assert len(calls()) == 1
    for _ in range(2):
        await node.unpublish(volume)
        await node.unstage(volume)
    await node.stage(volume)
    assert len(calls()) == 2


async def test_publish_stages_by_itself(node, calls, volume):
    targets = [node.target(f"pod-{i}") for i in range(10)]
    await asyncio.gather(*(node.publish(volume, target) for target in targets))
    assert len(calls()) == 1
    (targets[0] / "file").write_text("shared")
    assert {(target / "file").read_text() for target in targets} == {"shared"}


async def test_publish_stages_again_when_the_server_is_gone(node, calls, volume):
    await node.stage(volume)
    [stage] = node.mounts_at(node.staging(volume))
    node.hang(node.staging(volume), stage.source).die()
    await node.publish(volume)
    assert len(node.mounts_at(node.staging(volume))) == 1
    (node.target() / "file").write_text("works")


async def test_a_dead_stage_is_taken_away(node, calls, volume, fails):
    await node.stage(volume)
    node.hang(node.staging(volume))
    with fails("DEADLINE_EXCEEDED"):
        await node.publish(volume)
    await node.unpublish(volume)
    await node.unstage(volume)
    assert node.mounts_at(node.staging(volume)) == []


async def test_mounts_outlive_the_plugin(node, calls, volume):
    await node.stage(volume)
    target = await node.publish(volume)
    await node.restart()
    (target / "file").write_text("still there")
    await node.publish(volume)
    assert len(calls()) == 1


async def test_single_writer(node, calls, volume, fails):
    mode = MODE.SINGLE_NODE_SINGLE_WRITER
    await node.stage(volume)
    await node.publish(volume, mode=mode)
    with fails("FAILED_PRECONDITION", "already published on this node"):
        await node.publish(volume, node.target("pod-2"), mode=mode)


async def test_a_stage_of_something_else_is_left_alone(node, calls, volume, fails):
    other = node.folder(2, "net", make=False)
    staging = str(node.staging("shared"))
    await node.stage(other, staging_target_path=staging)
    with fails("ALREADY_EXISTS", "something else is mounted"):
        await node.stage(volume, staging_target_path=staging)


async def test_a_changed_address_does_not_disturb_a_living_stage(node, calls, volume):
    await node.stage(volume)
    node.add_backend("net", NetworkMount("vftest", "filer-2:/export"))
    await node.stage(volume)
    assert len(calls()) == 1
    await node.unstage(volume)
    await node.stage(volume)
    assert calls()[-1].startswith("filer-2:/export/")


async def test_a_helper_that_refuses_is_quoted(node, volume, fails):
    helper = node.helpers / "mount.vfno"
    helper.write_text("#!/bin/sh\necho 'access denied by server' >&2\nexit 32\n")
    helper.chmod(0o755)
    node.add_backend("net", NetworkMount("vfno", "filer:/export"))
    with fails("FAILED_PRECONDITION", "mount.vfno ended with 32: access denied by server"):
        await node.stage(volume)


@pytest.mark.parametrize(
    "words", ["mount.nfs: Connection timed out", "Connection refused", "No route to host"]
)
async def test_a_server_that_does_not_answer_is_no_mistake_of_the_backend(
    node, volume, fails, words
):
    helper = node.helpers / "mount.vfno"
    helper.write_text(f"#!/bin/sh\necho '{words}' >&2\nexit 32\n")
    helper.chmod(0o755)
    node.add_backend("net", NetworkMount("vfno", "filer:/export"))
    with fails("UNAVAILABLE", words):
        await node.stage(volume)


async def test_a_folder_the_server_does_not_have(node, volume, fails):
    helper = node.helpers / "mount.vfno"
    helper.write_text("#!/bin/sh\necho 'mounting failed: No such file or directory'\nexit 32\n")
    helper.chmod(0o755)
    node.add_backend("net", NetworkMount("vfno", "filer:/export"))
    with fails("NOT_FOUND", "No such file or directory"):
        await node.stage(volume)


async def test_a_helper_that_hangs_is_killed_with_its_children(node, volume, fails, eventually):
    pids = node.base / "pids"
    helper = node.helpers / "mount.vfhang"
    helper.write_text(f"#!/bin/sh\nsleep 1000 &\necho $! $$ > {pids}\nwait\n")
    helper.chmod(0o755)
    node.add_backend("net", NetworkMount("vfhang", "filer:/export"))
    await node.with_deadlines(call=0.5)
    with fails("DEADLINE_EXCEEDED"):
        await node.stage(volume)

    def running():
        found = []
        for pid in pids.read_text().split():
            try:
                with open(f"/proc/{pid}/stat") as file:
                    found.append(file.read().rpartition(")")[2].split()[0])
            except FileNotFoundError:
                continue
        return [state for state in found if state != "Z"]

    await eventually(lambda: not running())
    assert node.mounts_at(node.staging(volume)) == []


async def test_one_operation_per_stage(node, volume, fails, eventually):
    begun, go = node.base / "begun", node.base / "go"
    helper = node.helpers / "mount.vfslow"
    helper.write_text(
        f"#!/bin/sh\ntouch {begun}\nwhile [ ! -e {go} ]; do sleep 0.02; done\n"
        'exec mount -i -t tmpfs "$1" "$2"\n'
    )
    helper.chmod(0o755)
    node.add_backend("net", NetworkMount("vfslow", "filer:/export"))
    first = asyncio.create_task(node.stage(volume))
    await eventually(begun.exists)
    with fails("ABORTED", "under way"):
        await node.stage(volume)
    with fails("ABORTED", "under way"):
        await node.unstage(volume)
    go.touch()
    await first
    assert len(node.mounts_at(node.staging(volume))) == 1


async def test_a_mount_goes_on_when_its_caller_went_away(node, volume, fails, eventually):
    begun, go = node.base / "begun", node.base / "go"
    helper = node.helpers / "mount.vfslow"
    helper.write_text(
        f"#!/bin/sh\ntouch {begun}\nwhile [ ! -e {go} ]; do sleep 0.02; done\n"
        'exec mount -i -t tmpfs "$1" "$2"\n'
    )
    helper.chmod(0o755)
    node.add_backend("net", NetworkMount("vfslow", "filer:/export"))
    first = asyncio.create_task(node.stage(volume))
    await eventually(begun.exists)
    first.cancel()
    with fails("ABORTED", "under way"):
        await node.stage(volume)
    go.touch()
    await eventually(lambda: node.mounts_at(node.staging(volume)))
    async with asyncio.timeout(10):
        while True:  # the program itself ends a moment after its mount is there
            try:
                await node.stage(volume)
                break
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.ABORTED:
                    raise
                await asyncio.sleep(0.01)


async def test_the_kernel_mounts_what_needs_no_helper(node, volume):
    node.add_backend("net", NetworkMount("tmpfs", "any", ("noexec", "size=1m")))
    await node.stage(volume)
    [stage] = node.mounts_at(node.staging(volume))
    assert {"nosuid", "nodev", "noexec"} <= stage.options
    target = await node.publish(volume)
    usage = (await node.stats(volume, target)).usage
    assert usage[0].total == 1 << 20


@pytest.mark.parametrize(
    ("mount", "words"),
    [
        (NetworkMount("nfs", "filer:/x"), "has no mount.nfs"),
        (NetworkMount("nosuchfs", "filer:/x"), "kernel does not know this file system"),
        (NetworkMount("fuse", "filer:/x"), "FUSE"),
        (NetworkMount("../x", "filer:/x"), "not a file system"),
        (NetworkMount("vftest", "-o suid"), "not a mount source"),
        (NetworkMount("vftest", "filer:/x", ("soft",)), "'soft' is refused"),
        (NetworkMount("vftest", "filer:/x", ("suid",)), "'suid' is refused"),
        (NetworkMount("vftest", "filer:/x", ("hard,soft",)), "not one mount option"),
        (NetworkMount("vftest", "filer:/x", (), True), "takes no secret"),
        (NetworkMount("ceph", "mon:/", (), True), "nodePublishSecretRef"),
    ],
)
async def test_a_backend_that_cannot_be_mounted(node, calls, volume, fails, mount, words):
    node.add_backend("net", mount)
    with fails("FAILED_PRECONDITION", words):
        await node.stage(volume)
    with fails("FAILED_PRECONDITION", words):
        await node.publish(volume)
    assert calls() == []

"""Folders of a backend that the host has mounted, in and out of pods."""

import asyncio
import os
import stat

import pytest

from vfolder_csi._proto import csi_pb2
from vfolder_csi.mounts import linux, mountinfo, syscalls
from vfolder_csi.mounts.paths import spot

MODE = csi_pb2.VolumeCapability.AccessMode


async def test_whole_life(node):
    handle = node.folder()
    (node.folder_dir(handle) / "old").write_text("there before")
    await node.stage(handle)
    target = await node.publish(handle)

    assert (target / "old").read_text() == "there before"
    (target / "new").write_text("by the pod")
    assert (node.folder_dir(handle) / "new").read_text() == "by the pod"
    [mount] = node.mounts_at(target)
    assert {"rw", "nosuid", "nodev"} <= mount.options

    await node.unpublish(handle)
    await node.unstage(handle)
    assert not target.exists()
    assert (node.folder_dir(handle) / "new").read_text() == "by the pod"


async def test_staging_a_host_path_mounts_nothing(node):
    handle = node.folder()
    await node.stage(handle)
    assert node.mounts_at(node.staging(handle)) == []


async def test_every_step_may_be_repeated(node):
    handle = node.folder()
    for _ in range(2):
        await node.stage(handle)
        target = await node.publish(handle)
        await node.publish(handle)
        assert len(node.mounts_at(target)) == 1
        await node.unpublish(handle)
        await node.unpublish(handle)
        await node.unstage(handle)
        await node.unstage(handle)


async def test_many_pods_share_a_folder_at_the_same_time(node):
    handle = node.folder()
    targets = [node.target(f"pod-{i}") for i in range(20)]
    await asyncio.gather(*(node.publish(handle, target) for target in targets))
    (targets[0] / "file").write_text("seen by all")
    assert {(target / "file").read_text() for target in targets} == {"seen by all"}
    await asyncio.gather(*(node.unpublish(handle, target) for target in targets))
    assert not any(target.exists() for target in targets)


async def test_mounts_outlive_the_plugin(node):
    handle = node.folder()
    target = await node.publish(handle)
    with open(target / "log", "w") as log:
        await node.stop()
        log.write("while the plugin was away")
        log.flush()
        await node.start()
        log.write(", and after")
    await node.publish(handle)
    assert len(node.mounts_at(target)) == 1
    assert (target / "log").read_text() == "while the plugin was away, and after"
    await node.unpublish(handle)
    assert node.mounts_at(target) == []


@pytest.mark.parametrize(
    ("mode", "readonly", "flags"),
    [
        (MODE.MULTI_NODE_MULTI_WRITER, True, ()),
        (MODE.MULTI_NODE_READER_ONLY, False, ()),
        (MODE.SINGLE_NODE_READER_ONLY, False, ()),
        (MODE.SINGLE_NODE_WRITER, False, ("ro",)),
    ],
)
async def test_read_only(node, fails, mode, readonly, flags):
    handle = node.folder()
    target = await node.publish(handle, mode=mode, readonly=readonly, flags=flags)
    with pytest.raises(OSError, match="Read-only file system"):
        (target / "file").write_text("no")
    await node.publish(handle, mode=mode, readonly=readonly, flags=flags)
    with fails("ALREADY_EXISTS", "other flags"):
        await node.publish(handle)


async def test_flags_reach_the_kernel(node):
    handle = node.folder()
    target = await node.publish(handle, flags=("noexec", "noatime", "nodiratime"))
    [mount] = node.mounts_at(target)
    assert {"rw", "nosuid", "nodev", "noexec", "noatime", "nodiratime"} <= mount.options
    program = target / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    with pytest.raises(PermissionError):
        await asyncio.create_subprocess_exec(program)
    await node.publish(handle, flags=("noexec", "noatime", "nodiratime"))


async def test_a_read_only_storage_is_published_as_it_is(node):
    handle = node.folder()
    flags = syscalls.MS_BIND | syscalls.MS_REMOUNT | 1
    syscalls.mount("", str(node.storage), "", flags, "")
    await node.publish(handle)
    target = await node.publish(handle)
    [mount] = node.mounts_at(target)
    assert "ro" in mount.options


async def test_a_bare_target_is_unwritable(node):
    handle = node.folder()
    target = await node.publish(handle)
    syscalls.umount2(str(target), 0)
    assert stat.S_IMODE(target.stat().st_mode) == 0


async def test_a_target_of_another_is_left_alone(node, fails):
    mine, other = node.folder(1), node.folder(2)
    target = await node.publish(other)
    with fails("ALREADY_EXISTS", "something else is mounted"):
        await node.publish(mine)
    assert len(node.mounts_at(target)) == 1


async def test_the_same_folder_of_another_storage_is_something_else(node, fails):
    handle = node.folder()
    await node.publish(handle)
    syscalls.umount2(str(node.storage), syscalls.MNT_DETACH)
    node.storage.rmdir()
    node.add_storage("scratch")
    node.folder()
    with fails("ALREADY_EXISTS", "something else is mounted"):
        await node.publish(handle)


async def test_what_was_written_below_a_mount_is_never_deleted(node, fails):
    handle = node.folder()
    target = await node.publish(handle)
    syscalls.umount2(str(target), 0)
    (target / "stray").write_text("precious")
    with fails("FAILED_PRECONDITION", "holds files of its own"):
        await node.unpublish(handle)
    assert (target / "stray").read_text() == "precious"


async def test_a_busy_target_is_detached(node):
    handle = node.folder()
    target = await node.publish(handle)
    with open(target / "held", "w") as held:
        await node.unpublish(handle)
        held.write("the process goes on")
    assert not target.exists()
    assert (node.folder_dir(handle) / "held").read_text() == "the process goes on"


async def test_all_layers_go(node):
    handle = node.folder()
    target = await node.publish(handle)
    syscalls.mount("more", str(target), "tmpfs", 0, "")
    await node.unpublish(handle)
    assert node.mounts_at(target) == []
    assert not target.exists()


class TestSingleWriter:
    mode = MODE.SINGLE_NODE_SINGLE_WRITER

    async def test_a_second_target_is_refused(self, node, fails):
        handle = node.folder()
        await node.publish(handle, mode=self.mode)
        await node.publish(handle, mode=self.mode)
        second = node.target("pod-2")
        with fails("FAILED_PRECONDITION", "already published on this node"):
            await node.publish(handle, second, mode=self.mode)
        assert not second.exists()

    async def test_also_after_a_restart(self, node, fails):
        handle = node.folder()
        await node.publish(handle, mode=self.mode)
        await node.restart()
        with fails("FAILED_PRECONDITION", "already published on this node"):
            await node.publish(handle, node.target("pod-2"), mode=self.mode)

    async def test_two_at_once_get_one(self, node):
        handle = node.folder()
        targets = [node.target(f"pod-{i}") for i in range(4)]
        await asyncio.gather(
            *(node.publish(handle, target, mode=self.mode) for target in targets),
            return_exceptions=True,
        )
        assert sum(len(node.mounts_at(target)) for target in targets) == 1

    async def test_the_next_pod_gets_it_when_the_first_is_gone(self, node):
        handle = node.folder()
        await node.publish(handle, mode=self.mode)
        await node.unpublish(handle)
        await node.publish(handle, node.target("pod-2"), mode=self.mode)

    async def test_other_modes_and_folders_do_not_mind(self, node):
        await node.publish(node.folder(1), mode=self.mode)
        await node.publish(node.folder(2), node.target("pod-2"), mode=self.mode)
        for i, mode in enumerate((MODE.SINGLE_NODE_MULTI_WRITER, MODE.SINGLE_NODE_WRITER)):
            await node.publish(node.folder(3), node.target(f"pod-{i + 3}"), mode=mode)


async def test_old_kernels_get_the_same_mount(node):

    handle = node.folder()
    target = node.target()
    words = frozenset({"nosuid", "nodev", "noexec", "noatime", "ro"})
    source = os.open(node.folder_dir(handle), os.O_PATH)
    with spot(str(node.kubelet), str(target), "target_path") as place:
        bare = place.prepare()
        linux.bind_by_remount(source, bare, place, words)
        os.close(bare)
    os.close(source)
    present = mountinfo.top(mountinfo.read(), str(target))
    assert words <= present.options
    await node.publish(handle, readonly=True, flags=("noexec", "noatime"))
    await node.unpublish(handle)

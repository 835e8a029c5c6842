"""A node whose CephFS key could defeat the limits is found out, and its volumes are refused."""

import dataclasses
import errno
import json
import os

import pytest

from e2e.cluster import Ceph
from e2e.cluster.ceph import NODE, OPERATOR, POOLS, client
from vfolder_backends.ids import FolderHex, ScopeHex, VolumeHandle
from vfolder_csi.directory import HostPath
from vfolder_csi.errors import FailedPrecondition
from vfolder_csi.mounts import syscalls
from vfolder_csi.mounts.cephkeys import CephKeys

ROOT_ID = "0123456789abcdef" * 2
VOLUME = VolumeHandle("ceph", ScopeHex("5" * 32), FolderHex("ab12" + "c" * 28))
PREFIX = f"{VOLUME.scope}/ab"
MS_RDONLY = 1

SNAPSHOTS = client("snapshots", "allow rws")
BOTH = client("both", "allow rwps")
NARROW = client("narrow", f"allow rw, allow rwp path=/root/{VOLUME.scope}")
MENDED = client("mended", "allow rwp")


@pytest.fixture(scope="module")
def ceph():
    with Ceph(quick=True, entities=(SNAPSHOTS, BOTH, NARROW, MENDED)) as cluster:
        root = cluster.operator_mount / "root"
        (root / ".vfolder").mkdir(parents=True)
        (root / ".vfolder" / "root").write_text(json.dumps({"layout": 3, "rootID": ROOT_ID}))
        (root / PREFIX / "12" / ("c" * 28)).mkdir(parents=True)
        os.setxattr(root / VOLUME.scope.value, "ceph.quota.max_bytes", b"8388608")
        yield cluster


@pytest.fixture
def mounted(ceph, base):
    """Mounts the tree as a client, where the node's host would have it."""
    points = []

    def mount(who):
        point = ceph.state.folder / "hosts" / f"{base.name}-{len(points)}"
        ceph.mount(who, point)
        points.append(point)
        return point / "root"

    yield mount
    for point in points:
        ceph.unmount(point)


@pytest.fixture
async def publish(node, ceph):
    """Publishes the volume on a node that has the backend mounted at a path."""
    node.settings = dataclasses.replace(node.settings, host_roots=(str(ceph.state.folder),))
    await node.restart()

    async def call(root):
        node.add_backend("ceph", HostPath(str(root), ROOT_ID), "cephfs")
        return await node.publish(VOLUME)

    return call


def nothing_left(root):
    prefix = root / PREFIX
    with pytest.raises(OSError, match=os.strerror(errno.ENODATA)):
        os.getxattr(prefix, "ceph.quota.max_files")
    assert os.getxattr(root / VOLUME.scope.value, "ceph.quota.max_bytes") == b"8388608"
    return os.listdir(prefix / ".snap") == []


async def test_a_key_that_may_only_read_and_write_is_fine(ceph, node, mounted, publish):
    target = await publish(mounted(NODE))
    (target / "file").write_text("works")
    assert nothing_left(ceph.operator_mount / "root")


@pytest.mark.parametrize(
    ("who", "words"),
    [
        (OPERATOR, ("capability 'p'", "lift the scopes' own limits")),
        (NARROW, ("capability 'p'", "lift the scopes' own limits")),
        (SNAPSHOTS, ("capability 's'", "snapshots, which no limit counts")),
        (BOTH, ("capability 'p' and 's'", "lift", "snapshots")),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
async def test_a_key_that_may_more_is_refused(ceph, node, mounted, publish, fails, who, words):
    root = mounted(who)
    for _ in range(2):
        with fails("FAILED_PRECONDITION", *words, "ceph auth caps", "mount anew"):
            await publish(root)
    assert not node.target().exists()
    assert nothing_left(ceph.operator_mount / "root")


async def test_a_mended_key_is_accepted_after_a_new_mount(ceph, mounted, publish, fails):
    with fails("FAILED_PRECONDITION", "'p'"):
        await publish(mounted(MENDED))
    caps = ["mon", "allow r", "osd", POOLS, "mds", "allow rw"]
    ceph.command({"prefix": "auth caps", "entity": MENDED.name, "caps": caps})
    assert await publish(mounted(MENDED))


async def test_what_a_killed_trial_left_is_taken_away(ceph, mounted, publish, fails):
    left = ceph.operator_mount / "root" / PREFIX / ".snap" / "vfolder-trial"
    root = mounted(SNAPSHOTS)
    os.mkdir(root / PREFIX / ".snap" / "vfolder-trial")
    assert left.exists()
    assert await publish(mounted(NODE)), "the key that may not remove it is not to blame"
    with fails("FAILED_PRECONDITION", "'s'"):
        await publish(root)
    assert nothing_left(ceph.operator_mount / "root")


def test_a_passed_check_is_remembered_and_a_read_only_mount_passes(ceph, base, mounted):
    point = base / "once"
    point.mkdir()
    syscalls.mount(str(mounted(OPERATOR)), str(point), "", syscalls.MS_BIND, "")
    read_only = syscalls.MS_BIND | syscalls.MS_REMOUNT
    syscalls.mount("", str(point), "", read_only | MS_RDONLY, "")
    keys = CephKeys()

    def check(keys):
        root = os.open(point, os.O_PATH | os.O_DIRECTORY)
        try:
            keys.check_host(VOLUME, root)
        finally:
            os.close(root)

    check(keys)
    syscalls.mount("", str(point), "", read_only, "")
    check(keys)
    with pytest.raises(FailedPrecondition, match="'p'"):
        check(CephKeys())


def test_another_file_system_is_not_tried(base):
    (base / PREFIX).mkdir(parents=True)
    root = os.open(base, os.O_PATH | os.O_DIRECTORY)
    try:
        CephKeys().check_host(VOLUME, root)
    finally:
        os.close(root)
    assert list((base / PREFIX).iterdir()) == []
    (base / PREFIX).rmdir()
    (base / VOLUME.scope.value).rmdir()

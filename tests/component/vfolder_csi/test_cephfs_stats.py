"""On CephFS a pod's `df` shows the whole file system; the figures kubelet gets are the scope's."""

import dataclasses
import json
import os

import pytest

from e2e.cluster import Ceph
from vfolder_csi._proto import csi_pb2
from vfolder_csi.directory import HostPath

ROOT_ID = "0123456789abcdef" * 2
MIB = 1 << 20


@pytest.fixture
def ceph(node):
    """A backend in a folder of a private CephFS."""
    with Ceph(quick=True) as cluster:
        root = cluster.operator_mount / "root"
        (root / ".vfolder").mkdir(parents=True)
        (root / ".vfolder" / "root").write_text(json.dumps({"layout": 3, "rootID": ROOT_ID}))
        node.settings = dataclasses.replace(node.settings, host_roots=(str(root.parent),))
        node.add_backend("ceph", HostPath(str(root), ROOT_ID))
        yield root


async def test_the_scope_is_what_is_shown(node, ceph, eventually):
    await node.restart()
    handle = node.folder(1, "ceph", make=False)
    scope = ceph / handle.scope.value
    folder = scope / "00" / "00" / handle.folder.value[4:]
    folder.mkdir(parents=True)
    (scope / "beside").write_bytes(b"x" * MIB)
    os.setxattr(scope, "ceph.quota.max_bytes", str(64 * MIB).encode())
    os.setxattr(scope, "ceph.quota.max_files", b"1000")
    target = await node.publish(handle)
    (target / "file").write_bytes(b"x" * MIB)
    await eventually(lambda: int(os.getxattr(scope, "ceph.dir.rbytes")) == 2 * MIB, timeout=30)

    sizes, inodes = (await node.stats(handle, target)).usage
    assert (sizes.unit, inodes.unit) == (csi_pb2.VolumeUsage.BYTES, csi_pb2.VolumeUsage.INODES)
    assert (sizes.total, sizes.used, sizes.available) == (64 * MIB, 2 * MIB, 62 * MIB)
    # The scope itself, three levels of directories and two files.
    assert (inodes.total, inodes.used, inodes.available) == (1000, 6, 994)

    os.setxattr(scope, "ceph.quota.max_bytes", b"0")
    sizes = (await node.stats(handle, target)).usage[0]
    assert sizes.used == 2 * MIB
    whole = os.statvfs(target)
    assert sizes.total == whole.f_blocks * whole.f_frsize
    await node.unpublish(handle)

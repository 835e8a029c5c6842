"""The node plugin on file systems that enforce limits, and on those that only look like it.

It is the real server on its socket, with the rig of the component tests.
"""

import json
from uuid import uuid4

import pytest
from node_rig import ROOT_ID, Node

from e2e.guest.disks import EXT4, XFS, XFS_ACCOUNTING, XFS_PLAIN
from tests.component.vfolder_csi.conftest import base, fails, node
from vfolder_csi.directory import HostPath
from vfolder_csi.mounts import syscalls

__all__ = ["base", "fails", "node"]


@pytest.fixture
def mounted(node: Node):
    """A backend on a disk of the guest, its root a bind mount below the node's host folder."""

    def mount(disk):
        root = node.add_storage(f"disk-{uuid4().hex[:8]}")
        node.unmount(root)
        source = disk.mount_point / uuid4().hex
        (source / ".vfolder").mkdir(parents=True)
        mark = {"layout": 3, "rootID": ROOT_ID}
        (source / ".vfolder" / "root").write_text(json.dumps(mark))
        syscalls.mount(str(source), str(root), "", syscalls.MS_BIND, "")
        node.add_backend(root.name, HostPath(str(root), ROOT_ID), disk.kind)
        return root.name

    return mount


@pytest.mark.parametrize("disk", [XFS, EXT4], ids=["xfs", "ext4"])
async def test_published_where_limits_are_enforced(node, mounted, disk):
    handle = node.folder(backend=mounted(disk))
    target = await node.publish(handle)
    (target / "file").write_text("by the pod")
    assert (node.folder_dir(handle) / "file").read_text() == "by the pod"
    await node.unpublish(handle)


@pytest.mark.parametrize(
    ("disk", "said"), [(XFS_PLAIN, "prjquota"), (XFS_ACCOUNTING, "pqnoenforce")]
)
async def test_refused_where_they_are_not(node, mounted, fails, disk, said):
    handle = node.folder(backend=mounted(disk))
    with fails("FAILED_PRECONDITION", "QuotaNotEnforced", handle.backend, said):
        await node.publish(handle)
    assert node.mounts_at(node.target()) == []

"""Backends of XFS and ext4: nothing is mounted from a file system that does not enforce limits.

Where it does enforce them is tried in a guest, tests/conformance/guest/test_publish.py.
"""

import pytest

from vfolder_csi.directory import HostPath, parse_backend


@pytest.mark.parametrize("kind", ["xfs", "ext4"])
async def test_another_file_system_is_refused_by_name(node, fails, kind):
    where = HostPath(str(node.storage), "0123456789abcdef" * 2)
    node.add_backend("scratch", where, kind)
    handle = node.folder()
    with fails("FAILED_PRECONDITION", "QuotaNotEnforced", "scratch", "'tmpfs'", kind):
        await node.publish(handle)
    assert node.mounts_at(node.target()) == []


@pytest.mark.parametrize("kind", ["xfs", "ext4", "vfs", "cephfs"])
def test_the_type_of_a_backend_is_known(kind):
    body = {"spec": {"type": kind, "hostPath": "/mnt/x"}, "metadata": {}}
    found = parse_backend("x", body)
    assert (found.where, found.kind) == (HostPath("/mnt/x", None), kind)

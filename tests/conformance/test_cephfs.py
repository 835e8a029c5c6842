"""The suite on a real CephFS, and what only CephFS does.

The cluster is private to the test run and reports sizes at once, without which the limits would be
noticed seconds later; how far Ceph's own delays let a writer pass is part of the enforcement's
message.
"""

import errno
import os
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from e2e.cluster import Ceph, packages
from e2e.cluster.ceph import OPERATOR
from vfolder_backends.config import BackendConfig
from vfolder_backends.errors import Misconfigured, PermissionDenied, RootLost
from vfolder_backends.port import Limits
from vfolder_backends.registry import Registry
from vfolder_backends.testing.array_storage import ArrayUnderTest, served
from vfolder_backends.testing.arrays.weka.simulator import make as make_weka
from vfolder_backends.testing.conformance import TreeConformance
from vfolder_backends.testing.conformance.base import (
    DATASETS,
    FOLDER,
    MIB,
    SCOPE,
    TEAM,
    folder_request,
    purge_all,
    scope_request,
)
from vfolder_backends.testing.storages import TreeUnderTest

_MISSING = packages.missing(packages.CEPH)

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="a private CephFS needs root"),
    pytest.mark.skipif(bool(_MISSING), reason=f"packages are missing: {', '.join(_MISSING)}"),
]


@pytest.fixture(scope="module")
def ceph():
    with Ceph(quick=True) as ceph:
        yield ceph


@dataclass
class CephfsUnderTest(TreeUnderTest):
    kind: str = "cephfs"

    async def tamper(self, scope, limits):
        place = self.root / scope.value
        os.setxattr(place, "ceph.quota.max_bytes", str(limits.bytes or 0).encode())
        os.setxattr(place, "ceph.quota.max_files", str(limits.files or 0).encode())


class _Served(ArrayUnderTest):
    async def tamper(self, scope, limits):
        raise AssertionError("not asked for")


class TestCephfs(TreeConformance):
    @pytest.fixture
    def storage(self, ceph, tmp_path):
        root = ceph.operator_mount / tmp_path.name
        root.mkdir()
        return CephfsUnderTest(root)

    async def test_capabilities_tell_the_truth(self, backend, capabilities):
        levels = capabilities.enforcement
        assert (levels.bytes, levels.files, levels.root_bypass) == ("Cooperative",) * 2 + ("No",)
        assert capabilities.over_limit_errno == "EDQUOT"
        assert capabilities.files_count_directories
        assert capabilities.folder_usage
        assert (await backend.probe()).warnings == ()

    async def test_the_storage_stops_a_writer(self, ceph, storage, backend, folder):
        await backend.set_limits(SCOPE, TEAM, Limits(bytes=2 * MIB))
        as_a_pod = ceph.node_mount / storage.path(SCOPE, folder).relative_to(ceph.operator_mount)
        written = _write_until_refused(as_a_pod / "big", 16 * MIB)
        assert MIB <= written < 16 * MIB
        await backend.set_limits(SCOPE, TEAM, Limits())
        assert _write_until_refused(as_a_pod / "more", 4 * MIB) == 4 * MIB

    async def test_the_storage_counts_files_with_the_directory(self, storage, backend, folder):
        here = (await backend.describe_scope(SCOPE)).usage.files
        assert here == 4  # the scope, two levels, the folder
        await backend.set_limits(SCOPE, TEAM, Limits(files=here + 3))
        top = storage.path(SCOPE, folder)
        for number in range(3):
            (top / str(number)).write_text("")
        with pytest.raises(OSError, match=os.strerror(errno.EDQUOT)):
            (top / "one more").write_text("")
        assert (await backend.describe_scope(SCOPE)).usage.files == here + 3

    async def test_a_full_scope_can_be_emptied(self, storage, backend, folder):
        (storage.path(SCOPE, folder) / "file").write_bytes(b"x" * MIB)
        full = Limits(bytes=4096, files=(await backend.describe_scope(SCOPE)).usage.files)
        await backend.set_limits(SCOPE, TEAM, full)
        with pytest.raises(OSError, match=os.strerror(errno.EDQUOT)):
            (storage.path(SCOPE, folder) / "dir").mkdir()
        await backend.trash_folder(SCOPE, folder, DATASETS)
        await backend.restore_folder(SCOPE, folder, DATASETS)
        await backend.trash_folder(SCOPE, folder, DATASETS)
        assert (await purge_all(backend)).removed_folders == 1
        await backend.delete_scope(SCOPE, TEAM)

    async def test_limits_set_and_removed_by_hand_show(self, storage, backend, scope):
        place = storage.root / scope.value
        os.setxattr(place, "ceph.quota.max_files", b"0")
        assert (await backend.describe_scope(scope)).limits.files is None
        assert (await backend.describe_scope(scope)).limits.bytes is not None
        os.setxattr(place, "ceph.quota.max_bytes", b"0")
        assert (await backend.describe_scope(scope)).limits == Limits()

    async def test_a_quota_above_is_a_warning(self, storage, backend):
        os.setxattr(storage.root, "ceph.quota.max_bytes", b"1073741824")
        (warning,) = (await backend.probe()).warnings
        assert str(storage.root) in warning
        assert "1073741824" in warning

    async def test_a_smaller_quota_above_is_told_where_it_stops_a_scope(self, storage, backend):
        os.setxattr(storage.root, "ceph.quota.max_bytes", b"1048576")
        await backend.probe()
        state = await backend.ensure_scope(scope_request())
        assert state.limits.bytes is None or state.limits.bytes > MIB
        told = f"1048576 bytes, unlimited files on {storage.root}"
        assert told in state.enforcement.message
        state = await backend.set_limits(SCOPE, TEAM, Limits(bytes=4096))
        assert "above" not in state.enforcement.message

    async def test_a_key_without_p_is_refused_by_the_probe(self, ceph, storage, backend):
        root_id = await backend.attach(None)
        seen = ceph.node_mount / storage.root.relative_to(ceph.operator_mount)
        node = replace(storage, root=seen).build()
        await node.attach(root_id)
        with pytest.raises(PermissionDenied, match="'p' capability"):
            await node.probe()
        with pytest.raises(PermissionDenied):
            await node.ensure_scope(scope_request())
        await node.close()
        state = await backend.ensure_scope(scope_request())
        assert state.limits == scope_request().limits

    async def test_another_file_system_is_named(self, tmp_path):
        config = BackendConfig("under-test", "cephfs", str(tmp_path))
        with pytest.raises(Misconfigured, match=rf"{tmp_path} .*, not on CephFS"):
            await Registry().build(config).attach(None)
        assert list(tmp_path.iterdir()) == []

    async def test_unmounted_for_real(self, ceph, storage, backend, folder):
        point = Path(ceph.state.folder) / "third"
        ceph.mount(OPERATOR, point)
        third = replace(storage, root=point / storage.root.name).build()
        root_id = await third.attach(await backend.attach(None))
        assert (await third.describe_folder(SCOPE, FOLDER)).owner == DATASETS
        ceph.unmount(point)
        with pytest.raises(RootLost):
            await third.ensure_folder(folder_request())
        assert list(point.iterdir()) == []
        ceph.mount(OPERATOR, point)
        assert (await third.describe_folder(SCOPE, FOLDER)).owner == DATASETS
        assert await third.attach(root_id) == root_id
        await third.close()
        ceph.unmount(point)

    async def test_a_simulated_array_on_it_stops_real_writers(self, ceph, tmp_path):
        data = ceph.operator_mount / f"array-{tmp_path.name}"
        data.mkdir()
        array, account = make_weka(data), {"username": "vfolder", "password": "simulated-weka"}
        assert array.disk.real
        with served(_Served, array, account, {"fileSystem": "default"}) as storage:
            backend = storage.build()
            await backend.attach(None)
            await backend.ensure_scope(scope_request())
            await backend.ensure_folder(folder_request())
            await backend.set_limits(SCOPE, TEAM, Limits(bytes=2 * MIB))
            seen = storage.path(SCOPE, FOLDER).relative_to(ceph.operator_mount)
            as_a_pod = ceph.node_mount / seen
            assert MIB <= _write_until_refused(as_a_pod / "big", 16 * MIB) < 16 * MIB
            await backend.set_limits(SCOPE, TEAM, Limits())
            assert _write_until_refused(as_a_pod / "more", 4 * MIB) == 4 * MIB
            await backend.close()
        assert array.violations == []


def _write_until_refused(path, most):
    written = 0
    fd = os.open(path, os.O_CREAT | os.O_WRONLY)
    try:
        while written < most:
            written += os.write(fd, b"x" * 65536)
            os.fsync(fd)
    except OSError as error:
        if error.errno != errno.EDQUOT:
            raise
    finally:
        os.close(fd)
    return written

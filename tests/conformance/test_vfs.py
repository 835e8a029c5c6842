import os
import subprocess

import pytest

from vfolder_backends.errors import BackendError
from vfolder_backends.facts import Level
from vfolder_backends.port import Limits
from vfolder_backends.testing.conformance import TreeConformance
from vfolder_backends.testing.conformance.base import DATASETS, SCOPE, purge_all
from vfolder_backends.testing.storages import TreeUnderTest


class TestVfs(TreeConformance):
    @pytest.fixture
    def storage(self, tmp_path):
        root = tmp_path / "root"
        root.mkdir()
        return TreeUnderTest(root)

    async def test_it_says_that_nothing_is_enforced(self, backend, scope):
        health = await backend.probe()
        state = await backend.describe_scope(scope)
        assert health.capabilities.enforcement == state.enforcement
        assert state.enforcement.bytes is state.enforcement.files is Level.NONE
        assert (state.limits, state.usage) == (Limits(), None)
        assert health.capacity.total_bytes > health.capacity.used_bytes > 0

    @pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
    async def test_a_mount_inside_a_folder_is_not_purged(self, storage, backend, folder, tmp_path):
        """A bind mount of the same file system does not differ in its device number."""
        inside = storage.path(SCOPE, folder) / "inside"
        inside.mkdir()
        (tmp_path / "precious").mkdir()
        (tmp_path / "precious" / "file").write_text("x")
        await backend.trash_folder(SCOPE, folder, DATASETS)
        (aside,) = inside.parent.parent.iterdir()
        mounted = aside / "inside"
        subprocess.run(["mount", "--bind", tmp_path / "precious", mounted], check=True)
        try:
            with pytest.raises(BackendError):
                await purge_all(backend)
            (doomed,) = inside.parent.parent.iterdir()
            mounted = doomed / "inside"
            assert (tmp_path / "precious" / "file").read_text() == "x"
        finally:
            subprocess.run(["umount", mounted], check=True)
        assert (await purge_all(backend)).removed_folders == 1
        assert (tmp_path / "precious" / "file").read_text() == "x"

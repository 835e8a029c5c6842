import os
import subprocess
from dataclasses import replace

import pytest

from vfolder_backends.access import RootAccess
from vfolder_backends.errors import BackendError
from vfolder_backends.facts import Level
from vfolder_backends.port import Limits
from vfolder_backends.testing.conformance import TreeConformance
from vfolder_backends.testing.conformance.base import (
    DATASETS,
    OTHER_FOLDER,
    SCOPE,
    STRANGER,
    folder_request,
    purge_all,
)
from vfolder_backends.testing.storages import TreeUnderTest
from vfolder_backends.walked import UsageWalks, _Walk


def _du(place, option):
    done = subprocess.run(["du", "-s", option, place], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[0])


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

    async def test_a_survey_counts_what_du_counts(self, storage, backend, folder):
        top, scope = storage.path(SCOPE, folder), storage.root / SCOPE.value
        (top / "a" / "b").mkdir(parents=True)
        (top / "a" / "file").write_bytes(b"x" * 100_000)
        os.link(top / "a" / "file", top / "a" / "b" / "same")
        (top / "link").symlink_to("a")
        with (top / "sparse").open("wb") as file:
            file.truncate(1 << 30)
        await backend.ensure_folder(replace(folder_request(), folder=OTHER_FOLDER, owner=STRANGER))
        (storage.path(SCOPE, OTHER_FOLDER) / "trash").write_bytes(b"x" * 5000)
        await backend.trash_folder(SCOPE, OTHER_FOLDER, STRANGER)
        survey = await backend.survey_scope(SCOPE)
        assert survey.complete
        assert list(survey.usage) == [folder]
        for place, usage in ((top, survey.usage[folder]), (scope, survey.scope_usage)):
            assert (usage.bytes, usage.files) == (_du(place, "-B1"), _du(place, "--inodes"))
            assert usage.source == "Walk"

    async def test_a_survey_goes_on_from_call_to_call(self, storage, folder):
        top = storage.path(SCOPE, folder)
        for number in range(3):
            (top / f"{number}").mkdir()
            for name in range(3000):
                (top / f"{number}" / f"{name}").touch()
        access = RootAccess("under-test", str(storage.root), 2, 0.01)
        walks, calls = UsageWalks(access), 0
        root = os.open(storage.root, os.O_RDONLY)
        walk = _Walk()
        while not (survey := walks._go_on(root, SCOPE, walk)).complete:
            assert (survey.usage, survey.scope_usage) == ({}, None)
            calls += 1
        os.close(root)
        access.close()
        assert calls > 1
        assert survey.usage[folder].files == 9004

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

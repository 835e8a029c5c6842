"""Migrations on real project quotas: moved while untagged, tagged, verified, only then limited."""

import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from vfolder_backends.adoption import results
from vfolder_backends.registry import Registry
from vfolder_backends.testing.conformance.base import MIB
from vfolder_backends.testing.conformance.migrate_rules import (
    FOLDERS,
    MigrateRules,
    attached,
    forward,
    outcomes,
)
from vfolder_backends.testing.old_trees import OldFolder, plant, write_mapping
from vfolder_backends.testing.storages import TreeUnderTest

pytestmark = pytest.mark.skipif(
    "xfs" not in Registry().types, reason="this build has no project quotas"
)


class ProjectMigrateRules(MigrateRules):
    kind = ""
    folders = FOLDERS[:1]  # each step is killed thrice, and system calls take long in here

    @pytest.fixture(params=["in turn"])
    def then(self, request):
        return request.param

    @pytest.fixture
    def storage(self):
        root = Path("/mnt") / self.kind / uuid.uuid4().hex
        root.mkdir()
        return TreeUnderTest(root, self.kind)

    async def test_the_limit_holds_for_what_was_moved(self, storage):
        case = self.case(storage, 0, limited=True)
        backend = await attached(case.storage)
        try:
            assert outcomes(await forward(backend, case)) == [results.MIGRATED]
            state = await backend.describe_scope(FOLDERS[0].scope)
            # Nine inodes, two levels above them and the scope; links that lay there before cannot
            # be charged.
            assert state.usage.files == 10
            with pytest.raises(OSError, match=r"No space left|quota exceeded"):
                (FOLDERS[0].path(case.storage.root, 3) / "big").write_bytes(bytes(80 * MIB))
        finally:
            await backend.close()

    async def test_nothing_is_moved_into_a_scope_under_a_quota(self, storage):
        """The kernel says EXDEV; the folder stays where it is, and the message says why."""
        case = self.case(storage, 0, limited=True)
        backend = await attached(case.storage)
        try:
            await forward(backend, case)
            late = OldFolder.of(1, 50)
            plant(case.storage.root, late, 2, owner=None)
            mapping = write_mapping(storage.root / "late.csv", [*self.folders, late])
            events = await forward(backend, replace(case, mapping=mapping))
            told = {e.folder: e for e in events if hasattr(e, "result")}[late.folder.uuid]
            assert told.result == results.FAILED
            assert "EXDEV" in told.message
            assert late.path(case.storage.root, 2).is_dir()
        finally:
            await backend.close()


class TestMigrateOnXfs(ProjectMigrateRules):
    kind = "xfs"


class TestMigrateOnExt4(ProjectMigrateRules):
    kind = "ext4"

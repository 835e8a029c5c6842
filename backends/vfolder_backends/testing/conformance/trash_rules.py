"""Rules on the trash: whose time counts, what is left alone, which scopes go after their trash."""

import time
from dataclasses import replace

import pytest

from vfolder_backends.errors import NotEmpty, NotFound, NotOurs
from vfolder_backends.ids import FolderHex, ScopeHex
from vfolder_backends.port import FolderPhase, PurgePolicy, PurgeResult, StorageBackend
from vfolder_backends.testing.conformance.base import (
    DATASETS,
    EVERYTHING,
    FOLDER,
    OTHER_FOLDER,
    SCOPE,
    STRANGER,
    TEAM,
    Rules,
    folder_request,
    purge_all,
    scope_request,
)
from vfolder_backends.testing.storages import StorageUnderTest

OTHER = replace(DATASETS, name="other")


class TrashRules(Rules):
    """What is in the trash, until it is not."""

    async def test_a_time_of_its_own_outlives_the_storage_s_retention(
        self, backend: StorageBackend, folder: FolderHex
    ) -> None:
        """It is told, it decides alone, and it is gone after a restore."""
        await backend.trash_folder(SCOPE, folder, DATASETS, keep_seconds=3600)
        state = await backend.describe_folder(SCOPE, folder)
        assert state.since is not None
        assert state.expires == state.since + 3600
        old = PurgePolicy(before=2.0**40, now=state.expires - 1)
        assert await backend.purge(SCOPE, old) == PurgeResult(0, 0, more=False)
        await backend.restore_folder(SCOPE, folder, DATASETS)
        assert (await backend.describe_folder(SCOPE, folder)).expires is None
        await backend.trash_folder(SCOPE, folder, DATASETS)
        assert (await backend.describe_folder(SCOPE, folder)).expires is None
        await backend.restore_folder(SCOPE, folder, DATASETS)
        await backend.trash_folder(SCOPE, folder, DATASETS, keep_seconds=1)
        (listed,) = [state async for state in backend.list_folders(SCOPE)]
        assert listed.expires is not None
        result = await backend.purge(SCOPE, PurgePolicy(before=0, now=listed.expires))
        assert (result.removed_folders, result.more) == (1, False)

    async def test_trash_again_keeps_the_first_time(
        self, backend: StorageBackend, folder: FolderHex
    ) -> None:
        """A repeated call is no new wish."""
        await backend.trash_folder(SCOPE, folder, DATASETS, keep_seconds=3600)
        first = (await backend.describe_folder(SCOPE, folder)).expires
        await backend.trash_folder(SCOPE, folder, DATASETS, keep_seconds=1)
        assert (await backend.describe_folder(SCOPE, folder)).expires == first

    async def test_one_folder_is_purged_early(
        self, backend: StorageBackend, folder: FolderHex
    ) -> None:
        """The one that is named, whatever its own time, and no other, however old."""
        await backend.ensure_folder(folder_request(OTHER, OTHER_FOLDER))
        await backend.trash_folder(SCOPE, OTHER_FOLDER, OTHER)
        await backend.trash_folder(SCOPE, folder, DATASETS, keep_seconds=3600)
        result = await backend.purge(SCOPE, replace(EVERYTHING, now=0, only=folder))
        assert (result.removed_folders, result.more) == (1, False)
        assert [state.folder async for state in backend.list_folders(SCOPE)] == [OTHER_FOLDER]

    async def test_what_another_cluster_trashed_is_not_purged(
        self, backend: StorageBackend, folder: FolderHex
    ) -> None:
        """It is named with its owner, and holds up nothing of ours."""
        await backend.ensure_folder(folder_request(STRANGER, OTHER_FOLDER))
        await backend.trash_folder(SCOPE, OTHER_FOLDER, STRANGER)
        await backend.trash_folder(SCOPE, folder, DATASETS)
        ours = replace(EVERYTHING, cluster=DATASETS.cluster)
        with pytest.raises(NotOurs, match=STRANGER.cluster):
            await backend.purge(SCOPE, ours)
        (left,) = [state async for state in backend.list_folders(SCOPE)]
        assert (left.folder, left.phase) == (OTHER_FOLDER, FolderPhase.TRASHED)
        await backend.purge(SCOPE, replace(ours, before=0, now=0))
        with pytest.raises(NotOurs, match=STRANGER.cluster):
            await backend.restore_folder(SCOPE, OTHER_FOLDER, DATASETS)

    async def test_trash_is_found_by_name(self, backend: StorageBackend, folder: FolderHex) -> None:
        """From the deletion to the restore or the purge."""
        assert await backend.find_trash(DATASETS) is None
        await backend.trash_folder(SCOPE, folder, DATASETS, keep_seconds=3600)
        found = await backend.find_trash(DATASETS)
        assert found is not None
        assert (found.scope, found.folder, found.phase) == (SCOPE, folder, FolderPhase.TRASHED)
        assert found == replace(await backend.describe_folder(SCOPE, folder), usage=found.usage)
        assert await backend.find_trash(STRANGER) is None
        await backend.restore_folder(SCOPE, folder, DATASETS)
        assert await backend.find_trash(DATASETS) is None
        await backend.trash_folder(SCOPE, folder, DATASETS)
        await purge_all(backend)
        assert await backend.find_trash(DATASETS) is None

    async def test_a_retired_scope_goes_after_its_trash(
        self, backend: StorageBackend, folder: FolderHex
    ) -> None:
        """Not before, and not if it is not retired."""
        assert not await backend.delete_retired(SCOPE, TEAM)
        await backend.trash_folder(SCOPE, folder, DATASETS)
        for _ in range(2):
            await backend.retire_scope(SCOPE, TEAM)
            assert await backend.list_retired() == {SCOPE: TEAM}
        assert await backend.find_scope(TEAM) is None
        with pytest.raises(NotEmpty):
            await backend.delete_retired(SCOPE, TEAM)
        assert await backend.list_retired() == {SCOPE: TEAM}
        with pytest.raises(NotOurs):
            await backend.delete_retired(SCOPE, replace(TEAM, cluster="another"))
        await purge_all(backend)
        assert await backend.delete_retired(SCOPE, TEAM)
        assert await backend.list_retired() == {}
        with pytest.raises(NotFound):
            await backend.describe_scope(SCOPE)

    async def test_a_scope_that_is_had_again_is_not_retired(
        self, backend: StorageBackend, scope: ScopeHex
    ) -> None:
        """Made again by its owner, it stays, and is found by name."""
        await backend.retire_scope(scope, TEAM)
        await backend.ensure_scope(scope_request())
        assert await backend.list_retired() == {}
        assert await backend.find_scope(TEAM) == scope
        assert not await backend.delete_retired(scope, TEAM)
        assert (await backend.describe_scope(scope)).owner == TEAM

    async def test_nobody_retires_another_s_scope(
        self, backend: StorageBackend, scope: ScopeHex
    ) -> None:
        """A mark of somebody else refuses; what is not there needs nothing."""
        with pytest.raises(NotOurs, match=TEAM.name):
            await backend.retire_scope(scope, STRANGER)
        await backend.retire_scope(ScopeHex("0" * 32), TEAM)
        assert await backend.list_retired() == {}

    async def test_the_second_life_has_a_time_of_its_own(
        self, storage: StorageUnderTest, backend: StorageBackend, folder: FolderHex
    ) -> None:
        """Two in the trash under one id: each counts from its own deletion."""
        await storage.fill(SCOPE, folder, 10)
        await backend.trash_folder(SCOPE, FOLDER, DATASETS, keep_seconds=3600)
        await backend.ensure_folder(replace(folder_request(), recreate=True))
        await storage.fill(SCOPE, folder, 20)
        await backend.trash_folder(SCOPE, FOLDER, DATASETS, keep_seconds=3600)
        states = [state async for state in backend.list_folders(SCOPE)]
        assert len(states) == 2
        for state in states:
            assert state.since is not None
            assert state.expires == state.since + 3600 > time.time()

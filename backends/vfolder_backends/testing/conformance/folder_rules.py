"""Rules on folders: made once, to the trash and back, purged for good."""

import time
from dataclasses import replace

import pytest

from vfolder_backends.errors import (
    DataMissing,
    NotFound,
    PathConflict,
)
from vfolder_backends.ids import FolderHex, ScopeHex
from vfolder_backends.port import (
    FolderAttributes,
    FolderPhase,
    PurgePolicy,
    PurgeResult,
    StorageBackend,
)
from vfolder_backends.testing.conformance.base import (
    ATTRIBUTES,
    DATASETS,
    EVERYTHING,
    FOLDER,
    OTHER_FOLDER,
    SCOPE,
    Rules,
    folder_request,
    purge_all,
)
from vfolder_backends.testing.storages import StorageUnderTest, until


class FolderRules(Rules):
    """A folder from its making to its end."""

    async def test_folder_is_made_once(self, backend: StorageBackend, scope: ScopeHex) -> None:
        """Made with owner and mode, the same ever after, changed on request."""
        made = await backend.ensure_folder(folder_request())
        assert (made.owner, made.phase, made.attributes) == (
            DATASETS,
            FolderPhase.LIVE,
            ATTRIBUTES,
        )
        again = await backend.ensure_folder(replace(folder_request(), must_exist=True))
        assert replace(again, usage=None) == replace(made, usage=None)
        assert [f.folder async for f in backend.list_folders(scope)] == [FOLDER]
        changed = FolderAttributes(mode=0o750)
        state = await backend.ensure_folder(replace(folder_request(), attributes=changed))
        assert state.attributes == replace(ATTRIBUTES, mode=0o750)
        described = await backend.describe_folder(scope, FOLDER)
        assert replace(described, usage=None) == replace(state, usage=None)

    async def test_what_must_exist_is_not_made(
        self, backend: StorageBackend, scope: ScopeHex
    ) -> None:
        """`must_exist` finds or fails."""
        with pytest.raises(NotFound):
            await backend.ensure_folder(replace(folder_request(), must_exist=True))
        assert [f async for f in backend.list_folders(scope)] == []

    async def test_missing_folder_is_not_made_again(
        self, storage: StorageUnderTest, backend: StorageBackend, folder: FolderHex
    ) -> None:
        """A mark without its directory is DataMissing until an empty one is asked for."""
        await storage.lose_folder(SCOPE, folder)
        for request in (folder_request(), replace(folder_request(), must_exist=True)):
            with pytest.raises(DataMissing):
                await backend.ensure_folder(request)
        assert (await backend.describe_folder(SCOPE, folder)).phase is FolderPhase.MISSING
        assert await backend.find_folder(DATASETS) is None
        state = await backend.ensure_folder(
            replace(folder_request(), must_exist=True, recreate=True)
        )
        assert (state.phase, state.attributes) == (FolderPhase.LIVE, ATTRIBUTES)

    async def test_trash_restore_purge(
        self, storage: StorageUnderTest, backend: StorageBackend, folder: FolderHex
    ) -> None:
        """To the trash and back any number of times, each call repeatable; a purge is final."""
        await storage.fill(SCOPE, folder, 1000)
        for _ in range(2):
            for _ in range(2):
                await backend.trash_folder(SCOPE, folder, DATASETS)
            state = await backend.describe_folder(SCOPE, folder)
            assert state.phase is FolderPhase.TRASHED
            assert state.since is not None
            assert abs(state.since - time.time()) < 60
            with pytest.raises(DataMissing):
                await backend.ensure_folder(folder_request())
            for _ in range(2):
                state = await backend.restore_folder(SCOPE, folder, DATASETS)
                assert (state.phase, state.attributes) == (FolderPhase.LIVE, ATTRIBUTES)
        await backend.trash_folder(SCOPE, folder, DATASETS)
        untouched = await backend.purge(SCOPE, PurgePolicy(before=time.time() - 3600))
        assert untouched == PurgeResult(0, 0, more=False)
        assert (await purge_all(backend)).removed_folders == 1
        assert await purge_all(backend) == PurgeResult(0, 0, more=False)
        with pytest.raises(NotFound):
            await backend.restore_folder(SCOPE, folder, DATASETS)
        with pytest.raises(NotFound):
            await backend.describe_folder(SCOPE, folder)
        await backend.trash_folder(SCOPE, folder, DATASETS)
        assert [f async for f in backend.list_folders(SCOPE)] == []

    async def test_purge_stops_at_its_budget_and_goes_on(
        self, storage: StorageUnderTest, backend: StorageBackend, folder: FolderHex
    ) -> None:
        """A folder whose purge began cannot come back; the next call goes on."""
        for size in (10, 20, 30):
            await storage.fill(SCOPE, folder, size)
        await backend.trash_folder(SCOPE, folder, DATASETS)
        assert (await backend.purge(SCOPE, replace(EVERYTHING, budget=1))).more
        assert (await backend.describe_folder(SCOPE, folder)).phase is FolderPhase.PURGING
        with pytest.raises(NotFound):
            await backend.restore_folder(SCOPE, folder, DATASETS)
        with pytest.raises(DataMissing):
            await backend.ensure_folder(folder_request())
        await purge_all(backend)
        with pytest.raises(NotFound):
            await backend.describe_folder(SCOPE, folder)

    async def test_oldest_trash_goes_first(
        self, storage: StorageUnderTest, backend: StorageBackend, folder: FolderHex
    ) -> None:
        """Two folders trashed a second apart: the budget reaches the older one only."""
        await backend.ensure_folder(folder_request(replace(DATASETS, name="b"), OTHER_FOLDER))
        for number in range(3):
            await storage.fill(SCOPE, OTHER_FOLDER, 10 + number)
            await storage.fill(SCOPE, folder, 10 + number)
        await backend.trash_folder(SCOPE, OTHER_FOLDER, replace(DATASETS, name="b"))
        first = (await backend.describe_folder(SCOPE, OTHER_FOLDER)).since
        assert first is not None

        async def a_second_later() -> bool:
            return time.time() >= first + 1

        await until(a_second_later, 10)
        await backend.trash_folder(SCOPE, folder, DATASETS)
        await backend.purge(SCOPE, replace(EVERYTHING, budget=1))
        assert (await backend.describe_folder(SCOPE, OTHER_FOLDER)).phase is FolderPhase.PURGING
        assert (await backend.describe_folder(SCOPE, folder)).phase is FolderPhase.TRASHED
        result = await backend.purge(SCOPE, PurgePolicy(before=first + 1))
        assert (result.removed_folders, result.more) == (1, False)
        assert (await backend.describe_folder(SCOPE, folder)).phase is FolderPhase.TRASHED

    async def test_empty_one_in_place_of_trash(
        self, backend: StorageBackend, folder: FolderHex
    ) -> None:
        """A new life beside the trash: neither hides, loses or un-marks the other."""
        await backend.trash_folder(SCOPE, folder, DATASETS)
        request = replace(folder_request(), recreate=True)
        assert (await backend.ensure_folder(request)).phase is FolderPhase.LIVE
        phases = sorted([state.phase async for state in backend.list_folders(SCOPE)])
        assert phases == [FolderPhase.LIVE, FolderPhase.TRASHED]
        with pytest.raises(PathConflict):
            await backend.restore_folder(SCOPE, folder, DATASETS)
        await purge_all(backend)
        state = await backend.describe_folder(SCOPE, folder)
        assert (state.owner, state.phase) == (DATASETS, FolderPhase.LIVE)
        assert await backend.find_folder(DATASETS) == (SCOPE, folder)

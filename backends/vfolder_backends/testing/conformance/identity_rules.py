"""Rules on identity: whose a thing is, who may take it, what a name leads back to."""

from collections.abc import Awaitable
from dataclasses import replace

import pytest

from vfolder_backends.errors import (
    NotEmpty,
    NotFound,
    NotOurs,
)
from vfolder_backends.ids import FolderHex, ScopeHex
from vfolder_backends.port import Adoption, FolderAttributes, Limits, PurgeResult, StorageBackend
from vfolder_backends.testing.conformance.base import (
    ATTRIBUTES,
    DATASETS,
    FOLDER,
    LIMITS,
    MIB,
    OTHER_FOLDER,
    OTHER_SCOPE,
    SCOPE,
    STRANGER,
    TEAM,
    Rules,
    folder_request,
    purge_all,
    scope_request,
)
from vfolder_backends.testing.storages import StorageUnderTest


class IdentityRules(Rules):
    """Owners, strangers, adoption, the index of names."""

    async def test_names_lead_back_to_live_data(
        self, backend: StorageBackend, folder: FolderHex
    ) -> None:
        """The index finds what is live and marked for that very owner, and nothing else."""
        assert await backend.find_scope(TEAM) == SCOPE
        assert await backend.find_folder(DATASETS) == (SCOPE, folder)
        for owner in (STRANGER, replace(DATASETS, namespace="b"), replace(DATASETS, name="x")):
            assert await backend.find_folder(owner) is None
            assert await backend.find_scope(owner) is None
        await backend.trash_folder(SCOPE, folder, DATASETS)
        assert await backend.find_folder(DATASETS) is None
        await backend.ensure_folder(folder_request(folder=OTHER_FOLDER))
        assert await backend.find_folder(DATASETS) == (SCOPE, OTHER_FOLDER)
        await purge_all(backend)
        assert await backend.find_folder(DATASETS) == (SCOPE, OTHER_FOLDER)
        await backend.trash_folder(SCOPE, OTHER_FOLDER, DATASETS)
        await purge_all(backend)
        await backend.delete_scope(SCOPE, TEAM)
        assert await backend.find_scope(TEAM) is None

    async def test_unknown_ids(self, backend: StorageBackend, scope: ScopeHex) -> None:
        """What was never there is NotFound, and gone already where it is to go."""
        with pytest.raises(NotFound):
            await backend.describe_scope(OTHER_SCOPE)
        with pytest.raises(NotFound):
            await backend.set_limits(OTHER_SCOPE, TEAM, LIMITS)
        with pytest.raises(NotFound):
            await backend.ensure_folder(replace(folder_request(), scope=OTHER_SCOPE))
        for where in (scope, OTHER_SCOPE):
            with pytest.raises(NotFound):
                await backend.describe_folder(where, FOLDER)
            with pytest.raises(NotFound):
                await backend.restore_folder(where, FOLDER, DATASETS)
            await backend.trash_folder(where, FOLDER, DATASETS)
            assert [f async for f in backend.list_folders(where)] == []
            assert await purge_all(backend, where) == PurgeResult(0, 0, more=False)
        await backend.delete_scope(OTHER_SCOPE, TEAM)

    async def test_only_the_owner_changes_anything(
        self, backend: StorageBackend, folder: FolderHex
    ) -> None:
        """Everybody else is told whose it is."""
        before = await backend.describe_folder(SCOPE, folder)
        limits = (await backend.describe_scope(SCOPE)).limits
        calls: list[Awaitable[object]] = [
            backend.ensure_scope(scope_request(STRANGER)),
            backend.set_limits(SCOPE, STRANGER, Limits()),
            backend.delete_scope(SCOPE, STRANGER),
        ]
        for call in calls:
            with pytest.raises(NotOurs, match=f"{TEAM.namespace}/{TEAM.name}"):
                await call
        calls = [
            backend.ensure_folder(replace(folder_request(STRANGER), recreate=True)),
            backend.trash_folder(SCOPE, folder, STRANGER),
        ]
        for call in calls:
            with pytest.raises(NotOurs, match=f"{DATASETS.namespace}/{DATASETS.name}"):
                await call
        after = await backend.describe_folder(SCOPE, folder)
        assert replace(after, usage=None) == replace(before, usage=None)
        assert (await backend.describe_scope(SCOPE)).limits == limits
        await backend.trash_folder(SCOPE, folder, DATASETS)
        with pytest.raises(NotOurs):
            await backend.restore_folder(SCOPE, folder, STRANGER)

    async def test_adoption_of_marked_data(
        self, backend: StorageBackend, folder: FolderHex
    ) -> None:
        """It passes on as it lies, only with leave, and only from whom the leave names."""
        wrong = Adoption(previous=replace(DATASETS, name="wrong"))
        for refused in (None, wrong):
            with pytest.raises(NotOurs):
                await backend.ensure_scope(replace(scope_request(STRANGER), adoption=refused))
            with pytest.raises(NotOurs):
                await backend.ensure_folder(replace(folder_request(STRANGER), adoption=refused))
        limits = (await backend.describe_scope(SCOPE)).limits
        taken = replace(scope_request(STRANGER), adoption=Adoption(TEAM), limits=Limits(bytes=MIB))
        for _ in range(2):
            state = await backend.ensure_scope(taken)
            assert (state.owner, state.limits) == (STRANGER, limits)
        request = replace(
            folder_request(STRANGER), adoption=Adoption(DATASETS), attributes=FolderAttributes()
        )
        for _ in range(2):
            folder_state = await backend.ensure_folder(request)
            assert (folder_state.owner, folder_state.attributes) == (STRANGER, ATTRIBUTES)
        assert await backend.find_folder(STRANGER) == (SCOPE, folder)
        assert await backend.find_folder(DATASETS) is None
        with pytest.raises(NotOurs):
            await backend.trash_folder(SCOPE, folder, DATASETS)

    async def test_adoption_of_unmarked_data(
        self, storage: StorageUnderTest, backend: StorageBackend, scope: ScopeHex
    ) -> None:
        """Data without a mark is nobody's to change until an adoption names it."""
        await storage.plant_folder(scope, FOLDER)
        await storage.fill(scope, FOLDER, 1000)
        with pytest.raises(NotOurs):
            await backend.ensure_folder(folder_request())
        with pytest.raises(NotOurs):
            await backend.ensure_folder(replace(folder_request(), adoption=Adoption(STRANGER)))
        with pytest.raises(NotOurs):
            await backend.trash_folder(scope, FOLDER, DATASETS)
        assert (await backend.describe_folder(scope, FOLDER)).owner is None
        with pytest.raises(NotEmpty):
            await backend.delete_scope(scope, TEAM)
        adopted = await backend.ensure_folder(
            replace(folder_request(), must_exist=True, adoption=Adoption())
        )
        assert (adopted.owner, adopted.attributes) == (DATASETS, ATTRIBUTES)
        assert await backend.find_folder(DATASETS) == (scope, FOLDER)

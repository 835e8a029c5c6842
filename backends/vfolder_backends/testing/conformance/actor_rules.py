"""Rules on several actors at once, as two leaders of an operator are for a moment."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from vfolder_backends.errors import (
    BackendError,
    NotOurs,
)
from vfolder_backends.ids import FolderHex, ScopeHex
from vfolder_backends.port import FolderPhase, Owner, StorageBackend
from vfolder_backends.testing.conformance.base import (
    ATTRIBUTES,
    DATASETS,
    EVERYTHING,
    FOLDER,
    SCOPE,
    TEAM,
    Rules,
    folder_request,
    purge_all,
    scope_request,
)
from vfolder_backends.testing.storages import StorageUnderTest


class ActorRules(Rules):
    """Races on the same scope and folder."""

    async def test_two_leaders_make_the_same(
        self, storage: StorageUnderTest, backend: StorageBackend
    ) -> None:
        """Both succeed, and there is one scope and one folder."""
        states = await self.race(storage, *[lambda b: b.ensure_scope(scope_request())] * 6)
        assert not [state for state in states if isinstance(state, BackendError)]
        states = await self.race(storage, *[lambda b: b.ensure_folder(folder_request())] * 6)
        assert not [state for state in states if isinstance(state, BackendError)]
        assert [s.owner async for s in backend.list_scopes()] == [TEAM]
        assert [(f.phase, f.attributes) async for f in backend.list_folders(SCOPE)] == [
            (FolderPhase.LIVE, ATTRIBUTES)
        ]

    async def test_two_owners_want_the_same(
        self, storage: StorageUnderTest, backend: StorageBackend
    ) -> None:
        """One gets it, and the others are told who."""
        owners = [replace(TEAM, name=f"q{number}") for number in range(6)]

        def wants_scope(owner: Owner) -> Callable[[StorageBackend], Awaitable[object]]:
            return lambda b: b.ensure_scope(scope_request(owner))

        def wants_folder(owner: Owner) -> Callable[[StorageBackend], Awaitable[object]]:
            return lambda b: b.ensure_folder(folder_request(owner))

        states = await self.race(storage, *map(wants_scope, owners))
        assert sorted(isinstance(state, NotOurs) for state in states) == [False] + [True] * 5
        winner = (await backend.describe_scope(SCOPE)).owner
        assert [await backend.find_scope(owner) for owner in owners] == [
            SCOPE if owner == winner else None for owner in owners
        ]
        states = await self.race(storage, *map(wants_folder, owners))
        assert sorted(isinstance(state, NotOurs) for state in states) == [False] + [True] * 5
        assert len([f async for f in backend.list_folders(SCOPE)]) == 1

    async def test_two_leaders_delete_the_same(
        self, storage: StorageUnderTest, backend: StorageBackend, folder: FolderHex
    ) -> None:
        """Trash, purge and scope are each gone once, whoever did it."""
        for number in range(8):
            await storage.fill(SCOPE, folder, 10 + number)
        results = await self.race(storage, *[lambda b: b.trash_folder(SCOPE, folder, DATASETS)] * 4)
        assert results == [None] * 4
        assert len([f async for f in backend.list_folders(SCOPE)]) == 1
        results = await self.race(storage, *[lambda b: b.purge(SCOPE, EVERYTHING)] * 4)
        assert not [result for result in results if isinstance(result, BackendError)]
        await purge_all(backend)
        results = await self.race(storage, *[lambda b: b.delete_scope(SCOPE, TEAM)] * 4)
        assert results == [None] * 4
        assert [s async for s in backend.list_scopes()] == []

    async def test_opposite_wishes_leave_no_mess(
        self, storage: StorageUnderTest, backend: StorageBackend, scope: ScopeHex
    ) -> None:
        """Made, trashed, restored and purged at once, a folder is whole afterwards or gone."""
        calls: list[Callable[[StorageBackend], Awaitable[object]]] = [
            lambda b: b.ensure_folder(replace(folder_request(), recreate=True)),
            lambda b: b.trash_folder(scope, FOLDER, DATASETS),
            lambda b: b.purge(scope, EVERYTHING),
            lambda b: b.restore_folder(scope, FOLDER, DATASETS),
            lambda b: b.ensure_folder(folder_request()),
            lambda b: b.purge(scope, EVERYTHING),
        ]
        for turn in range(6):
            await self.race(storage, *calls[turn:], *calls[:turn])
            for state in [f async for f in backend.list_folders(scope)]:
                assert state.owner == DATASETS
            settled = await backend.ensure_folder(replace(folder_request(), recreate=True))
            assert (settled.phase, settled.owner) == (FolderPhase.LIVE, DATASETS)
        await backend.trash_folder(scope, FOLDER, DATASETS)
        await purge_all(backend)
        await backend.delete_scope(scope, TEAM)

"""Rules on the root: one id for all, and nothing happens on a lost one."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from dataclasses import replace

import pytest

from vfolder_backends.errors import (
    DataMissing,
    RootLost,
    Unavailable,
)
from vfolder_backends.ids import FolderHex
from vfolder_backends.port import FolderPhase, Limits, StorageBackend
from vfolder_backends.testing.conformance.base import (
    DATASETS,
    EVERYTHING,
    FOLDER,
    SCOPE,
    TEAM,
    Rules,
    folder_request,
    scope_request,
)
from vfolder_backends.testing.storages import StorageUnderTest


class RootRules(Rules):
    """Attaching, losing and closing."""

    async def test_attach_gives_one_id_to_all(self, storage: StorageUnderTest) -> None:
        """Racing first attaches end with one id, and it stays."""
        backends = [storage.build() for _ in range(8)]
        ids = await asyncio.gather(*(backend.attach(None) for backend in backends))
        assert len(set(ids)) == 1
        assert await storage.build().attach(ids[0]) == ids[0]
        for backend in backends:
            await backend.close()

    async def test_attach_refuses_another_root(self, backend: StorageBackend) -> None:
        """An expected id that differs is a lost root."""
        with pytest.raises(RootLost):
            await backend.attach("0" * 32)

    async def test_attach_writes_nothing_where_an_id_is_expected(
        self, storage: StorageUnderTest, backend: StorageBackend
    ) -> None:
        """An unmounted root stays without a mark."""
        root_id = await backend.attach(None)
        await storage.unmount()
        for _ in range(2):
            with pytest.raises(RootLost):
                await storage.build().attach(root_id)
        await storage.mount()
        assert await storage.build().attach(root_id) == root_id

    async def test_a_root_that_may_not_be_initialised_stays_without_a_mark(
        self, storage: StorageUnderTest, backend: StorageBackend
    ) -> None:
        """An existing mark is taken all the same."""
        root_id = await backend.attach(None)
        assert await storage.build().attach(None, initialise=False) == root_id
        await storage.unmount()
        for _ in range(2):
            with pytest.raises(RootLost):
                await storage.build().attach(None, initialise=False)
        await storage.mount()

    async def test_a_scope_that_must_exist_is_not_made(self, backend: StorageBackend) -> None:
        """It was made once, and even its mark is gone: a storage that was rolled back."""
        await backend.attach(None)
        with pytest.raises(DataMissing):
            await backend.ensure_scope(replace(scope_request(), must_exist=True))
        assert [state async for state in backend.list_scopes()] == []
        await backend.ensure_scope(replace(scope_request(), must_exist=True, recreate=True))
        await backend.ensure_scope(replace(scope_request(), must_exist=True))

    async def test_nothing_happens_on_a_lost_root(
        self, storage: StorageUnderTest, backend: StorageBackend, folder: FolderHex
    ) -> None:
        """Every call fails while another directory is shown, and leaves nothing in it."""
        await storage.unmount()

        async def exhaust(items: AsyncIterator[object]) -> None:
            async for _ in items:
                pass

        calls: list[Awaitable[object]] = [
            backend.probe(),
            backend.ensure_scope(scope_request()),
            backend.describe_scope(SCOPE),
            backend.set_limits(SCOPE, TEAM, Limits()),
            backend.delete_scope(SCOPE, TEAM),
            exhaust(backend.list_scopes()),
            backend.find_scope(TEAM),
            backend.find_folder(DATASETS),
            backend.ensure_folder(folder_request()),
            backend.describe_folder(SCOPE, FOLDER),
            backend.trash_folder(SCOPE, FOLDER, DATASETS),
            backend.restore_folder(SCOPE, FOLDER, DATASETS),
            exhaust(backend.list_folders(SCOPE)),
            backend.purge(SCOPE, EVERYTHING),
        ]
        for call in calls:
            with pytest.raises(RootLost):
                await call
        await storage.mount()  # which fails unless the directory shown meanwhile is empty
        assert (await backend.describe_folder(SCOPE, FOLDER)).phase is FolderPhase.LIVE

    async def test_close_ends_it(self, backend: StorageBackend) -> None:
        """A closed backend refuses."""
        await backend.close()
        with pytest.raises(Unavailable):
            await backend.describe_scope(SCOPE)

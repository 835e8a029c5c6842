"""Rules on a leader that stood still: held before any step, it goes on in a changed world.

Leases do not fence. Each test holds one process before step 1, 2, 3 and so on of an operation, lets
another actor finish something, and lets the first one go on with what it believed. It may then be
refused; data, marks and limits must be right all the same.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from functools import partial

import pytest

from vfolder_backends.errors import DataMissing, NotFound, NotOurs
from vfolder_backends.facts import Capabilities
from vfolder_backends.ids import FolderHex
from vfolder_backends.port import FolderPhase, FolderRequest, Limits, StorageBackend
from vfolder_backends.testing.conformance.base import DATASETS, MIB
from vfolder_backends.testing.conformance.operations import (
    MAX_STEPS,
    Prepare,
    StepRules,
    Things,
    clean,
    delete_retired,
    delete_scope,
    ensure_folder,
    ensure_scope,
    nothing,
    purge,
    restore,
    trash,
    with_folder,
    with_retired,
    with_scope,
    with_trash,
)
from vfolder_backends.testing.crash import run_and_stop
from vfolder_backends.testing.storages import TreeUnderTest


class LeaderRules(StepRules):
    """Every change, overtaken at every step."""

    async def overtaken(
        self,
        storage: TreeUnderTest,
        backend: StorageBackend,
        operation: Callable[..., Awaitable[object]],
        prepare: Prepare,
        meanwhile: Prepare,
        **more: bool,
    ) -> AsyncIterator[Things]:
        """Yield what is left each time; ends when the operation has no such step any more."""
        root_id = await backend.attach(None)
        for step in range(1, MAX_STEPS):
            things = Things(root_id, step)
            await prepare(backend, things)
            held = await run_and_stop(
                storage,
                partial(operation, things=things, **more),
                step,
                partial(meanwhile, backend, things),
            )
            yield things
            if not held:
                return
        raise AssertionError(f"more than {MAX_STEPS} steps")

    async def test_scope_made_twice(
        self, storage: TreeUnderTest, backend: StorageBackend, capabilities: Capabilities
    ) -> None:
        """The other leader made it, changed its limits and put a folder in."""
        changed, begun = Limits(bytes=2 * MIB), True

        async def meanwhile(backend: StorageBackend, things: Things) -> None:
            nonlocal begun
            begun = storage.intent(things.scope.scope).exists()
            await with_folder(backend, things)
            await backend.set_limits(things.scope.scope, things.scope.owner, changed)

        steps = 0
        async for things in self.overtaken(storage, backend, ensure_scope, nothing, meanwhile):
            state = await backend.describe_scope(things.scope.scope)
            # Who had begun to make it may write the limits it was told; nobody else.
            wanted = [self.stored(changed, capabilities)]
            if begun:
                wanted.append(self.stored(things.scope.limits, capabilities))
            assert state.limits.bytes in [limits.bytes for limits in wanted]
            assert state.limits.files in [limits.files for limits in wanted]
            await backend.ensure_scope(things.scope)
            assert not storage.intent(things.scope.scope).exists()
            await self.live(backend, things)
            await clean(backend, things)
            self.nothing_left(storage)
            steps += 1
        assert steps > 5

    async def test_scope_made_while_deleted(
        self, storage: TreeUnderTest, backend: StorageBackend
    ) -> None:
        """What comes back is a whole scope, or nothing that cannot be deleted again."""

        async def meanwhile(backend: StorageBackend, things: Things) -> None:
            await with_scope(backend, things)
            await delete_scope(backend, things)

        async for things in self.overtaken(storage, backend, ensure_scope, nothing, meanwhile):
            await delete_scope(backend, things)
            self.nothing_left(storage)

    async def test_scope_deleted_while_used(
        self, storage: TreeUnderTest, backend: StorageBackend
    ) -> None:
        """A folder that the other leader made in it stays, with scope and marks."""
        made = True

        async def meanwhile(backend: StorageBackend, things: Things) -> None:
            nonlocal made
            try:
                await backend.ensure_folder(things.folder)
                made = True
            except (NotFound, DataMissing):
                made = False

        async for things in self.overtaken(storage, backend, delete_scope, with_scope, meanwhile):
            if made:
                await self.live(backend, things)
                assert (await backend.describe_scope(things.scope.scope)).owner
            await clean(backend, things)
            self.nothing_left(storage)

    async def test_retired_scope_had_again(
        self, storage: TreeUnderTest, backend: StorageBackend
    ) -> None:
        """Somebody has it again, with a folder in it, while a late leader removes it."""
        made = True

        async def meanwhile(backend: StorageBackend, things: Things) -> None:
            nonlocal made
            try:
                await backend.ensure_scope(things.scope)
                await backend.ensure_folder(things.folder)
                made = True
            except (NotFound, DataMissing):
                made = False

        async for things in self.overtaken(
            storage, backend, delete_retired, with_retired, meanwhile
        ):
            assert made
            await self.live(backend, things)
            assert (await backend.describe_scope(things.scope.scope)).owner == things.scope.owner
            await backend.ensure_scope(things.scope)
            assert await backend.list_retired() == {}
            await clean(backend, things)
            self.nothing_left(storage)

    async def test_retired_scope_had_again_at_once(
        self, storage: TreeUnderTest, backend: StorageBackend
    ) -> None:
        """The same with the other one as the one that stood still: it gets a whole scope."""

        async def meanwhile(backend: StorageBackend, things: Things) -> None:
            await delete_retired(backend, things)

        async for things in self.overtaken(storage, backend, ensure_scope, with_retired, meanwhile):
            await backend.ensure_scope(things.scope)
            assert await backend.list_retired() == {}
            assert await backend.find_scope(things.scope.owner) == things.scope.scope
            await delete_scope(backend, things)
            self.nothing_left(storage)

    async def test_folder_made_twice(self, storage: TreeUnderTest, backend: StorageBackend) -> None:
        """The other leader made it, and a pod wrote into it."""

        async def meanwhile(backend: StorageBackend, things: Things) -> None:
            await backend.ensure_folder(things.folder)
            await storage.fill(things.folder.scope, things.folder.folder, 10)

        for prepare, more in ((with_scope, {}), (self.lost(storage), {"recreate": True})):

            async def recreated(backend: StorageBackend, things: Things) -> None:
                request = replace(things.folder, recreate=True)
                await backend.ensure_folder(request)
                await storage.fill(things.folder.scope, things.folder.folder, 10)

            other = recreated if more else meanwhile
            async for things in self.overtaken(
                storage, backend, ensure_folder, prepare, other, **more
            ):
                await self.live(backend, things)
                top = storage.path(things.folder.scope, things.folder.folder)
                assert [path.name for path in top.iterdir()] == ["data-10"]
                await clean(backend, things)
                self.nothing_left(storage)

    def lost(self, storage: TreeUnderTest) -> Prepare:
        """A preparation after which the folder is missing."""

        async def prepare(backend: StorageBackend, things: Things) -> None:
            await with_folder(backend, things)
            await storage.lose_folder(things.folder.scope, things.folder.folder)

        return prepare

    async def test_folder_made_for_somebody_else(
        self, storage: TreeUnderTest, backend: StorageBackend
    ) -> None:
        """The one who came first keeps it, whole."""
        first = True

        async def meanwhile(backend: StorageBackend, things: Things) -> None:
            nonlocal first
            first = False
            try:
                await backend.ensure_folder(replace(things, name="other").folder)
            except NotOurs:
                first = True

        async for things in self.overtaken(storage, backend, ensure_folder, with_scope, meanwhile):
            other = replace(things, name="other")
            winner, loser = (things, other) if first else (other, things)
            await self.live(backend, winner)
            assert await backend.find_folder(loser.folder.owner) is None
            await trash(backend, winner)
            await purge(backend, winner)
            await clean(backend, loser)
            self.nothing_left(storage)

    async def test_folder_made_while_all_is_deleted(
        self, storage: TreeUnderTest, backend: StorageBackend
    ) -> None:
        """The scope does not come back as a bare directory without its limits."""
        async for things in self.overtaken(storage, backend, ensure_folder, with_scope, clean):
            assert not (storage.root / things.scope.scope.value).exists()
            await clean(backend, things)
            self.nothing_left(storage)

    async def test_folder_made_anew_while_its_trash_is_purged(
        self, storage: TreeUnderTest, backend: StorageBackend
    ) -> None:
        """The new one keeps, or gets back, its mark; beside it another one keeps the prefix."""

        def neighbour(things: Things) -> FolderRequest:
            folder = FolderHex(f"{things.folder.folder.value[:-1]}2")
            return replace(things.folder, folder=folder, owner=replace(DATASETS, name="next"))

        async def prepare(backend: StorageBackend, things: Things) -> None:
            await with_trash(backend, things)
            await backend.ensure_folder(neighbour(things))

        async for things in self.overtaken(
            storage, backend, ensure_folder, prepare, purge, recreate=True
        ):
            beside = neighbour(things)
            await backend.trash_folder(beside.scope, beside.folder, beside.owner)
            await purge(backend, things)
            await self.live(backend, things)
            await clean(backend, things)
            self.nothing_left(storage)

    async def test_purge_while_the_folder_is_made_anew(
        self, storage: TreeUnderTest, backend: StorageBackend
    ) -> None:
        """The same with the purge as the one that stood still."""

        async def meanwhile(backend: StorageBackend, things: Things) -> None:
            await backend.ensure_folder(replace(things.folder, recreate=True))
            await storage.fill(things.folder.scope, things.folder.folder, 10)

        async for things in self.overtaken(storage, backend, purge, with_trash, meanwhile):
            await self.live(backend, things)
            top = storage.path(things.folder.scope, things.folder.folder)
            assert [path.name for path in top.iterdir()] == ["data-10"]
            await clean(backend, things)
            self.nothing_left(storage)

    @pytest.mark.parametrize("other", [trash, purge, restore])
    @pytest.mark.parametrize("held", [trash, purge, restore])
    async def test_trash_and_back_at_once(
        self,
        storage: TreeUnderTest,
        backend: StorageBackend,
        held: Prepare,
        other: Prepare,
    ) -> None:
        """The folder is live, in the trash or purged; never two of these, never half."""

        async def meanwhile(backend: StorageBackend, things: Things) -> None:
            try:
                await other(backend, things)
            except NotFound:
                assert other is restore

        prepare = with_folder if held is trash else with_trash
        async for things in self.overtaken(storage, backend, held, prepare, meanwhile):
            states = [state async for state in backend.list_folders(things.folder.scope)]
            assert len(states) <= 1
            for state in states:
                assert state.phase is not FolderPhase.MISSING
                assert state.owner == things.folder.owner
            await clean(backend, things)
            self.nothing_left(storage)

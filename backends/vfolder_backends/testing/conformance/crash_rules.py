"""Rules on crashes: killed before any step that changes something, a retry converges.

Each test kills a process at step 1, 2, 3 and so on until the operation outlives it, each time on
objects of its own in one tree. After each kill one of two things follows, as in real life: the
same call again, or the deletion of what is half there.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from functools import partial

import pytest

from vfolder_backends.facts import Capabilities
from vfolder_backends.port import FolderPhase, Limits, StorageBackend
from vfolder_backends.testing.conformance.base import (
    LIMITS,
    MIB,
)
from vfolder_backends.testing.conformance.operations import (
    MAX_STEPS,
    Prepare,
    StepRules,
    Things,
    attach,
    clean,
    delete_retired,
    delete_scope,
    ensure_folder,
    ensure_scope,
    nothing,
    purge,
    restore,
    retire,
    set_limits,
    trash,
    with_folder,
    with_retired,
    with_scope,
    with_trash,
)
from vfolder_backends.testing.crash import run_and_kill
from vfolder_backends.testing.storages import TreeUnderTest


class CrashRules(StepRules):
    """Every change, killed at every step."""

    async def after_each_crash(
        self,
        storage: TreeUnderTest,
        backend: StorageBackend,
        operation: Callable[..., Awaitable[object]],
        prepare: Prepare = nothing,
        **more: bool,
    ) -> AsyncIterator[Things]:
        """Yield what each kill left; ends after the step at which none came any more."""
        root_id = await backend.attach(None)
        for step in range(1, MAX_STEPS):
            things = Things(root_id, step)
            await prepare(backend, things)
            doomed = partial(operation, things=things, **more)
            killed = await asyncio.to_thread(run_and_kill, storage, doomed, step)
            yield things
            if not killed:
                return
        raise AssertionError(f"more than {MAX_STEPS} steps")

    async def test_attach(self, storage: TreeUnderTest) -> None:
        """Each attempt on a root of its own: the next attach takes or writes one id."""
        for step in range(1, MAX_STEPS):
            root = storage.root / f"root-{step}"
            root.mkdir()
            part = replace(storage, root=root)
            killed = await asyncio.to_thread(
                run_and_kill, part, partial(attach, things=Things(None, step)), step
            )
            backend = part.build()
            root_id = await backend.attach(None)
            assert await part.build().attach(root_id) == root_id
            await with_folder(backend, Things(root_id, step))
            await backend.close()
            if not killed:
                assert step > 1
                return

    @pytest.mark.parametrize("then", ["retry", "delete"])
    async def test_ensure_scope(
        self,
        storage: TreeUnderTest,
        backend: StorageBackend,
        capabilities: Capabilities,
        then: str,
    ) -> None:
        """The limits are on when the scope is there."""
        async for things in self.after_each_crash(storage, backend, ensure_scope):
            if then == "retry":
                state = await backend.ensure_scope(things.scope)
                assert state.limits == self.stored(LIMITS, capabilities)
                assert await backend.find_scope(things.scope.owner) == things.scope.scope
            for state in [state async for state in backend.list_scopes()]:
                assert state.owner in (things.scope.owner, None)
            await delete_scope(backend, things)
            self.nothing_left(storage)

    async def test_ensure_scope_again_in_place_of_a_lost_one(
        self, storage: TreeUnderTest, backend: StorageBackend, capabilities: Capabilities
    ) -> None:
        """The limits are on again, too, though the mark was there all the time."""

        async def lost(backend: StorageBackend, things: Things) -> None:
            await with_scope(backend, things)
            await storage.lose_scope(things.scope.scope)

        async for things in self.after_each_crash(
            storage, backend, ensure_scope, lost, recreate=True
        ):
            # Once begun it needs no second asking: the first one may be used up by then.
            begun = storage.intent(things.scope.scope).exists()
            again = things.scope if begun else replace(things.scope, recreate=True)
            state = await backend.ensure_scope(again)
            assert state.limits == self.stored(LIMITS, capabilities)
            await delete_scope(backend, things)
            self.nothing_left(storage)

    async def test_set_limits(
        self, storage: TreeUnderTest, backend: StorageBackend, capabilities: Capabilities
    ) -> None:
        """Both are as wanted after the retry."""
        async for things in self.after_each_crash(storage, backend, set_limits, with_scope):
            await set_limits(backend, things)
            state = await backend.describe_scope(things.scope.scope)
            assert state.limits == self.stored(Limits(bytes=2 * MIB), capabilities)

    async def test_delete_scope(self, storage: TreeUnderTest, backend: StorageBackend) -> None:
        """The retry finishes it."""
        async for things in self.after_each_crash(storage, backend, delete_scope, with_scope):
            await delete_scope(backend, things)
            self.nothing_left(storage)

    async def test_retire_scope(self, storage: TreeUnderTest, backend: StorageBackend) -> None:
        """The retry notes it, once; the scope is whole all the time."""
        async for things in self.after_each_crash(storage, backend, retire, with_scope):
            await retire(backend, things)
            assert await backend.list_retired() == {things.scope.scope: things.scope.owner}
            assert (await backend.describe_scope(things.scope.scope)).owner == things.scope.owner
            await delete_retired(backend, things)
            self.nothing_left(storage)

    @pytest.mark.parametrize("then", ["retry", "again"])
    async def test_delete_retired(
        self, storage: TreeUnderTest, backend: StorageBackend, then: str
    ) -> None:
        """The retry finishes it; so does whoever makes the scope again, and gets a whole one."""
        async for things in self.after_each_crash(storage, backend, delete_retired, with_retired):
            if then == "again":
                await backend.ensure_scope(things.scope)
                assert await backend.list_retired() == {}
                assert await backend.find_scope(things.scope.owner) == things.scope.scope
                await retire(backend, things)
            for scope, owner in (await backend.list_retired()).items():
                assert await backend.delete_retired(scope, owner)
            self.nothing_left(storage)

    async def test_ensure_scope_that_was_retired(
        self, storage: TreeUnderTest, backend: StorageBackend
    ) -> None:
        """Taken back, or still retired; the retry takes it back."""
        async for things in self.after_each_crash(storage, backend, ensure_scope, with_retired):
            await backend.ensure_scope(things.scope)
            assert await backend.list_retired() == {}
            await delete_scope(backend, things)
            self.nothing_left(storage)

    @pytest.mark.parametrize("then", ["retry", "delete"])
    async def test_ensure_folder(
        self, storage: TreeUnderTest, backend: StorageBackend, then: str
    ) -> None:
        """One folder with its attributes, or none at all."""
        async for things in self.after_each_crash(storage, backend, ensure_folder, with_scope):
            if then == "retry":
                await backend.ensure_folder(things.folder)
                await self.live(backend, things)
            await clean(backend, things)
            self.nothing_left(storage)

    async def test_ensure_folder_again_in_place_of_a_lost_one(
        self, storage: TreeUnderTest, backend: StorageBackend
    ) -> None:
        """The mark was there all the time."""

        async def lost(backend: StorageBackend, things: Things) -> None:
            await with_folder(backend, things)
            await storage.lose_folder(things.folder.scope, things.folder.folder)

        async for things in self.after_each_crash(
            storage, backend, ensure_folder, lost, recreate=True
        ):
            await backend.ensure_folder(replace(things.folder, recreate=True))
            await self.live(backend, things)
            await clean(backend, things)
            self.nothing_left(storage)

    async def test_trash_and_restore(self, storage: TreeUnderTest, backend: StorageBackend) -> None:
        """In the trash or not, never both, and back again."""
        async for things in self.after_each_crash(storage, backend, trash, with_folder):
            await trash(backend, things)
            states = [state async for state in backend.list_folders(things.folder.scope)]
            assert [state.phase for state in states] == [FolderPhase.TRASHED]
            assert states[0].since is not None
            assert states[0].expires == states[0].since + 3600
            await restore(backend, things)
            await self.live(backend, things)
        async for things in self.after_each_crash(storage, backend, restore, with_trash):
            await restore(backend, things)
            await self.live(backend, things)
            await clean(backend, things)

    @pytest.mark.parametrize("then", ["retry", "recreate"])
    async def test_purge(self, storage: TreeUnderTest, backend: StorageBackend, then: str) -> None:
        """It goes on where it was killed; what is made in its place meanwhile stays."""

        async def filled_trash(backend: StorageBackend, things: Things) -> None:
            await with_folder(backend, things)
            top = storage.path(things.folder.scope, things.folder.folder)
            (top / "a" / "b").mkdir(parents=True)
            (top / "a" / "b" / "file").write_text("x")
            (top / "file").write_text("x")
            await trash(backend, things)

        async for things in self.after_each_crash(storage, backend, purge, filled_trash):
            if then == "recreate":
                await backend.ensure_folder(replace(things.folder, recreate=True))
            await purge(backend, things)
            if then == "recreate":
                await self.live(backend, things)
                await trash(backend, things)
                await purge(backend, things)
            await delete_scope(backend, things)
            self.nothing_left(storage)

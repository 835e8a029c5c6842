"""Rules on crashes: killed before any step that changes something, a retry converges.

Each test kills a process at step 1, 2, 3 and so on until the operation outlives it, each time on
objects of its own in one tree. After each kill one of two things follows, as in real life: the
same call again, or the deletion of what is half there.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial

import pytest

from vfolder_backends.ids import FolderHex, ScopeHex
from vfolder_backends.port import (
    Capabilities,
    FolderPhase,
    FolderRequest,
    Limits,
    Owner,
    ScopeRequest,
    StorageBackend,
)
from vfolder_backends.testing.conformance.base import (
    ATTRIBUTES,
    DATASETS,
    LIMITS,
    MIB,
    TEAM,
    Rules,
    purge_all,
)
from vfolder_backends.testing.crash import run_and_kill
from vfolder_backends.testing.storages import TreeUnderTest

_MAX_STEPS = 200


@dataclass(frozen=True)
class Things:
    """The scope and folder of one attempt, in a tree where each attempt has its own."""

    root_id: str | None
    step: int

    @property
    def scope(self) -> ScopeRequest:
        """The request for the scope."""
        scope = ScopeHex(f"{self.step:032x}")
        return ScopeRequest(scope, replace(TEAM, name=f"q{self.step}"), LIMITS)

    @property
    def folder(self) -> FolderRequest:
        """The request for the folder."""
        owner: Owner = replace(DATASETS, name=f"f{self.step}")
        folder = FolderHex(f"{self.step:02x}{1:030x}")
        return FolderRequest(self.scope.scope, folder, owner, ATTRIBUTES)


async def attach(backend: StorageBackend, things: Things) -> None:
    """The operation that every other one begins with."""
    await backend.attach(things.root_id)


async def ensure_scope(backend: StorageBackend, things: Things, recreate: bool = False) -> None:
    """Make the scope."""
    await attach(backend, things)
    await backend.ensure_scope(replace(things.scope, recreate=recreate))


async def set_limits(backend: StorageBackend, things: Things) -> None:
    """Change both limits."""
    await attach(backend, things)
    await backend.set_limits(things.scope.scope, things.scope.owner, Limits(bytes=2 * MIB))


async def delete_scope(backend: StorageBackend, things: Things) -> None:
    """Delete the scope."""
    await attach(backend, things)
    await backend.delete_scope(things.scope.scope, things.scope.owner)


async def ensure_folder(backend: StorageBackend, things: Things, recreate: bool = False) -> None:
    """Make the folder."""
    await attach(backend, things)
    await backend.ensure_folder(replace(things.folder, recreate=recreate))


async def trash(backend: StorageBackend, things: Things) -> None:
    """Trash the folder."""
    await attach(backend, things)
    await backend.trash_folder(things.folder.scope, things.folder.folder, things.folder.owner)


async def restore(backend: StorageBackend, things: Things) -> None:
    """Bring the folder back."""
    await attach(backend, things)
    await backend.restore_folder(things.folder.scope, things.folder.folder, things.folder.owner)


async def purge(backend: StorageBackend, things: Things) -> None:
    """Empty the trash."""
    await attach(backend, things)
    await purge_all(backend, things.scope.scope)


Prepare = Callable[[StorageBackend, Things], Awaitable[object]]


async def nothing(backend: StorageBackend, things: Things) -> None:
    """No preparation."""


async def with_scope(backend: StorageBackend, things: Things) -> None:
    """A scope is there before."""
    await backend.ensure_scope(things.scope)


async def with_folder(backend: StorageBackend, things: Things) -> None:
    """A folder is there before."""
    await with_scope(backend, things)
    await backend.ensure_folder(things.folder)


async def with_trash(backend: StorageBackend, things: Things) -> None:
    """A folder is in the trash before."""
    await with_folder(backend, things)
    await trash(backend, things)


async def clean(backend: StorageBackend, things: Things) -> None:
    """Delete folder and scope, as their objects' deletion does."""
    await trash(backend, things)
    await purge(backend, things)
    await delete_scope(backend, things)


class CrashRules(Rules):
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
        for step in range(1, _MAX_STEPS):
            things = Things(root_id, step)
            await prepare(backend, things)
            doomed = partial(operation, things=things, **more)
            killed = await asyncio.to_thread(run_and_kill, storage, doomed, step)
            yield things
            if not killed:
                return
        raise AssertionError(f"more than {_MAX_STEPS} steps")

    def nothing_left(self, storage: TreeUnderTest) -> None:
        """Check that all deletions took everything with them."""
        kept = {
            ".vfolder",
            ".vfolder/marks",
            ".vfolder/names",
            f".vfolder/names/{TEAM.cluster}",
            ".vfolder/root",
            ".vfolder/tmp",
        }
        assert set(storage.snapshot()) <= kept

    async def live(self, backend: StorageBackend, things: Things) -> None:
        """Check that there is one folder, whole and found by its name."""
        states = [state async for state in backend.list_folders(things.folder.scope)]
        assert [(s.folder, s.owner, s.phase, s.attributes) for s in states] == [
            (things.folder.folder, things.folder.owner, FolderPhase.LIVE, ATTRIBUTES)
        ]
        found = await backend.find_folder(things.folder.owner)
        assert found == (things.folder.scope, things.folder.folder)

    async def test_attach(self, storage: TreeUnderTest) -> None:
        """Each attempt on a root of its own: the next attach takes or writes one id."""
        for step in range(1, _MAX_STEPS):
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
            state = await backend.ensure_scope(replace(things.scope, recreate=True))
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
            states = [state.phase async for state in backend.list_folders(things.folder.scope)]
            assert states == [FolderPhase.TRASHED]
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

"""Rules on clones: complete or not there, resumed after a kill, never filled once they are live."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from vfolder_backends.errors import BackendError, NoSpace, NotFound, PathConflict
from vfolder_backends.facts import Capabilities, Level, Tristate
from vfolder_backends.ids import FolderHex
from vfolder_backends.port import (
    FolderPhase,
    FolderSource,
    Limits,
    StorageBackend,
)
from vfolder_backends.testing.conformance.base import (
    ATTRIBUTES,
    DATASETS,
    MIB,
    OTHER_FOLDER,
    OTHER_SCOPE,
    SCOPE,
    TEAM,
    Rules,
    folder_request,
    purge_all,
    scope_request,
)
from vfolder_backends.testing.conformance.clone_operations import (
    CLONE,
    COPIES,
    clone_of,
    clone_request,
    differences,
    ensure_clone,
    plant,
    source_of,
    until_live,
)
from vfolder_backends.testing.conformance.operations import (
    MAX_STEPS,
    Prepare,
    StepRules,
    Things,
    delete_scope,
    purge,
    with_scope,
)
from vfolder_backends.testing.crash import run_and_kill, run_and_stop
from vfolder_backends.testing.storages import StorageUnderTest, TreeUnderTest
from vfolder_backends.tree import folders
from vfolder_backends.tree.clones import Cloning


class CloneRules(Rules):
    """Clones, asked through the port alone."""

    @pytest.fixture
    def clones(self, capabilities: Capabilities) -> None:
        """Skips where the storage says that it cannot copy."""
        if capabilities.clone == "None":
            pytest.skip("this storage says that it cannot copy folders")

    @pytest.mark.usefixtures("clones")
    async def test_clone_becomes_a_folder_of_its_own(
        self, storage: StorageUnderTest, backend: StorageBackend, folder: FolderHex
    ) -> None:
        """With the source's attributes or those asked for; it outlives its source."""
        await storage.fill(SCOPE, folder, 1000)
        state = await until_live(backend, replace(clone_request(), attributes=ATTRIBUTES))
        assert (state.owner, state.attributes) == (COPIES, ATTRIBUTES)
        assert await backend.find_folder(COPIES) == (SCOPE, CLONE)
        await backend.trash_folder(SCOPE, folder, DATASETS)
        await purge_all(backend)
        state = await backend.ensure_folder(clone_request())
        assert (state.phase, state.progress) == (FolderPhase.LIVE, None)
        await backend.trash_folder(SCOPE, CLONE, COPIES)
        state = await backend.restore_folder(SCOPE, CLONE, COPIES)
        assert state.phase is FolderPhase.LIVE

    @pytest.mark.usefixtures("clones")
    async def test_clone_of_nothing(self, backend: StorageBackend, folder: FolderHex) -> None:
        """Neither of a folder that was never there nor of one in the trash; nothing is made."""
        await backend.trash_folder(SCOPE, folder, DATASETS)
        missing = replace(clone_request(), source=FolderSource(SCOPE, OTHER_FOLDER))
        for request in (clone_request(), missing):
            with pytest.raises(NotFound):
                await backend.ensure_folder(request)
            with pytest.raises(NotFound):
                await backend.describe_folder(SCOPE, CLONE)
        assert await backend.find_folder(COPIES) is None


class TreeCloneRules(StepRules):
    """Clones on a tree, where one can look at what was copied, and stop it at each step."""

    def with_source(self, storage: TreeUnderTest) -> Prepare:
        """A preparation: a scope, and in it a folder to be cloned."""

        async def prepare(backend: StorageBackend, things: Things) -> None:
            await with_scope(backend, things)
            source = source_of(things)
            await backend.ensure_folder(source)
            await asyncio.to_thread(plant, storage.path(source.scope, source.folder))

        return prepare

    def paths(self, storage: TreeUnderTest, things: Things) -> tuple[Path, Path]:
        """Where source and clone are."""
        source, clone = source_of(things), clone_of(things)
        return (
            storage.path(source.scope, source.folder),
            storage.path(clone.scope, clone.folder),
        )

    async def remove_all(
        self, storage: TreeUnderTest, backend: StorageBackend, things: Things
    ) -> None:
        """Delete clone, source and scope; nothing is left of them."""
        for request in (clone_of(things), source_of(things)):
            await backend.trash_folder(request.scope, request.folder, request.owner)
        await purge(backend, things)
        await delete_scope(backend, things)
        self.nothing_left(storage)

    async def stopped(
        self, storage: TreeUnderTest, backend: StorageBackend, meanwhile: Prepare
    ) -> AsyncIterator[Things]:
        """Hold a clone before each of its steps while something else happens."""
        root_id = await backend.attach(None)
        for step in range(1, MAX_STEPS):
            things = Things(root_id, step)
            await self.with_source(storage)(backend, things)
            held = await run_and_stop(
                storage,
                partial(ensure_clone, things=things),
                step,
                partial(meanwhile, backend, things),
            )
            yield things
            if not held:
                assert step > 10
                return
        raise AssertionError(f"more than {MAX_STEPS} steps")

    @pytest.mark.usefixtures("clones")
    @pytest.mark.timeout(600)
    @pytest.mark.parametrize("then", ["retry", "delete"])
    async def test_clone_killed(
        self, storage: TreeUnderTest, backend: StorageBackend, then: str
    ) -> None:
        """It has its name only when it is complete; the retry goes on, the deletion takes all."""
        root_id = await backend.attach(None)
        for step in range(1, MAX_STEPS):
            things = Things(root_id, step)
            await self.with_source(storage)(backend, things)
            operation = partial(ensure_clone, things=things)
            killed = await asyncio.to_thread(run_and_kill, storage, operation, step)
            source, clone = self.paths(storage, things)
            if clone.exists():
                assert differences(source, clone) == []
            if then == "retry":
                await ensure_clone(backend, things)
                assert differences(source, clone) == []
                assert await backend.find_folder(things.folder.owner) is not None
            await self.remove_all(storage, backend, things)
            if not killed:
                assert step > 10
                return
        raise AssertionError(f"more than {MAX_STEPS} steps")

    @pytest.mark.usefixtures("clones")
    @pytest.mark.timeout(600)
    async def test_clone_made_twice(self, storage: TreeUnderTest, backend: StorageBackend) -> None:
        """Two actors make one clone; once a pod has written into it nobody fills it any more."""
        written = False

        async def meanwhile(backend: StorageBackend, things: Things) -> None:
            nonlocal written
            state = await backend.ensure_folder(clone_of(things))
            written = state.phase is FolderPhase.LIVE
            if written:
                top = self.paths(storage, things)[1]
                (top / "dir" / "file-0").write_text("a pod's")
                (top / "link").unlink()

        ways = set()
        async for things in self.stopped(storage, backend, meanwhile):
            await ensure_clone(backend, things)
            source, clone = self.paths(storage, things)
            ways.add(written)
            if written:
                assert (clone / "dir" / "file-0").read_text() == "a pod's"
                assert not (clone / "link").is_symlink()
            else:
                assert differences(source, clone) == []
            await self.remove_all(storage, backend, things)
        assert ways == {True, False}

    @pytest.mark.usefixtures("clones")
    @pytest.mark.timeout(600)
    async def test_clone_deleted_while_it_is_made(
        self, storage: TreeUnderTest, backend: StorageBackend
    ) -> None:
        """It is gone, or was complete; what was begun cannot be restored."""

        async def meanwhile(backend: StorageBackend, things: Things) -> None:
            clone = clone_of(things)
            complete = self.paths(storage, things)[1].exists()
            await backend.trash_folder(clone.scope, clone.folder, clone.owner)
            if not complete:
                with pytest.raises(NotFound):
                    await backend.restore_folder(clone.scope, clone.folder, clone.owner)
            try:
                await purge(backend, things)
            except BackendError as error:
                # The one who is held has it open; it is gone when that one has let go.
                assert storage.holds_open_files and "open" in str(error)

        async for things in self.stopped(storage, backend, meanwhile):
            source, clone = self.paths(storage, things)
            if clone.exists():
                assert differences(source, clone) == []
            await self.remove_all(storage, backend, things)

    @pytest.mark.usefixtures("clones")
    @pytest.mark.timeout(600)
    async def test_source_deleted_while_it_is_copied(
        self, storage: TreeUnderTest, backend: StorageBackend
    ) -> None:
        """The clone is complete or refused, and goes on when its source is brought back."""

        async def meanwhile(backend: StorageBackend, things: Things) -> None:
            source = source_of(things)
            await backend.trash_folder(source.scope, source.folder, source.owner)

        async for things in self.stopped(storage, backend, meanwhile):
            request = source_of(things)
            source, clone = self.paths(storage, things)
            if not clone.exists():
                with suppress(NotFound):  # where a snapshot holds the source, it is completed
                    await ensure_clone(backend, things)
            await backend.restore_folder(request.scope, request.folder, request.owner)
            await ensure_clone(backend, things)
            assert differences(source, clone) == []
            await self.remove_all(storage, backend, things)

    @pytest.mark.usefixtures("clones")
    async def test_clone_of_many_files_over_many_calls(
        self, storage: TreeUnderTest, backend: StorageBackend, folder: FolderHex
    ) -> None:
        """Meanwhile it is shown as what it is, and has no name; a folder of pods stays as it is."""
        source, clone = storage.path(SCOPE, folder), storage.path(SCOPE, CLONE)
        await asyncio.to_thread(plant, source, 400)
        root = os.open(storage.root, os.O_RDONLY | os.O_DIRECTORY)
        shown: list[int] = []
        seconds = 0.02
        try:
            while True:
                state = await asyncio.to_thread(
                    folders.ensure, root, clone_request(), lambda _: None, Cloning(seconds)
                )
                if state.phase is FolderPhase.LIVE:
                    break
                assert len(shown) < 20
                seconds = 0.02 if len(shown) < 5 else 10.0
                assert not clone.exists()
                assert await backend.find_folder(COPIES) is None
                described = await backend.describe_folder(SCOPE, CLONE)
                listed = [s async for s in backend.list_folders(SCOPE) if s.folder == CLONE]
                for seen in (described, *listed):
                    assert (seen.phase, seen.owner) == (FolderPhase.FILLING, COPIES)
                assert described.progress is not None
                shown.append(described.progress.done)
        finally:
            os.close(root)
        assert len(shown) > 1
        assert shown == sorted(shown)
        assert differences(source, clone) == []
        (source / "later").touch()
        await backend.ensure_folder(clone_request())
        assert not (clone / "later").exists()

    @pytest.mark.usefixtures("clones")
    async def test_clone_begun_of_another_source(
        self, storage: TreeUnderTest, backend: StorageBackend, folder: FolderHex
    ) -> None:
        """Halves of two folders never become one; deleted, it can be made of the other."""
        await asyncio.to_thread(plant, storage.path(SCOPE, folder), 100)
        await backend.ensure_folder(folder_request(replace(DATASETS, name="b"), OTHER_FOLDER))
        other = replace(clone_request(), source=FolderSource(SCOPE, OTHER_FOLDER))
        root = os.open(storage.root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            folders.ensure(root, clone_request(), lambda _: None, Cloning(0.0))
        finally:
            os.close(root)
        with pytest.raises(PathConflict, match="begun as a copy"):
            await backend.ensure_folder(other)
        await backend.trash_folder(SCOPE, CLONE, COPIES)
        await purge_all(backend)
        await until_live(backend, other)
        assert list(storage.path(SCOPE, CLONE).iterdir()) == []

    @pytest.mark.usefixtures("clones")
    async def test_clone_over_the_quota(
        self,
        storage: TreeUnderTest,
        backend: StorageBackend,
        capabilities: Capabilities,
        folder: FolderHex,
    ) -> None:
        """It is charged to its own scope, is not live, and goes on once there is room."""
        levels = capabilities.enforcement
        if levels.bytes is Level.NONE or levels.root_bypass is Tristate.YES:
            pytest.skip("this storage says that no limit binds root")
        if not storage.limits_bind_operator:
            pytest.skip("a simulated array stops only its own clients")
        source, clone = storage.path(SCOPE, folder), storage.path(OTHER_SCOPE, CLONE)
        plant(source)
        (source / "big").write_bytes(b"x" * MIB)
        await backend.ensure_scope(scope_request(replace(TEAM, name="other"), OTHER_SCOPE))
        neighbour = folder_request(replace(DATASETS, name="b"), OTHER_FOLDER)
        await backend.ensure_folder(replace(neighbour, scope=OTHER_SCOPE))
        await storage.fill(OTHER_SCOPE, OTHER_FOLDER, 2 * MIB)
        other = replace(TEAM, name="other")
        await backend.set_limits(OTHER_SCOPE, other, Limits(bytes=MIB))
        for _ in range(2):
            with pytest.raises(NoSpace):
                await until_live(backend, clone_request(OTHER_SCOPE))
            assert not clone.exists()
        with suppress(NotFound):
            state = await backend.describe_folder(OTHER_SCOPE, CLONE)
            assert state.phase in (FolderPhase.FILLING, FolderPhase.MISSING)
        await backend.set_limits(OTHER_SCOPE, other, Limits(bytes=64 * MIB))
        await until_live(backend, clone_request(OTHER_SCOPE))
        assert differences(source, clone) == []
        used = (await backend.describe_scope(OTHER_SCOPE)).usage
        assert used is not None
        assert (used.bytes or 0) >= 3 * MIB

    @pytest.mark.usefixtures("clones")
    async def test_clone_thrown_away_leaves_nothing(
        self, storage: TreeUnderTest, backend: StorageBackend, folder: FolderHex
    ) -> None:
        """What was thrown away goes with the next purge, and takes its note with it."""
        plant(storage.path(SCOPE, folder), 100)
        root = os.open(storage.root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            folders.ensure(root, clone_request(), lambda _: None, Cloning(0.0))
        finally:
            os.close(root)
        await backend.trash_folder(SCOPE, CLONE, COPIES)
        assert (await backend.describe_folder(SCOPE, CLONE)).phase is FolderPhase.PURGING
        with pytest.raises(BackendError):
            await backend.ensure_folder(clone_request())
        await purge_all(backend)
        assert not [path for path in storage.snapshot() if CLONE.value in path]
        state = await until_live(backend, clone_request())
        assert state.phase is FolderPhase.LIVE

"""Rules on migrations: nothing changes but the place, limits hold afterwards, and any kill heals.

The folders of two scopes are moved from layout 2 to 3 on a storage of the kind under test.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar, Final

import pytest

from vfolder_backends.adoption import results
from vfolder_backends.adoption.columns import Defaults
from vfolder_backends.adoption.mapping import MappingTable
from vfolder_backends.adoption.plan import Problem
from vfolder_backends.adoption.results import Result
from vfolder_backends.adoption.runs import Event, Order, migrate, roll_back
from vfolder_backends.facts import Level
from vfolder_backends.port import Limits, StorageBackend
from vfolder_backends.testing.conformance.base import MIB
from vfolder_backends.testing.crash import run_and_kill
from vfolder_backends.testing.old_trees import (
    OldFolder,
    Portrait,
    plant,
    portrait,
    users_data,
    write_mapping,
)
from vfolder_backends.testing.storages import TreeUnderTest

FOLDERS: Final = (OldFolder.of(1, 1), OldFolder.of(1, 2), OldFolder.of(2, 1))
MAX_STEPS: Final = 400
OWNER: Final = (1234, 2345)
GO_ON: Final = "go on"
GO_BACK: Final = "go back"


@dataclass(frozen=True)
class Case:
    """One tree to migrate, and what it looked like; can be pickled."""

    storage: TreeUnderTest
    mapping: Path
    folders: dict[OldFolder, Portrait]
    before: Portrait

    @property
    def order(self) -> Order:
        """What is asked for."""
        return Order(self.storage.root, write_version=True, lock_seconds=5.0)


async def attached(storage: TreeUnderTest) -> StorageBackend:
    """One more actor on the storage."""
    backend = storage.build()
    await backend.attach(None)
    return backend


async def forward(backend: StorageBackend, case: Case) -> list[Event]:
    """Migrate."""
    await backend.attach(None)
    mapping = MappingTable.load(case.mapping, Defaults("team-a"))
    return [event async for event in migrate(case.order, backend, mapping)]


async def back(backend: StorageBackend, case: Case, journal: Path | None = None) -> list[Event]:
    """Take it back."""
    await backend.attach(None)
    return [event async for event in roll_back(replace(case.order, journal=journal), backend)]


def outcomes(events: list[Event]) -> list[str]:
    """What came of the folders; a problem that is no note fails the test."""
    assert [e for e in events if isinstance(e, Problem) and not e.note] == []
    return [e.result for e in events if isinstance(e, Result)]


class MigrateRules:
    """Bind it to a kind of storage by a fixture `storage`, a `TreeUnderTest` with an empty root.

    Attributes:
        folders: what is migrated each time; fewer where system calls are slow.
    """

    folders: ClassVar[tuple[OldFolder, ...]] = FOLDERS

    @pytest.fixture
    async def limited(self, storage: TreeUnderTest) -> bool:
        """Whether this kind of storage keeps limits."""
        backend = await attached(storage)
        health = await backend.probe()
        await backend.close()
        return health.capabilities.enforcement.bytes is not Level.NONE

    def case(self, storage: TreeUnderTest, number: int, *, limited: bool) -> Case:
        """A tree of its own below the storage's root."""
        root = storage.root / f"case-{number}"
        root.mkdir()
        owner = OWNER if os.geteuid() == 0 else None
        for folder in self.folders:
            plant(root, folder, 2, owner=owner)
        folders = {f: portrait(f.path(root, 2)) for f in self.folders}
        limits = {"quota_bytes": "64Mi"} if limited else {}
        mapping = write_mapping(storage.root / f"case-{number}.csv", self.folders, limits)
        return Case(replace(storage, root=root), mapping, folders, users_data(root))

    async def check_done(self, case: Case, *, limited: bool) -> None:
        """All folders are in layout 3, unchanged, and under their limits."""
        root = case.storage.root
        for folder, before in case.folders.items():
            assert portrait(folder.path(root, 3)) == before
            assert not folder.path(root, 2).exists()
        assert (root / "version.txt").read_text() == "3\n"
        assert sorted(p.name for p in root.iterdir()) == sorted(
            {".vfolder", "version.txt", *(f.scope.value for f in self.folders)}
        )
        backend = await attached(case.storage)
        for scope in {folder.scope for folder in self.folders}:
            state = await backend.describe_scope(scope)
            assert state.owner is not None
            assert state.progress is None
            assert state.limits == (Limits(64 * MIB) if limited else Limits())
        await backend.close()

    async def test_only_the_place_changes_and_the_way_back_leads_back(
        self, storage: TreeUnderTest, limited: bool
    ) -> None:
        """There and back, and there again."""
        case = self.case(storage, 0, limited=limited)
        backend = await attached(case.storage)
        try:
            assert outcomes(await forward(backend, case)) == [results.MIGRATED] * len(self.folders)
            await self.check_done(case, limited=limited)
            assert outcomes(await forward(backend, case)) == [results.ALREADY] * len(self.folders)
            (journal,) = (case.storage.root / ".vfolder/migrate").glob("*.jsonl")
            assert outcomes(await back(backend, case, journal)) == [results.RETURNED] * len(
                self.folders
            )
            assert users_data(case.storage.root) == case.before
            assert [s async for s in backend.list_scopes()] == []
            journal.unlink()
            assert outcomes(await forward(backend, case)) == [results.MIGRATED] * len(self.folders)
            await self.check_done(case, limited=limited)
        finally:
            await backend.close()

    async def killed(
        self, storage: TreeUnderTest, *, limited: bool, way: str
    ) -> AsyncIterator[Case]:
        """Yield what each kill left, until an operation outlives its step."""
        for step in range(1, MAX_STEPS):
            case = self.case(storage, step, limited=limited)
            doomed = partial(forward, case=case)
            if way == "back":
                backend = await attached(case.storage)
                assert outcomes(await forward(backend, case)) == [results.MIGRATED] * len(
                    self.folders
                )
                await backend.close()
                (journal,) = (case.storage.root / ".vfolder/migrate").glob("*.jsonl")
                doomed = partial(back, case=case, journal=journal)
            killed = await asyncio.to_thread(run_and_kill, case.storage, doomed, step)
            yield case
            if not killed:
                assert step > 20, "so few steps cannot be all"
                return
        raise AssertionError(f"more than {MAX_STEPS} steps")

    @pytest.fixture(params=[GO_ON, GO_BACK])
    def then(self, request: pytest.FixtureRequest) -> str:
        """What follows a kill; any other word is both in turn."""
        return str(request.param)

    @pytest.mark.timeout(1200)
    async def test_killed_before_any_step_it_goes_on_or_back(
        self, storage: TreeUnderTest, limited: bool, then: str
    ) -> None:
        """Nothing is lost, and it ends in the one state or the other."""
        number = 0
        async for case in self.killed(storage, limited=limited, way="forward"):
            number += 1
            go_on = then == GO_ON or (then != GO_BACK and number % 2)
            for folder, before in case.folders.items():
                (place,) = (p for n in (2, 3) if (p := folder.path(case.storage.root, n)).exists())
                assert portrait(place) == before
            backend = await attached(case.storage)
            try:
                if go_on:
                    told = set(outcomes(await forward(backend, case)))
                    assert told <= {results.MIGRATED, results.ALREADY}
                    await self.check_done(case, limited=limited)
                    continue
                journals = list((case.storage.root / ".vfolder/migrate").glob("*.jsonl"))
                if journals and journals[0].read_bytes():
                    told = set(outcomes(await back(backend, case, journals[0])))
                    assert told <= {results.RETURNED}
                assert users_data(case.storage.root) == case.before
            finally:
                await backend.close()

    @pytest.mark.timeout(1200)
    async def test_killed_before_any_step_of_the_way_back_it_leads_back(
        self, storage: TreeUnderTest, limited: bool
    ) -> None:
        """The same call again finishes it."""
        async for case in self.killed(storage, limited=limited, way="back"):
            (journal,) = (case.storage.root / ".vfolder/migrate").glob("*.jsonl")
            backend = await attached(case.storage)
            try:
                if '"how": "returned"' not in journal.read_text():
                    await back(backend, case, journal)
                assert users_data(case.storage.root) == case.before
                assert [s async for s in backend.list_scopes()] == []
            finally:
                await backend.close()

"""Rules on scopes: limits that are read back, usage, deletion when empty."""

import time
from dataclasses import replace

import pytest

from vfolder_backends.errors import (
    BackendError,
    DataMissing,
    NotEmpty,
    NotFound,
)
from vfolder_backends.facts import Capabilities, Level
from vfolder_backends.ids import FolderHex, ScopeHex
from vfolder_backends.port import FolderPhase, Limits, StorageBackend
from vfolder_backends.testing.conformance.base import (
    DATASETS,
    LIMITS,
    MIB,
    OTHER_SCOPE,
    SCOPE,
    TEAM,
    Rules,
    folder_request,
    purge_all,
    scope_request,
)
from vfolder_backends.testing.storages import StorageUnderTest, until


class ScopeRules(Rules):
    """A scope from its making to its end."""

    async def test_scope_is_made_with_its_limits(
        self, backend: StorageBackend, capabilities: Capabilities
    ) -> None:
        """Made, described and listed alike; made again, it stays as it is."""
        made = await backend.ensure_scope(scope_request())
        assert made.owner == TEAM
        assert made.limits == self.stored(LIMITS, capabilities)
        other = replace(scope_request(), limits=Limits(bytes=MIB))
        for state in (
            await backend.ensure_scope(other),
            await backend.describe_scope(SCOPE),
            *[state async for state in backend.list_scopes()],
        ):
            assert (state.scope, state.owner, state.limits, state.path) == (
                SCOPE,
                TEAM,
                made.limits,
                made.path,
            )

    @pytest.mark.parametrize(
        "limits",
        [
            Limits(bytes=16 * MIB + 1, files=2000),
            Limits(bytes=4 * MIB, files=None),
            Limits(bytes=None, files=50),
            Limits(),
        ],
    )
    async def test_limits_are_set_and_read_back(
        self,
        backend: StorageBackend,
        capabilities: Capabilities,
        scope: ScopeHex,
        limits: Limits,
    ) -> None:
        """Raised, lowered, and removed one by one."""
        for wanted in (limits, LIMITS, limits):
            state = await backend.set_limits(scope, TEAM, wanted)
            assert state.limits == self.stored(wanted, capabilities)
        assert (await backend.describe_scope(scope)).limits == self.stored(limits, capabilities)

    async def test_usage_is_counted(
        self,
        storage: StorageUnderTest,
        backend: StorageBackend,
        capabilities: Capabilities,
        folder: FolderHex,
    ) -> None:
        """Within the stated lag usage shows what was written; unknown is None."""
        await storage.fill(SCOPE, folder, MIB)
        if capabilities.accounting == "None":
            assert (await backend.describe_scope(SCOPE)).usage is None
            return

        async def counted() -> bool:
            usage = (await backend.describe_scope(SCOPE)).usage
            assert usage is not None
            assert abs(usage.observed_at - time.time()) < 60
            # Storages without a limit on files may count none; that is unknown, not zero.
            counts = capabilities.enforcement.files is not Level.NONE or usage.files is not None
            return (usage.bytes or 0) >= MIB and (not counts or (usage.files or 0) >= 2)

        await until(counted, 10 + 2 * capabilities.usage_lag_seconds)

    async def test_trash_is_part_of_usage(
        self,
        storage: StorageUnderTest,
        backend: StorageBackend,
        capabilities: Capabilities,
        folder: FolderHex,
    ) -> None:
        """Trash is counted until it is purged, and told apart where folders are counted."""
        if not capabilities.folder_usage:
            return
        await storage.fill(SCOPE, folder, MIB)
        await backend.trash_folder(SCOPE, folder, DATASETS)

        async def has(trash: int) -> bool:
            usage = (await backend.describe_scope(SCOPE)).usage
            assert usage is not None
            assert usage.bytes is not None
            return usage.trash_bytes == trash <= usage.bytes

        await until(lambda: has(MIB), 10 + 2 * capabilities.usage_lag_seconds)
        await purge_all(backend)
        await until(lambda: has(0), 10 + 2 * capabilities.usage_lag_seconds)

    async def test_survey_of_a_sound_scope_finds_nothing(
        self, storage: StorageUnderTest, backend: StorageBackend, folder: FolderHex
    ) -> None:
        """It goes on over as many calls as it needs, where there is anything to walk for."""
        await storage.fill(SCOPE, folder, MIB)
        while (survey := await backend.survey_scope(SCOPE)) and not survey.complete:
            assert survey.escaped == 0
        if survey is not None:
            assert (survey.escaped, survey.examples) == (0, ())
            assert survey.entries >= 2
        with pytest.raises(NotFound):
            await backend.survey_scope(OTHER_SCOPE)

    async def test_shrinking_below_usage_leaves_data(
        self,
        storage: StorageUnderTest,
        backend: StorageBackend,
        capabilities: Capabilities,
        folder: FolderHex,
    ) -> None:
        """A limit below usage is set, or refused with the old one left; nothing is lost."""
        await storage.fill(SCOPE, folder, MIB)
        small = Limits(bytes=max(4096, capabilities.granularity_bytes), files=LIMITS.files)
        try:
            expected = (await backend.set_limits(SCOPE, TEAM, small)).limits
            assert expected == self.stored(small, capabilities)
        except BackendError:
            expected = self.stored(LIMITS, capabilities)
        assert (await backend.describe_scope(SCOPE)).limits == expected
        assert (await backend.describe_folder(SCOPE, folder)).phase is FolderPhase.LIVE

    async def test_drift_is_seen_in_bulk(
        self, storage: StorageUnderTest, backend: StorageBackend, capabilities: Capabilities
    ) -> None:
        """A limit changed or removed behind our back shows in the list."""
        for number in range(5):
            scope = ScopeHex(f"{number:032x}")
            await backend.ensure_scope(scope_request(replace(TEAM, name=f"q{number}"), scope))
        seen = {state.scope: state async for state in backend.list_scopes()}
        assert [seen[scope].owner for scope in sorted(seen)] == [
            replace(TEAM, name=f"q{number}") for number in range(5)
        ]
        if capabilities.enforcement.bytes is Level.NONE:
            return
        changed = Limits(bytes=64 * MIB)
        await storage.tamper(ScopeHex(f"{1:032x}"), changed)
        await storage.tamper(ScopeHex(f"{3:032x}"), Limits())
        limits = [state.limits async for state in backend.list_scopes()]
        assert sorted(limits, key=str) == sorted(
            [self.stored(LIMITS, capabilities)] * 3 + [changed, Limits()], key=str
        )

    async def test_scope_is_deleted_only_when_empty(
        self, backend: StorageBackend, folder: FolderHex
    ) -> None:
        """Live folders and trash both hold it; then it goes, and goes again."""
        with pytest.raises(NotEmpty):
            await backend.delete_scope(SCOPE, TEAM)
        await backend.trash_folder(SCOPE, folder, DATASETS)
        with pytest.raises(NotEmpty):
            await backend.delete_scope(SCOPE, TEAM)
        assert (await backend.restore_folder(SCOPE, folder, DATASETS)).phase is FolderPhase.LIVE
        await backend.trash_folder(SCOPE, folder, DATASETS)
        await purge_all(backend)
        for _ in range(2):
            await backend.delete_scope(SCOPE, TEAM)
        with pytest.raises(NotFound):
            await backend.describe_scope(SCOPE)
        assert [state async for state in backend.list_scopes()] == []
        assert (await backend.ensure_scope(scope_request())).owner == TEAM

    async def test_missing_scope_is_not_made_again(
        self, storage: StorageUnderTest, backend: StorageBackend, folder: FolderHex
    ) -> None:
        """What was made once and is gone is missing, until an empty one is asked for."""
        capabilities = (await backend.probe()).capabilities
        await storage.lose_scope(SCOPE)
        with pytest.raises(DataMissing):
            await backend.ensure_scope(scope_request())
        with pytest.raises(DataMissing):
            await backend.describe_scope(SCOPE)
        with pytest.raises(DataMissing):
            await backend.ensure_folder(folder_request())
        state = await backend.ensure_scope(replace(scope_request(), recreate=True))
        assert state.limits == self.stored(LIMITS, capabilities)
        with pytest.raises(DataMissing):
            await backend.ensure_folder(folder_request())
        assert (await backend.describe_folder(SCOPE, folder)).phase is FolderPhase.MISSING
        await backend.trash_folder(SCOPE, folder, DATASETS)
        await backend.delete_scope(SCOPE, TEAM)

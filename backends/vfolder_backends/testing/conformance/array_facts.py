"""Rules that every array fills in with facts of its own: what it refuses, warns of, and differs in.

A module that binds them states the facts as class attributes:

    class TestWeka(ArrayConformance, FactRules):
        under_test = WekaUnderTest
        refusals = {"an old version": Refused(Unsupported, "4.3", settings={"release": "4.2.9"})}
"""

import errno
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar

import pytest

from vfolder_backends.errors import BackendError, Misconfigured
from vfolder_backends.facts import Capabilities, Level, PerformanceMetrics
from vfolder_backends.ids import FolderHex, ScopeHex
from vfolder_backends.port import Limits, StorageBackend
from vfolder_backends.registry import Registry
from vfolder_backends.testing.array_storage import ArrayUnderTest
from vfolder_backends.testing.arrays.disk import Limit
from vfolder_backends.testing.conformance.array_base import ArrayTests, RefusedProbe
from vfolder_backends.testing.conformance.base import (
    LIMITS,
    MIB,
    SCOPE,
    TEAM,
    scope_request,
)

_READS = 30  # after which usage is expected to be of now; arrays count once in a while

Settings = Mapping[str, Any]
"""Fields of a simulator's settings, and what they are set to."""


@dataclass(frozen=True, kw_only=True)
class _Case:
    """What is special in a test.

    Attributes:
        settings: how the array is then.
        credentials: in place of those of the account under test.
        options: beside those of the storage under test.
    """

    settings: Settings = field(default_factory=dict)
    credentials: Mapping[str, str] | None = None
    options: Mapping[str, str] = field(default_factory=dict)

    def arrange(self, storage: ArrayUnderTest) -> dict[str, Any]:
        """Make the array so, and return what is different in the configuration."""
        storage.behave(self.settings)
        changes: dict[str, Any] = {"parameters": {**storage.parameters(), **self.options}}
        if self.credentials is not None:
            changes["credentials"] = self.credentials
        return changes


@dataclass(frozen=True)
class Refused(_Case):
    """A probe that must not succeed: what it must end with, a pattern that the message has."""

    error: type[BackendError]
    match: str


@dataclass(frozen=True)
class Doubtful(_Case):
    """A probe that succeeds with a warning, and a part of its text."""

    warning: str


class FactRules(ArrayTests):
    """The same questions for each array; the answers are its own.

    Attributes:
        refusals: by what is wrong.
        variants: settings of the simulator with which everything works, too.
        doubts: what is worth a warning.
        wrong_options: names of options with values that are refused.
        levels: how far limits on bytes and on files hold.
        total_bytes: the capacity that the simulator shows.
        rates: what the simulator shows itself to do, in the port's units.
        aliases: other names of the backend type.
    """

    refusals: ClassVar[Mapping[str, Refused]]
    variants: ClassVar[Sequence[Settings]]
    doubts: ClassVar[Sequence[Doubtful]]
    wrong_options: ClassVar[Sequence[tuple[str, str]]]
    levels: ClassVar[tuple[Level, Level]] = (Level.ENFORCED, Level.NONE)
    total_bytes: ClassVar[int] = 1 << 40
    rates: ClassVar[PerformanceMetrics]
    aliases: ClassVar[Sequence[str]] = ()

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Make a test of each fact."""
        for names, facts in (
            ("refused", {key: (one,) for key, one in self.refusals.items()}),
            ("doubtful", {one.warning: (one,) for one in self.doubts}),
            ("variant", {str(one): (one,) for one in self.variants}),
            ("key,value", {f"{key}={value}": (key, value) for key, value in self.wrong_options}),
        ):
            if set(names.split(",")) <= set(metafunc.fixturenames):
                metafunc.parametrize(names.split(","), facts.values(), ids=facts)

    async def test_a_probe_is_refused(
        self, storage: ArrayUnderTest, refused_probe: RefusedProbe, refused: Refused
    ) -> None:
        """With an error that names what to mend, and not the credentials."""
        await refused_probe(refused.error, refused.match, **refused.arrange(storage))

    async def test_what_is_doubtful_is_a_warning(
        self, storage: ArrayUnderTest, doubtful: Doubtful
    ) -> None:
        """It is told, and stops nothing."""
        backend = Registry().build(storage.configured(**doubtful.arrange(storage)))
        await backend.attach(None)
        warnings = (await backend.probe()).warnings
        await backend.close()
        assert doubtful.warning in " ".join(warnings)

    def test_options_are_checked(self, storage: ArrayUnderTest, key: str, value: str) -> None:
        """Before anything is asked of the array, by name."""
        parameters = {**storage.parameters(), key: value}
        with pytest.raises(Misconfigured, match=rf"parameters.*{key}"):
            Registry().build(storage.configured(parameters=parameters))

    async def test_arrays_differ(
        self,
        storage: ArrayUnderTest,
        backend: StorageBackend,
        capabilities: Capabilities,
        variant: Settings,
    ) -> None:
        """By version and site; scopes are made, listed, limited and deleted on all of them."""
        storage.behave(variant)
        await backend.probe()
        scopes = [ScopeHex(f"{number:032x}") for number in range(5)]
        for scope in scopes:
            await backend.ensure_scope(scope_request(TEAM, scope))
        assert {state.scope async for state in backend.list_scopes()} == set(scopes)
        state = await backend.set_limits(scopes[0], TEAM, Limits(bytes=MIB))
        assert state.limits == Limits(bytes=MIB)
        state = await backend.set_limits(scopes[1], TEAM, Limits())
        assert state.limits == Limits()
        stored = self.stored(LIMITS, capabilities)
        assert storage.held() == {
            scopes[0].value: Limit(MIB),
            scopes[1].value: Limit(),
            **dict.fromkeys(
                [scope.value for scope in scopes[2:]], Limit(stored.bytes, stored.files)
            ),
        }
        for scope in scopes:
            await backend.delete_scope(scope, TEAM)
        assert storage.held() == {}
        assert [path.name for path in storage.root.iterdir()] == [".vfolder"]

    async def test_the_limits_stop_a_writer(
        self, storage: ArrayUnderTest, backend: StorageBackend, folder: FolderHex
    ) -> None:
        """Those on bytes, those on files where there are any, and no longer when they are off."""
        over = os.strerror(storage.array.disk.over_limit)
        await backend.set_limits(SCOPE, TEAM, Limits(bytes=2 * MIB))
        with pytest.raises(OSError, match=over):
            await storage.fill(SCOPE, folder, 3 * MIB)
        await storage.fill(SCOPE, folder, MIB)
        if self.levels[1] is Level.ENFORCED:
            used = storage.array.disk.used(storage.root / SCOPE.value)
            await backend.set_limits(SCOPE, TEAM, Limits(files=used.files + 1))
            await storage.fill(SCOPE, folder, 1)
            with pytest.raises(OSError, match=over):
                await storage.fill(SCOPE, folder, 2)
        await backend.set_limits(SCOPE, TEAM, Limits())
        await storage.fill(SCOPE, folder, 4 * MIB)
        used = storage.array.disk.used(storage.root / SCOPE.value)
        seen = [(await backend.describe_scope(SCOPE)).usage for _ in range(_READS)][-1]
        assert seen is not None
        assert (seen.bytes, seen.files) in [(used.bytes, used.files), (used.bytes, None)]

    async def test_capabilities_tell_the_truth(
        self, storage: ArrayUnderTest, backend: StorageBackend, capabilities: Capabilities
    ) -> None:
        """And an array that is well gives no warning."""
        levels = capabilities.enforcement
        assert (levels.bytes, levels.files) == self.levels
        assert capabilities.over_limit_errno == errno.errorcode[storage.array.disk.over_limit]
        health = await backend.probe()
        assert health.capacity is not None
        assert health.capacity.total_bytes == self.total_bytes
        assert health.warnings == ()

    async def test_metrics_have_the_port_s_units(self, backend: StorageBackend) -> None:
        """Per second, bytes, seconds; what an array does not show is absent."""
        metrics = await backend.metrics()
        assert metrics is not None
        assert asdict(metrics) == pytest.approx(asdict(self.rates))

    async def test_other_names_of_the_type(self, storage: ArrayUnderTest) -> None:
        """They do the same."""
        for alias in self.aliases:
            backend = Registry().build(replace(storage.configured(), type=alias))
            await backend.attach(None)
            await backend.ensure_scope(scope_request())
            await backend.close()
            assert set(storage.held()) == {SCOPE.value}

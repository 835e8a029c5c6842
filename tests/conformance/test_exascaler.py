"""The suite on a simulated Lustre, and what only Lustre does."""

import json
import os
import re
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import yaml

from vfolder_backends.config import BackendConfig
from vfolder_backends.errors import (
    BackendError,
    DeadlineExceeded,
    Misconfigured,
    PermissionDenied,
    Unavailable,
)
from vfolder_backends.facts import Level, Tristate
from vfolder_backends.ids import ScopeHex
from vfolder_backends.layout import CONTROL_DIR, LAST_PROJECT, PROJECTS_DIR, project_mark_name
from vfolder_backends.port import Limits
from vfolder_backends.registry import Registry
from vfolder_backends.testing.array_storage import ArrayUnderTest
from vfolder_backends.testing.arrays.disk import Limit
from vfolder_backends.testing.arrays.exascaler.lustre import SimulatedLustre
from vfolder_backends.testing.arrays.exascaler.program import Program
from vfolder_backends.testing.arrays.faults import Fault, Kind
from vfolder_backends.testing.conformance import TreeConformance
from vfolder_backends.testing.conformance.array_rules import OPERATIONS
from vfolder_backends.testing.conformance.base import LIMITS, MIB, SCOPE, TEAM, scope_request
from vfolder_backends.testing.conformance.operations import Things, clean
from vfolder_backends.testing.conformance.sequence_rules import SequenceRules
from vfolder_operator.crds.backend import StorageBackendSpec

FIRST = 5000
IMPATIENT = 0.4  # seconds that a call of lfs may take


@dataclass
class LustreUnderTest(ArrayUnderTest):
    @property
    def lustre(self):
        return self.server.array

    def parameters(self):
        return {**self.config.parameters}

    async def tamper(self, scope, limits):
        project = self.lustre.project(self.root / scope.value)
        self.lustre.set_limits(project, Limit(limits.bytes, limits.files))

    def snapshot(self):
        """Without mark and claim of the ids that scopes have, and claims that wait for a sweep."""
        folder = Path(CONTROL_DIR, PROJECTS_DIR)
        left_out = {str(folder), str(folder / LAST_PROJECT)}
        found = super().snapshot()
        claims = {
            path.name: path.read_text().strip()
            for path in (self.root / folder).glob("[0-9]*")
            if path.name.isdecimal()
        }
        for place in self.root.iterdir():
            if re.fullmatch("[0-9a-f]{32}", place.name) and place.is_dir():
                mark = folder / project_mark_name(ScopeHex(place.name))
                project = str(self.lustre.project(place))
                if claims.get(project) == place.name and str(mark) in found:
                    assert json.loads((self.root / mark).read_text()) == {"projectID": int(project)}
                    left_out |= {str(mark), str(folder / project)}
        for project, scope in claims.items():
            if not any(scope in path for path in found):
                left_out.add(str(folder / project))
        return [path for path in found if path not in left_out]

    def held(self):
        """Limits by scope; those that no directory is charged to, by their id."""
        by_id = {
            self.lustre.project(place): place.name
            for place in self.root.iterdir()
            if re.fullmatch("[0-9a-f]{32}", place.name)
        }
        limits = self.lustre.limits()
        return {name: limits.get(number, Limit()) for number, name in by_id.items()} | {
            str(number): limit for number, limit in limits.items() if number not in by_id
        }

    @classmethod
    @contextmanager
    def serve(cls, place):
        """A Lustre on a directory, with its program beside it."""
        top = place / "lustre"
        (top / "root").mkdir(parents=True)
        with Program(SimulatedLustre(top), place) as program:
            parameters = {
                "lfsPath": str(program.path),
                "mountPoint": str(top),
                "projectIDFrom": str(FIRST),
                "projectIDTo": "9999",
            }
            config = BackendConfig("under-test", "exascaler", "", parameters, call_timeout=30.0)
            yield cls(top / "root", "exascaler", top, config, program)

    @property
    def secrets(self):
        """None: lfs is called as who we are."""
        return frozenset()


@pytest.fixture
def storage(tmp_path):
    with LustreUnderTest.serve(tmp_path) as storage:
        yield storage
        assert storage.lustre.violations == []


@pytest.fixture
async def backend(storage):
    backend = storage.build()
    await backend.attach(None)
    yield backend
    await backend.close()


def change(storage, **settings):
    for name, value in settings.items():
        setattr(storage.lustre.state, name, value)


def other(storage, patience=None, **parameters):
    """A backend on it with other parameters."""
    merged = {**storage.config.parameters, **parameters}
    config = storage.configured(parameters=merged, attempt_timeout=patience)
    return Registry().build(config)


class TestExascaler(TreeConformance, SequenceRules):
    under_test = LustreUnderTest

    async def test_capabilities_tell_the_truth(self, storage, backend, capabilities):
        levels = capabilities.enforcement
        assert (levels.bytes, levels.files) == (Level.COOPERATIVE, Level.COOPERATIVE)
        assert levels.root_bypass is Tristate.YES  # tried: nothing here stops root
        assert capabilities.granularity_bytes == 1024
        assert "root_prj_enable" in " ".join((await backend.probe()).warnings)
        assert storage.lustre.limits() == {}
        locked = other(storage, projectIDsLocked="true")
        await locked.attach(None)
        assert (await locked.probe()).capabilities.enforcement.bytes is Level.ENFORCED
        await locked.close()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("operation", [name for name in OPERATIONS if name != "read_all"])
async def test_a_fault_at_each_call_of_lfs_then_a_retry(storage, backend, operation):
    prepare, act, wanted = OPERATIONS[operation]
    root_id = await backend.attach(None)
    await backend.probe()
    step = 0
    # The other kinds look like one of these to whoever called; sequences have them all.
    for kind in (Kind.ERROR, Kind.LOST, Kind.TRUNCATED, Kind.LATE):
        for nth in range(1, 40):
            step += 1
            things = Things(root_id, step)
            await prepare(backend, things)
            actor = other(storage, IMPATIENT) if kind is Kind.LATE else backend
            fault = Fault(kind, nth)
            storage.lustre.faults.arm(fault)
            with suppress(BackendError):
                await act(actor, things)
            if actor is not backend:
                await actor.close()
            await storage.quiet()
            storage.lustre.calm()
            await act(backend, things)
            held = {things.scope.scope.value: Limit(wanted.bytes, wanted.files)} if wanted else {}
            assert storage.held() == held, f"{kind} at call {nth}"
            await clean(backend, things)
            assert storage.held() == {}, f"{kind} at call {nth}"
            if not fault.fired:
                break
        else:
            raise AssertionError("more than 40 calls")


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"columns": False},
        {"columns": False, "wrapped": True},
        {"columns": False, "wrapped": True, "default": True},
        {"default": True},
        {"swapped": True},
    ],
    ids=str,
)
async def test_versions_differ(storage, backend, settings):
    change(storage, **settings)
    await backend.probe()
    assert backend._driver._lustre._columns is (
        settings.get("columns", True) and settings != {"swapped": True}
    )
    await backend.ensure_scope(scope_request())
    (storage.root / SCOPE.value / "data").write_bytes(b"x" * 10000)
    state = await backend.set_limits(SCOPE, TEAM, Limits(bytes=2049, files=1))
    assert state.limits == Limits(bytes=3072, files=1)
    assert (state.usage.bytes, state.usage.files) == (12288, 2)  # both printed with an asterisk
    assert "imprecise" in state.enforcement.message
    (listed,) = [state async for state in backend.list_scopes()]
    assert listed.limits == state.limits


async def test_ids_come_from_the_range_and_are_known_by_the_directory(storage, backend):
    ref = await backend.prepare_scope(SCOPE, {})
    state = await backend.ensure_scope(replace(scope_request(), ref=ref))
    assert state.ref == ref == {"projectID": FIRST}
    assert storage.lustre.project(storage.root / SCOPE.value) == FIRST
    assert os.listdir(storage.root / SCOPE.value) == []


async def test_an_id_with_limits_of_somebody_else_is_passed_over(storage, backend):
    storage.lustre.set_limits(FIRST, Limit(MIB))
    state = await backend.ensure_scope(scope_request())
    assert state.ref == {"projectID": FIRST + 1}
    assert storage.lustre.limits()[FIRST] == Limit(MIB)


async def test_the_root_is_looked_at_again_by_each_probe(storage, backend):
    change(storage, enabled=False)
    with pytest.raises(Misconfigured, match=r"quota_slave_dt\.enabled=ugp"):
        await backend.probe()


async def test_incomplete_figures_are_no_figures(storage, backend):
    await backend.ensure_scope(scope_request())
    change(storage, incomplete=True)
    with pytest.raises(Unavailable, match="did not answer"):
        await backend.describe_scope(SCOPE)


async def test_what_hangs_is_killed(storage, backend):
    await backend.ensure_scope(scope_request())
    hasty = other(storage, IMPATIENT)
    await hasty.attach(None)
    storage.lustre.faults.arm(Fault(Kind.HANG))
    with pytest.raises(DeadlineExceeded, match="did not end"):
        await hasty.set_limits(SCOPE, TEAM, Limits(bytes=MIB))
    storage.lustre.calm()
    await backend.set_limits(SCOPE, TEAM, Limits(bytes=MIB))
    await hasty.close()


async def test_limits_are_all_four_and_soft_ones_are_none(storage, backend):
    await backend.ensure_scope(scope_request())
    assert storage.lustre.state.limits[FIRST] == (0, LIMITS.bytes // 1024, 0, LIMITS.files)


async def test_the_example_on_the_page_works_as_it_is_written(storage, monkeypatch):
    page = (Path(__file__).parents[2] / "docs/exascaler.md").read_text()
    (block,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    manifest = yaml.safe_load(block)
    spec = StorageBackendSpec.model_validate(manifest["spec"])
    monkeypatch.setenv("PATH", str(storage.server.path.parent), prepend=os.pathsep)
    # Only where it is mounted differs from site to site.
    parameters = {**spec.parameters, "mountPoint": storage.config.parameters["mountPoint"]}
    config = BackendConfig(manifest["metadata"]["name"], spec.type, str(storage.root), parameters)
    backend = Registry().build(config)
    await backend.attach(None)
    await backend.probe()
    state = await backend.ensure_scope(scope_request())
    assert state.limits == LIMITS
    assert storage.lustre.limits() == {1 << 28: Limit(LIMITS.bytes, LIMITS.files)}
    await backend.delete_scope(SCOPE, TEAM)
    await backend.close()
    assert storage.lustre.limits() == {}


async def refused(storage, error, match, **options):
    backend = other(storage, **options)
    try:
        with pytest.raises(error, match=match):
            await backend.attach(None)
    finally:
        await backend.close()
    assert os.listdir(storage.root) == []


async def test_quotas_that_are_off_are_told_with_what_to_do(storage):
    change(storage, enabled=False)
    await refused(storage, Misconfigured, "quota_slave_dt.enabled=ugp")


async def test_missing_privileges_are_named(storage):
    change(storage, denied=True)
    await refused(storage, PermissionDenied, "CAP_SYS_ADMIN")


async def test_another_mount_point_is_noticed(storage):
    await refused(storage, Misconfigured, "not on a mounted Lustre", mountPoint="/mnt")


async def test_a_program_that_is_not_there_is_named(storage):
    await refused(storage, Misconfigured, r"parameters\.lfsPath", lfsPath="/nowhere/lfs")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("mountPoint", "relative"),
        ("projectIDFrom", "0"),
        ("projectIDTo", "4294967295"),
        ("projectIDTo", "1"),
        ("tagging", "chattr"),
    ],
)
def test_options_are_checked(storage, key, value):
    with pytest.raises(Misconfigured, match=r"parameters\."):
        other(storage, **{key: value})

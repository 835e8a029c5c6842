"""The suite on a simulated Lustre, and what only Lustre does."""

import json
import os
import re
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from vfolder_backends.errors import (
    BackendError,
    DeadlineExceeded,
    Misconfigured,
    PermissionDenied,
    Unavailable,
)
from vfolder_backends.facts import Level, Tristate
from vfolder_backends.layout import CONTROL_DIR, LAST_PROJECT, MARKS_DIR, PROJECT_MARK, PROJECTS_DIR
from vfolder_backends.port import Limits
from vfolder_backends.registry import Registry
from vfolder_backends.testing.arrays.disk import Limit
from vfolder_backends.testing.arrays.exascaler.lustre import Fault, SimulatedLustre
from vfolder_backends.testing.conformance import TreeConformance
from vfolder_backends.testing.conformance.array_rules import OPERATIONS
from vfolder_backends.testing.conformance.base import LIMITS, MIB, SCOPE, TEAM, scope_request
from vfolder_backends.testing.conformance.operations import Things, clean
from vfolder_backends.testing.storages import TreeUnderTest

FIRST = 5000


@dataclass
class LustreUnderTest(TreeUnderTest):
    kind: str = "exascaler"
    folder: Path = Path("/nowhere")
    options: dict[str, str] = field(default_factory=dict)
    timeout: float = 30.0

    def config(self):
        parameters = {
            "lfsPath": str(self.folder / "lfs"),
            "mountPoint": str(self.folder / "lustre"),
            "projectIDFrom": str(FIRST),
            "projectIDTo": "9999",
            **self.options,
        }
        return replace(super().config(), parameters=parameters, call_timeout=self.timeout)

    async def tamper(self, scope, limits):
        lustre = lustre_of(self)
        project = lustre.project(self.root / scope.value)
        lustre.set_limits(project, Limit(limits.bytes, limits.files))

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
                mark = Path(CONTROL_DIR, MARKS_DIR, place.name, PROJECT_MARK)
                project = str(lustre_of(self).project(place))
                if claims.get(project) == place.name and str(mark) in found:
                    assert json.loads((self.root / mark).read_text()) == {"projectID": int(project)}
                    left_out |= {str(mark), str(folder / project)}
        for project, scope in claims.items():
            if not any(scope in path for path in found):
                left_out.add(str(folder / project))
        return [path for path in found if path not in left_out]

    def held(self):
        """Limits by scope; those that no directory is charged to, by their id."""
        lustre = lustre_of(self)
        by_id = {
            lustre.project(place): place.name
            for place in self.root.iterdir()
            if re.fullmatch("[0-9a-f]{32}", place.name)
        }
        limits = lustre.limits()
        return {name: limits.get(number, Limit()) for number, name in by_id.items()} | {
            str(number): limit for number, limit in limits.items() if number not in by_id
        }


class Attached(SimulatedLustre):
    """The one that is there already."""

    def __init__(self, folder):
        self.top = folder / "lustre"
        self._state = folder / "lfs.json"


def lustre_of(storage):
    return Attached(storage.folder)


@pytest.fixture
def storage(tmp_path):
    top = tmp_path / "lustre"
    (top / "root").mkdir(parents=True)
    lustre = SimulatedLustre(tmp_path, top)
    yield LustreUnderTest(top / "root", folder=tmp_path)
    with lustre.state() as state:
        assert state["violations"] == []


@pytest.fixture
async def backend(storage):
    backend = storage.build()
    await backend.attach(None)
    yield backend
    await backend.close()


def change(storage, **settings):
    with lustre_of(storage).state() as state:
        state.update(settings)


class TestExascaler(TreeConformance):
    @pytest.fixture
    def storage(self, tmp_path):
        top = tmp_path / "lustre"
        (top / "root").mkdir(parents=True)
        lustre = SimulatedLustre(tmp_path, top)
        yield LustreUnderTest(top / "root", folder=tmp_path)
        with lustre.state() as state:
            assert state["violations"] == []

    async def test_capabilities_tell_the_truth(self, storage, backend, capabilities):
        levels = capabilities.enforcement
        assert (levels.bytes, levels.files) == (Level.COOPERATIVE, Level.COOPERATIVE)
        assert levels.root_bypass is Tristate.YES  # tried: nothing here stops root
        assert capabilities.granularity_bytes == 1024
        assert "root_prj_enable" in " ".join((await backend.probe()).warnings)
        assert lustre_of(storage).limits() == {}
        locked = replace(storage, options={"projectIDsLocked": "true"}).build()
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
    for fault in (Fault.REFUSED, Fault.ERROR, Fault.KILLED, Fault.CUT):
        for nth in range(1, 40):
            step += 1
            things = Things(root_id, step)
            await prepare(backend, things)
            lustre_of(storage).arm(fault, nth)
            with suppress(BackendError):
                await act(backend, things)
            hit = lustre_of(storage).calm()
            await act(backend, things)
            held = {things.scope.scope.value: Limit(wanted.bytes, wanted.files)} if wanted else {}
            assert storage.held() == held, f"{fault} at call {nth}"
            await clean(backend, things)
            assert storage.held() == {}, f"{fault} at call {nth}"
            if not hit:
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
    assert lustre_of(storage).project(storage.root / SCOPE.value) == FIRST
    assert os.listdir(storage.root / SCOPE.value) == []


async def test_an_id_with_limits_of_somebody_else_is_passed_over(storage, backend):
    lustre_of(storage).set_limits(FIRST, Limit(MIB))
    state = await backend.ensure_scope(scope_request())
    assert state.ref == {"projectID": FIRST + 1}
    assert lustre_of(storage).limits()[FIRST] == Limit(MIB)


async def test_incomplete_figures_are_no_figures(storage, backend):
    await backend.ensure_scope(scope_request())
    change(storage, incomplete=True)
    with pytest.raises(Unavailable, match="did not answer"):
        await backend.describe_scope(SCOPE)


async def test_what_hangs_is_killed(storage, backend):
    await backend.ensure_scope(scope_request())
    hasty = replace(storage, timeout=6.0).build()
    await hasty.attach(None)
    lustre_of(storage).arm(Fault.HANG, 1)
    with pytest.raises(DeadlineExceeded, match="did not end"):
        await hasty.set_limits(SCOPE, TEAM, Limits(bytes=MIB))
    lustre_of(storage).calm()
    await backend.set_limits(SCOPE, TEAM, Limits(bytes=MIB))
    await hasty.close()


async def test_limits_are_all_four_and_soft_ones_are_none(storage, backend):
    await backend.ensure_scope(scope_request())
    with lustre_of(storage).state() as state:
        assert state["limits"][str(FIRST)] == [0, LIMITS.bytes // 1024, 0, LIMITS.files]


async def refused(storage, error, match, **options):
    backend = Registry().build(replace(storage, options=options).config())
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
        Registry().build(replace(storage, options={key: value}).config())

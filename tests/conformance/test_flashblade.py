"""The suite on a simulated FlashBlade over HTTPS, and what only FlashBlade does."""

import errno
import os
from dataclasses import replace

import pytest

from vfolder_backends.errors import (
    BackendError,
    DataMissing,
    Misconfigured,
    NotEmpty,
    PathConflict,
    PermissionDenied,
    Unavailable,
    Unsupported,
)
from vfolder_backends.facts import Level
from vfolder_backends.ids import ScopeHex
from vfolder_backends.port import Limits
from vfolder_backends.registry import Registry
from vfolder_backends.testing.array_storage import ArrayUnderTest, served
from vfolder_backends.testing.arrays.calls import Call
from vfolder_backends.testing.arrays.disk import Limit
from vfolder_backends.testing.arrays.flashblade.simulator import make
from vfolder_backends.testing.arrays.flashblade.state import EVERYBODY, Settings
from vfolder_backends.testing.conformance import ArrayConformance
from vfolder_backends.testing.conformance.base import (
    LIMITS,
    MIB,
    SCOPE,
    TEAM,
    folder_request,
    scope_request,
)
from vfolder_backends.tree import scopes
from vfolder_backends.vendors.flashblade import views

ACCOUNT = {"apiToken": "T-51e1a7ed-0000-4000-8000-000000000001"}
OPTIONS = {
    "view": "Directories",
    "operatorClients": "10.1.0.7",
    "nodeClients": "10.1.0.0/16 @nodes",
}
RULES = "10.1.0.7(rw,no_root_squash) 10.1.0.0/16(rw,root_squash) @nodes(rw,root_squash)"


class FlashBladeUnderTest(ArrayUnderTest):
    def parameters(self):
        if self.server is not None:
            self.array.settings.view = self.root_path[1:]
        return self.config.parameters

    async def tamper(self, scope, limits):
        found = self.file_system(scope)
        with self.array.lock:
            found.provisioned, found.hard = limits.bytes, limits.bytes is not None

    def file_system(self, scope=SCOPE):
        """The one of that name."""
        with self.array.lock:
            (found,) = [f for f in self.array.state.file_systems.values() if f.name == scope.value]
        return found

    def built(self, **options):
        """A backend with other options."""
        return Registry().build(self.configured(parameters={**self.parameters(), **options}))


@pytest.fixture
def storage(tmp_path):
    array = make(tmp_path, Settings(view="root"))
    with served(FlashBladeUnderTest, array, ACCOUNT, OPTIONS) as made:
        yield made


@pytest.fixture
async def backend(storage):
    backend = storage.build()
    await backend.attach(None)
    yield backend
    await backend.close()
    assert storage.array.violations == []


class TestFlashBlade(ArrayConformance):
    @pytest.fixture
    def storage(self, tmp_path):
        array = make(tmp_path, Settings(view="root"))
        with served(FlashBladeUnderTest, array, ACCOUNT, OPTIONS) as made:
            yield made

    @pytest.mark.parametrize("over", [errno.ENOSPC, errno.EDQUOT])
    async def test_the_limit_stops_a_writer(self, storage, backend, folder, over):
        storage.array.disk.over_limit = over
        await backend.set_limits(SCOPE, TEAM, Limits(bytes=2 * MIB))
        with pytest.raises(OSError, match=os.strerror(over)):
            await storage.fill(SCOPE, folder, 3 * MIB)
        await storage.fill(SCOPE, folder, MIB)
        await backend.set_limits(SCOPE, TEAM, Limits())
        await storage.fill(SCOPE, folder, 4 * MIB)
        assert (await backend.describe_scope(SCOPE)).usage.bytes == 5 * MIB

    async def test_capabilities_tell_the_truth(self, backend, capabilities):
        levels = capabilities.enforcement
        assert (levels.bytes, levels.files) == (Level.ENFORCED, Level.NONE)
        health = await backend.probe()
        assert health.capacity.total_bytes == 1 << 40
        assert health.warnings == ()

    async def test_metrics_have_the_port_s_units(self, backend):
        metrics = await backend.metrics()
        assert (metrics.read_ops_per_second, metrics.write_ops_per_second) == (120, 60)
        assert metrics.read_bytes_per_second == 3 << 20
        assert metrics.write_seconds_per_op == pytest.approx(500e-6)


@pytest.mark.parametrize(
    "changes",
    [
        {"versions": ("2.0",)},
        {"taken": "Name is in use."},
        {"page": 2},
    ],
    ids=str,
)
async def test_arrays_differ(storage, backend, changes):
    for name, value in changes.items():
        setattr(storage.array.settings, name, value)
    ids = [ScopeHex(f"{number:032x}") for number in range(5)]
    for scope in ids:
        await backend.ensure_scope(scope_request(TEAM, scope))
    assert {state.scope async for state in backend.list_scopes()} == set(ids)
    await backend.set_limits(ids[0], TEAM, Limits())
    assert storage.held()[ids[0].value] == Limit()
    for scope in ids:
        await backend.delete_scope(scope, TEAM)
    assert storage.held() == {}


async def test_a_file_system_is_never_open_to_everybody(storage, backend):
    await backend.ensure_scope(scope_request())
    made = storage.file_system()
    assert made.rules == RULES
    assert (made.v3, made.v4, made.snapshots, made.fast_remove) == (False, True, False, False)
    assert (storage.root / SCOPE.value).stat().st_mode & 0o7777 == 0o711
    assert (await backend.probe()).warnings == ()
    made.rules = EVERYBODY
    (warning,) = (await backend.probe()).warnings
    assert EVERYBODY in warning


@pytest.mark.parametrize(
    "clients", ["", "*", "0.0.0.0/0", "::/0", "*.example.com", "10.0.0.1/33", "a(rw)", "10.0.0.1,b"]
)
@pytest.mark.parametrize("key", ["operatorClients", "nodeClients"])
def test_export_clients_are_named(storage, key, clients):
    with pytest.raises(Misconfigured, match=rf"parameters\.{key}"):
        storage.built(**{key: clients})


async def test_a_deleted_scope_can_be_recovered_and_made_anew(storage, backend):
    """Destroyed under another name, which keeps ours free."""
    await backend.ensure_scope(scope_request())
    first = storage.file_system()
    await backend.delete_scope(SCOPE, TEAM)
    assert first.destroyed
    assert first.name.startswith(f"{SCOPE}-")
    assert storage.held() == {}
    await backend.ensure_scope(scope_request())
    assert storage.file_system().id != first.id
    await backend.delete_scope(SCOPE, TEAM)
    assert len(storage.array.state.file_systems) == 2


async def test_eradication_is_asked_for_by_name(storage):
    backend = storage.built(eradicate="true")
    await backend.attach(None)
    await backend.ensure_scope(scope_request())
    await backend.delete_scope(SCOPE, TEAM)
    assert storage.array.state.file_systems == {}
    storage.array.settings.manual_eradication = False
    await backend.ensure_scope(scope_request())
    with pytest.raises(BackendError, match="disabled"):
        await backend.delete_scope(SCOPE, TEAM)
    await backend.delete_scope(SCOPE, TEAM)
    await backend.close()
    assert storage.held() == {}


async def destroy(storage, backend):
    client = backend._driver._client
    await client.destroy(await client.find(SCOPE.value))


async def test_a_destroyed_file_system_is_named_and_not_replaced(storage, backend):
    """By an admin, behind our back: it holds data, and keeps its name."""
    await backend.ensure_scope(scope_request())
    await backend.ensure_folder(folder_request())
    await destroy(storage, backend)
    with pytest.raises(DataMissing):
        await backend.describe_scope(SCOPE)
    with pytest.raises(DataMissing):
        await backend.ensure_scope(scope_request())
    with pytest.raises(PathConflict, match="recover it, or eradicate it"):
        await backend.ensure_scope(replace(scope_request(), recreate=True))
    assert [state async for state in backend.list_scopes()] == []


async def test_a_file_system_with_something_in_it_is_not_destroyed(storage, backend):
    await backend.ensure_scope(scope_request())
    (storage.root / SCOPE.value / "stray").write_text("x")
    with pytest.raises(NotEmpty):
        await backend.delete_scope(SCOPE, TEAM)
    made = storage.file_system()
    assert (made.destroyed, made.limit) == (False, LIMITS.bytes)


async def test_what_was_written_after_the_look_brings_it_back(storage, backend, monkeypatch):
    """Looked at again under the name that no pod knows."""
    await backend.ensure_scope(scope_request())
    looked = views.empty

    def late(root, name, mounted):
        found = looked(root, name, mounted)
        if name == SCOPE.value:
            (storage.root / name / "late").write_text("x")
        return found

    monkeypatch.setattr(views, "empty", late)
    with pytest.raises(NotEmpty):
        await backend.delete_scope(SCOPE, TEAM)
    assert (storage.root / SCOPE.value / "late").exists()
    assert storage.file_system().limit == LIMITS.bytes


async def test_what_does_not_appear_is_not_used(storage):
    """The array made it, the automounter does not show it: nothing is done in its place."""
    backend = Registry().build(storage.configured(call_timeout=2.0))
    await backend.attach(None)
    storage.array.settings.view = "elsewhere"
    (storage.data / "elsewhere").mkdir()
    with pytest.raises(Unavailable, match="does not appear"):
        await backend.ensure_scope(scope_request())
    (storage.data / "elsewhere" / SCOPE.value).rename(storage.root / SCOPE.value)
    await backend.ensure_scope(scope_request())
    await backend.close()
    assert storage.held() == {SCOPE.value: Limit(LIMITS.bytes)}
    assert len(storage.array.state.file_systems) == 1


async def test_usage_lags(storage, backend):
    await backend.ensure_scope(scope_request())
    await backend.ensure_folder(folder_request())
    storage.array.settings.lag_calls = 10
    await backend.describe_scope(SCOPE)
    await storage.fill(SCOPE, folder_request().folder, MIB)
    seen = [(await backend.describe_scope(SCOPE)).usage.bytes for _ in range(30)]
    assert (seen[0], seen[-1]) == (0, MIB)


async def test_an_idle_session_is_made_anew(storage, backend, monkeypatch):
    await backend.probe()
    logins = storage.array.served["POST /api/login"]
    for token in storage.array._used_at:
        storage.array._used_at[token] -= 3600
    await backend.probe()
    assert storage.array.served["POST /api/login"] == logins + 1


async def test_a_limit_below_usage_needs_a_word(storage, backend, monkeypatch):
    """The array refuses it otherwise; whether it is wanted was decided before."""
    await backend.ensure_scope(scope_request())
    await backend.ensure_folder(folder_request())
    await storage.fill(SCOPE, folder_request().folder, 2 * MIB)
    client = backend._driver._client
    found = await client.find(SCOPE.value)
    with pytest.raises(BackendError, match="above the limit"):
        await client._change(found, {"provisioned": MIB, "hard_limit_enabled": True})
    await backend.set_limits(SCOPE, TEAM, Limits(bytes=MIB))
    assert storage.file_system().limit == MIB


async def test_an_empty_text_is_unlimited(storage, backend):
    await backend.ensure_scope(scope_request())
    client = backend._driver._client
    await client._change(await client.find(SCOPE.value), {"provisioned": ""})
    assert (await backend.describe_scope(SCOPE)).limits == Limits()


def test_rules_left_out_are_everybody(storage):
    """What a client must never do; the simulator does as the document says."""
    token = storage.array.tokens.give(storage.array.tokens.accounts["vfolder"], 60)
    route = "POST /api/2.28/file-systems"
    call = Call(route, "", {}, {"names": ["open"]}, {}, {"x-auth-token": token})
    (item,) = storage.array.serve(call).body["items"]
    assert item["nfs"]["rules"] == EVERYBODY


def test_an_automounted_root_is_an_autofs_map(storage, tmp_path):
    """And nothing in it may be a bare directory."""
    root = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(Misconfigured, match="autofs map"):
            views.check_automounted(root, str(tmp_path))
        (tmp_path / "bare").mkdir()
        with pytest.raises(PathConflict, match="not mounted"):
            views.dress(root, "bare", mounted=True)
        with pytest.raises(PathConflict, match="not mounted"):
            views.empty(root, "bare", mounted=True)
    finally:
        os.close(root)
    slash = os.open("/", os.O_RDONLY)
    try:
        views.check_own(slash, "proc")
    finally:
        os.close(slash)


async def test_an_automounted_backend_refuses_a_plain_directory(storage):
    backend = storage.built(view="Automount")
    with pytest.raises(Misconfigured, match="operatorPath"):
        await backend.attach(None)
    await backend.close()
    assert list(storage.root.iterdir()) == []


async def test_scopes_that_an_automounter_does_not_show_are_listed(storage, backend, monkeypatch):
    await backend.ensure_scope(scope_request())

    class Nothing:
        def __enter__(self):
            return iter(())

        def __exit__(self, *args):
            pass

    root = os.open(storage.root, os.O_RDONLY)
    try:
        monkeypatch.setattr(scopes.os, "scandir", lambda path: Nothing())
        assert scopes.listing(root) == [(SCOPE, TEAM)]
    finally:
        os.close(root)


async def refused_probe(storage, error, match, **changes):
    backend = Registry().build(storage.configured(**changes))
    try:
        await backend.attach(None)
        with pytest.raises(error, match=match):
            await backend.probe()
    finally:
        await backend.close()
    assert storage.array.violations == []


@pytest.mark.parametrize("status", [400, 403])
async def test_a_role_that_may_not_change_file_systems_is_named(storage, status):
    storage.array.settings.forbidden = status
    reader = {"apiToken": "T-51e1a7ed-0000-4000-8000-000000000002"}
    await refused_probe(storage, PermissionDenied, "storage_admin", credentials=reader)


async def test_a_wrong_token_is_told_without_it(storage):
    wrong = {"apiToken": "T-planted-and-wrong"}
    await refused_probe(storage, PermissionDenied, r"401, Invalid credentials", credentials=wrong)


async def test_an_old_array_is_unsupported(storage):
    storage.array.settings.versions = ("1.8", "1.12")
    await refused_probe(storage, Unsupported, r"2\.0 or newer")


async def test_a_flasharray_is_another_thing(storage):
    storage.array.settings.os = "Purity//FA"
    await refused_probe(storage, Unsupported, "Purity//FA")


async def test_what_is_doubtful_is_a_warning(storage, backend):
    storage.array.settings.parity, storage.array.settings.alerts = 0.9, 2
    warnings = " ".join((await backend.probe()).warnings)
    assert "rebuilt" in warnings
    assert "2 critical alerts" in warnings


async def test_the_alias_is_the_same(storage):
    backend = Registry().build(replace(storage.configured(), type="purestorage"))
    await backend.attach(None)
    await backend.ensure_scope(scope_request())
    await backend.close()
    assert storage.held() == {SCOPE.value: Limit(LIMITS.bytes)}


async def test_a_wrong_word_of_ours_is_noticed(storage, backend):
    await backend.ensure_scope(scope_request())
    client = backend._driver._client
    with pytest.raises(BackendError, match="hard_limit"):
        await client._change(await client.find(SCOPE.value), {"hard_limit": True})
    assert any("hard_limit" in text for text in storage.array.violations)
    storage.array.violations.clear()

"""The suite on a simulated WEKA cluster over HTTPS, and what only WEKA does."""

import errno
import os
from contextlib import suppress

import pytest

from vfolder_backends.errors import (
    BackendError,
    Misconfigured,
    PermissionDenied,
    Unavailable,
    Unsupported,
)
from vfolder_backends.facts import Level
from vfolder_backends.port import Limits
from vfolder_backends.registry import Registry
from vfolder_backends.testing.array_storage import ArrayUnderTest, served
from vfolder_backends.testing.arrays.disk import Limit
from vfolder_backends.testing.arrays.faults import Fault, Kind
from vfolder_backends.testing.arrays.weka.simulator import make
from vfolder_backends.testing.conformance import ArrayConformance
from vfolder_backends.testing.conformance.base import (
    DATASETS,
    MIB,
    SCOPE,
    TEAM,
    scope_request,
)

ACCOUNT = {"username": "vfolder", "password": "simulated-weka"}


class WekaUnderTest(ArrayUnderTest):
    async def tamper(self, scope, limits):
        with self.array.lock:
            for quota in self.array.state.quotas.values():
                if quota.hint.endswith(scope.value):
                    quota.hard = limits.bytes or 0


@pytest.fixture
def storage(tmp_path):
    with served(WekaUnderTest, make(tmp_path), ACCOUNT, {"fileSystem": "default"}) as made:
        yield made


@pytest.fixture
async def backend(storage):
    backend = storage.build()
    await backend.attach(None)
    yield backend
    await backend.close()
    assert storage.array.violations == []


class TestWeka(ArrayConformance):
    @pytest.fixture
    def storage(self, tmp_path):
        with served(WekaUnderTest, make(tmp_path), ACCOUNT, {"fileSystem": "default"}) as made:
            yield made

    async def test_the_limit_stops_a_writer(self, storage, backend, folder):
        await backend.set_limits(SCOPE, TEAM, Limits(bytes=2 * MIB))
        with pytest.raises(OSError, match=os.strerror(errno.EDQUOT)):
            await storage.fill(SCOPE, folder, 3 * MIB)
        await storage.fill(SCOPE, folder, MIB)
        await backend.set_limits(SCOPE, TEAM, Limits())
        await storage.fill(SCOPE, folder, 4 * MIB)
        assert (await backend.describe_scope(SCOPE)).usage.bytes == 5 * MIB

    async def test_a_full_scope_can_be_emptied(self, storage, backend, folder):
        await storage.fill(SCOPE, folder, MIB)
        await backend.set_limits(SCOPE, TEAM, Limits(bytes=4096))
        await backend.trash_folder(SCOPE, folder, DATASETS)
        await backend.restore_folder(SCOPE, folder, DATASETS)

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
        assert metrics.read_seconds_per_op == pytest.approx(250e-6)

    async def test_the_connection_is_told_of(self, backend):
        await backend.probe()
        assert (backend.link.circuit, backend.link.failures) == ("Closed", 0)
        assert backend.link.calls > 0


@pytest.mark.parametrize(
    "changes",
    [
        {"missing_as_500": True},
        {"plural_delete": True},
        {"full_paths": True, "page": 2},
    ],
    ids=str,
)
async def test_clusters_differ(storage, backend, changes):
    for name, value in changes.items():
        setattr(storage.array.settings, name, value)
    scopes = [type(SCOPE)(f"{number:032x}") for number in range(5)]
    for scope in scopes:
        await backend.ensure_scope(scope_request(TEAM, scope))
    assert {state.scope async for state in backend.list_scopes()} == set(scopes)
    await backend.set_limits(scopes[0], TEAM, Limits(bytes=MIB))
    assert storage.held()[scopes[0].value] == Limit(MIB)
    for scope in scopes:
        await backend.delete_scope(scope, TEAM)
    assert storage.held() == {}


async def test_tokens_are_refreshed_while_they_can_be(storage, backend):
    served, tokens = storage.array.served, storage.array.tokens
    await backend.ensure_scope(scope_request())
    tokens.end_all()
    await backend.describe_scope(SCOPE)
    assert (served["POST /login"], served["POST /login/refresh"]) == (1, 1)
    tokens.end_all()
    tokens.end_all("refresh")
    await backend.describe_scope(SCOPE)
    assert (served["POST /login"], served["POST /login/refresh"]) == (2, 2)


async def test_a_list_that_names_no_path_costs_calls_and_no_scope(storage, backend):
    """Quotas are looked up one by one where the list cannot be read by path."""
    await backend.ensure_scope(scope_request())
    listed = type(storage.array)._listed

    class Nameless(type(storage.array)):
        def _listed(self, quota):
            return {**listed(self, quota), "path": "", "full_path": ""}

    storage.array.__class__ = Nameless
    (state,) = [state async for state in backend.list_scopes()]
    assert state.limits == Limits(bytes=scope_request().limits.bytes)


async def test_a_limit_on_what_is_full_already_holds_once_it_is_counted(storage, backend):
    await backend.ensure_scope(scope_request())
    (storage.root / SCOPE.value / "aa").mkdir()
    with storage.array.lock:
        storage.array.state.quotas.clear()
    storage.array.settings.adding_calls = 6
    state = await backend.set_limits(SCOPE, TEAM, Limits(bytes=MIB))
    assert state.enforcement.bytes is Level.NONE
    state = await backend.ensure_scope(scope_request())
    assert state.progress.reason == "Counting"
    storage.array.calm()
    state = await backend.ensure_scope(scope_request())
    assert (state.progress, state.enforcement.bytes) == (None, Level.ENFORCED)


async def test_a_scope_with_something_in_it_keeps_its_limit(storage, backend):
    await backend.ensure_scope(scope_request())
    (storage.root / SCOPE.value / "stray").write_text("x")
    with pytest.raises(BackendError, match="not empty"):
        await backend.delete_scope(SCOPE, TEAM)
    assert storage.held() == {SCOPE.value: Limit(scope_request().limits.bytes)}
    assert (storage.root / SCOPE.value / "stray").exists()


@pytest.mark.parametrize("nth", range(1, 8))
async def test_a_scope_half_deleted_is_deleted_by_the_next_call(storage, backend, nth):
    await backend.ensure_scope(scope_request())
    storage.array.faults.arm(Fault(Kind.FORBIDDEN, nth))
    with suppress(PermissionDenied):
        await backend.delete_scope(SCOPE, TEAM)
    await backend.delete_scope(SCOPE, TEAM)
    assert storage.held() == {}
    assert [p.name for p in storage.root.iterdir()] == [".vfolder"]


async def refused_probe(storage, error, match, **changes):
    backend = Registry().build(storage.configured(**changes))
    try:
        await backend.attach(None)
        with pytest.raises(error, match=match):
            await backend.probe()
    finally:
        await backend.close()
    assert storage.array.violations == []


async def test_a_role_that_may_not_set_quotas_is_named(storage):
    reader = {"username": "reader", "password": "simulated-reader"}
    await refused_probe(storage, PermissionDenied, "role CSI", credentials=reader)


async def test_a_wrong_password_is_told_without_it(storage):
    wrong = {"username": "vfolder", "password": "planted-and-wrong"}
    await refused_probe(storage, PermissionDenied, r"401, Unauthorized$", credentials=wrong)


async def test_another_directory_is_noticed(storage):
    parameters = {"fileSystem": "default", "path": "/elsewhere"}
    await refused_probe(storage, Misconfigured, r"parameters\.path", parameters=parameters)


async def test_an_unknown_file_system_is_named_with_those_there_are(storage):
    parameters = {"fileSystem": "scratch", "path": "/root"}
    await refused_probe(storage, Misconfigured, "sees: default", parameters=parameters)


async def test_an_old_version_is_unsupported(storage):
    storage.array.settings.release = "4.2.9"
    await refused_probe(storage, Unsupported, "resolvePath")


async def test_a_stopped_cluster_is_unavailable(storage):
    storage.array.settings.io_status = "STOPPED"
    await refused_probe(storage, Unavailable, "STOPPED")


async def test_alerts_and_switched_off_verification_are_warnings(storage):
    storage.array.settings.alerts = 2
    backend = Registry().build(storage.configured(insecure_skip_verify=True, ca_bundle=""))
    await backend.attach(None)
    warnings = " ".join((await backend.probe()).warnings)
    await backend.close()
    assert "2 alerts" in warnings
    assert "insecureSkipVerify" in warnings


@pytest.mark.parametrize("path", ["relative", "/a/../b"])
def test_paths_are_checked(storage, path):
    parameters = {"fileSystem": "default", "path": path}
    with pytest.raises(Misconfigured, match=r"parameters\.path"):
        Registry().build(storage.configured(parameters=parameters))


async def test_a_wrong_word_of_ours_is_noticed(storage, backend, monkeypatch):
    """The check is not of our own making: it knows the published names."""
    client = backend._driver._client
    monkeypatch.setattr(client, "set_quota", lambda uid, inode, hard: wrong(client, uid, inode))
    with pytest.raises(BackendError, match="hard_limit_byte"):
        await backend.ensure_scope(scope_request())
    assert any("hard_limit_byte" in text for text in storage.array.violations)
    storage.array.violations.clear()


async def wrong(client, uid, inode):
    from vfolder_backends.transport.messages import Request

    body = {"hard_limit_byte": 1, "soft_limit_bytes": 1, "grace_seconds": 0}
    path = "/fileSystems/{uid}/quota/{inode}"
    await client.channel.send(Request("PUT", path, {"uid": uid, "inode": inode}, json=body))


async def test_a_wrong_word_of_the_simulator_is_noticed(storage, backend):
    shown = type(storage.array)._shown

    class Chatty(type(storage.array)):
        def _shown(self):
            return {**shown(self), "colour": "blue"}

    storage.array.__class__ = Chatty
    await backend.probe()
    assert any("colour" in text for text in storage.array.violations)
    storage.array.violations.clear()

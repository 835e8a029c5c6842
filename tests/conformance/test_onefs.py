"""The suite on a simulated OneFS cluster over HTTPS, and what only OneFS does."""

import errno
import os
import shutil
from dataclasses import replace

import pytest

from vfolder_backends import containers
from vfolder_backends.errors import (
    BackendError,
    Misconfigured,
    NotEmpty,
    PermissionDenied,
    Unavailable,
    Unsupported,
)
from vfolder_backends.facts import Level
from vfolder_backends.ids import ScopeHex
from vfolder_backends.port import Adoption, Limits
from vfolder_backends.registry import Registry
from vfolder_backends.testing.array_storage import ArrayUnderTest, served
from vfolder_backends.testing.arrays.calls import Call
from vfolder_backends.testing.arrays.disk import Limit
from vfolder_backends.testing.arrays.faults import Fault, Kind
from vfolder_backends.testing.arrays.onefs.simulator import make
from vfolder_backends.testing.arrays.onefs.state import Export
from vfolder_backends.testing.conformance import ArrayConformance
from vfolder_backends.testing.conformance.base import (
    LIMITS,
    MIB,
    SCOPE,
    TEAM,
    folder_request,
    scope_request,
)

ACCOUNT = {"username": "vfolder", "password": "simulated-onefs"}
POST_QUOTA = "POST /platform/1/quota/quotas"
LOGIN = "POST /session/1/session"


class OneFSUnderTest(ArrayUnderTest):
    def parameters(self):
        return {**super().parameters(), "path": f"/ifs{self.root_path}"}

    async def tamper(self, scope, limits):
        with self.array.lock:
            for quota in self.array.state.quotas.values():
                if quota.hint.endswith(scope.value):
                    quota.hard, quota.enforced = limits.bytes, limits.bytes is not None

    async def lose_scope(self, scope):
        with self.array.lock:
            quotas = self.array.state.quotas
            for quota in [q for q in quotas.values() if q.hint.endswith(scope.value)]:
                del quotas[quota.id]
            shutil.rmtree(self.root / scope.value)

    def built(self, **options):
        """A backend with other options."""
        return Registry().build(self.configured(parameters={**self.parameters(), **options}))


@pytest.fixture
def storage(tmp_path):
    with served(OneFSUnderTest, make(tmp_path), ACCOUNT) as made:
        yield made


@pytest.fixture
async def backend(storage):
    backend = storage.build()
    await backend.attach(None)
    yield backend
    await backend.close()
    assert storage.array.violations == []


class TestOneFS(ArrayConformance):
    """With sessions, which are more to go wrong than a password with every call."""

    @pytest.fixture
    def storage(self, tmp_path):
        options = {"authentication": "Session"}
        with served(OneFSUnderTest, make(tmp_path), ACCOUNT, options) as made:
            yield made

    async def test_the_limit_stops_a_writer(self, storage, backend, folder):
        await backend.set_limits(SCOPE, TEAM, Limits(bytes=2 * MIB))
        with pytest.raises(OSError, match=os.strerror(errno.EDQUOT)):
            await storage.fill(SCOPE, folder, 3 * MIB)
        await storage.fill(SCOPE, folder, MIB)
        await backend.set_limits(SCOPE, TEAM, Limits())
        await storage.fill(SCOPE, folder, 4 * MIB)
        usage = (await backend.describe_scope(SCOPE)).usage
        assert usage.bytes == 5 * MIB
        assert usage.files == 6  # two files, the folder, two levels, the scope itself

    async def test_capabilities_tell_the_truth(self, backend, capabilities):
        levels = capabilities.enforcement
        assert (levels.bytes, levels.files) == (Level.ENFORCED, Level.NONE)
        health = await backend.probe()
        # The tier is made of the two pools, and is not counted beside them.
        assert health.capacity.total_bytes == (1 << 40) + (1 << 39)
        assert health.warnings == ()

    async def test_metrics_have_the_port_s_units(self, backend):
        metrics = await backend.metrics()
        assert (metrics.read_ops_per_second, metrics.write_ops_per_second) == (120, 60)
        assert (metrics.read_bytes_per_second, metrics.write_bytes_per_second) == (6e6, 3e6)
        assert metrics.read_seconds_per_op is None


@pytest.mark.parametrize("changes", [{"nulls": False}, {"page": 2}, {"latest": "4"}], ids=str)
async def test_clusters_differ(storage, backend, changes):
    for name, value in changes.items():
        setattr(storage.array.settings, name, value)
    await backend.probe()
    scopes = [ScopeHex(f"{number:032x}") for number in range(5)]
    for scope in scopes:
        await backend.ensure_scope(scope_request(TEAM, scope))
    assert {state.scope async for state in backend.list_scopes()} == set(scopes)
    await backend.set_limits(scopes[0], TEAM, Limits())
    assert storage.held()[scopes[0].value] == Limit()
    for scope in scopes:
        await backend.delete_scope(scope, TEAM)
    assert storage.held() == {}


async def test_behind_a_smartconnect_name_a_password_works_and_a_session_does_not(storage, backend):
    storage.array.settings.nodes = 3
    await backend.ensure_scope(scope_request())
    session = storage.built(authentication="Session")
    await session.attach(None)
    with pytest.raises(PermissionDenied, match=r"SmartConnect.*authentication: Basic"):
        await session.probe()
    await session.close()


def test_sessions_need_one_address(storage):
    several = "https://10.0.0.1:8080, https://10.0.0.2:8080"
    parameters = {**storage.parameters(), "authentication": "Session"}
    with pytest.raises(Misconfigured, match="one node only"):
        Registry().build(storage.configured(endpoint=several, parameters=parameters))
    Registry().build(storage.configured(endpoint=several))


async def test_a_new_cookie_is_taken_in_passing(storage):
    """The old session may end then, and nobody logs in again."""
    storage.array.settings.renew_below = 900.0
    session = storage.built(authentication="Session")
    await session.attach(None)
    await session.probe()
    ever = len(storage.array.tokens.ever)
    await session.probe()
    assert storage.array.served[LOGIN] == 1
    assert len(storage.array.tokens.ever) > ever
    newest = session._driver._client.channel._auth._session.headers
    live = storage.array.tokens
    assert live.check(newest["Cookie"].partition("=")[2]) is not None
    await session.close()


async def test_a_forged_call_is_refused(storage):
    """The simulator wants cookie, token and referer together, as the cluster does."""
    session = storage.built(authentication="Session")
    await session.attach(None)
    await session.probe()
    sent = session._driver._client.channel._auth._session.headers
    host = storage.array.served and storage.config.endpoint.partition("//")[2]
    headers = {name.lower(): value for name, value in sent.items()} | {"host": host}
    route = "GET /platform/latest"
    call = Call(route, "/platform/latest", headers={**headers, "referer": storage.config.endpoint})
    assert storage.array.serve(call).status == 200
    for wrong in ({"referer": "https://elsewhere:8080"}, {"x-csrf-token": "guess"}):
        assert storage.array.serve(replace(call, headers=call.headers | wrong)).status == 401
    await session.close()


async def test_a_tree_with_a_quota_in_it_is_not_removed_by_the_cluster(storage, backend):
    await backend.ensure_scope(scope_request())
    basic = backend._driver._client.channel._auth
    headers = await basic.headers(backend._driver._client.channel)
    call = Call(
        "DELETE /namespace/{path}",
        "/namespace/ifs/root",
        {"path": "ifs/root"},
        {"recursive": ["true"]},
        headers={name.lower(): value for name, value in headers.items()},
    )
    assert storage.array.serve(call).status == 409
    assert (storage.root / SCOPE.value).is_dir()


async def test_a_delete_of_many_quotas_would_be_noticed(storage, backend):
    await backend.ensure_scope(scope_request())
    channel = backend._driver._client.channel
    headers = {k.lower(): v for k, v in (await channel._auth.headers(channel)).items()}
    call = Call("DELETE /platform/1/quota/quotas", "/platform/1/quota/quotas", headers=headers)
    assert storage.array.serve(call).status == 204
    assert storage.held() == {}
    assert "more than one" in storage.array.violations.pop()


async def test_a_cluster_that_renames_no_quota_root(storage, backend, monkeypatch):
    """The quota goes first there, and comes back when something lies in the scope."""
    rename = containers.rename_noreplace

    def refusing(parent, source, target):
        where = os.readlink(f"/proc/self/fd/{parent}")
        if any(os.path.join(where, source) == str(p) for p in storage.array.disk.limits()):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), source)
        rename(parent, source, target)

    await backend.ensure_scope(scope_request())
    monkeypatch.setattr(containers, "rename_noreplace", refusing)
    (storage.root / SCOPE.value / "stray").write_text("x")
    with pytest.raises(NotEmpty):
        await backend.delete_scope(SCOPE, TEAM)
    assert storage.held() == {SCOPE.value: Limit(LIMITS.bytes)}
    (storage.root / SCOPE.value / "stray").unlink()
    await backend.delete_scope(SCOPE, TEAM)
    assert storage.held() == {}
    assert [p.name for p in storage.root.iterdir()] == [".vfolder"]


async def adopt_full(storage, backend):
    """Take a directory that holds data already, and put a limit on it."""
    place = storage.root / SCOPE.value / "aa"
    place.mkdir(parents=True)
    await backend.ensure_scope(replace(scope_request(), adoption=Adoption()))
    return await backend.set_limits(SCOPE, TEAM, Limits(bytes=MIB))


async def test_a_limit_on_what_is_full_already_holds_once_it_is_counted(storage, backend):
    storage.array.faults.arm(Fault(Kind.SLOW_JOB, route=POST_QUOTA))
    state = await adopt_full(storage, backend)
    assert (state.enforcement.bytes, state.usage) == (Level.NONE, None)
    state = await backend.ensure_scope(scope_request())
    assert "job 1 (QuotaScan, running)" in state.progress.message
    for _ in range(60):
        state = await backend.ensure_scope(scope_request())
        if state.progress is None:
            break
    assert state.enforcement.bytes is Level.ENFORCED
    client = backend._driver._client
    assert await client.jobs() == []
    assert [job.state for job in await client.recent_jobs()] == ["succeeded"]


@pytest.mark.parametrize("kind", [Kind.SLOW_JOB, Kind.LOST_JOB, Kind.EXPIRED_JOB], ids=str)
async def test_a_count_that_is_lost_is_started_again(storage, backend, kind):
    storage.array.faults.arm(Fault(kind, route=POST_QUOTA))
    await adopt_full(storage, backend)
    told = set()
    for _ in range(60):
        state = await backend.ensure_scope(scope_request())
        if state.progress is None:
            break
        told.add(state.progress.message)
    assert state.enforcement.bytes is Level.ENFORCED
    if kind is Kind.LOST_JOB:
        assert any("one was started" in message for message in told)
    if kind is Kind.SLOW_JOB:
        assert storage.array.served["POST /platform/3/job/jobs"] == 0


async def test_a_quota_that_counts_snapshots_is_left_alone(storage, backend):
    """It may lie on the same directory; limits, usage and removal are not about it."""
    await backend.ensure_scope(scope_request())
    with storage.array.lock:
        (ours,) = storage.array.state.quotas.values()
        twin = replace(ours, id="f" * 32, include_snapshots=True, hard=1, enforced=True)
        storage.array.state.quotas = {twin.id: twin, ours.id: ours}
    assert (await backend.describe_scope(SCOPE)).limits.bytes == LIMITS.bytes
    await backend.set_limits(SCOPE, TEAM, Limits(bytes=MIB))
    assert (ours.id, storage.array.state.quotas[twin.id].hard) == (ours.id, 1)
    with storage.array.lock:
        del storage.array.state.quotas[twin.id]


async def test_foreign_thresholds_are_taken_off(storage, backend):
    await backend.ensure_scope(scope_request())
    with storage.array.lock:
        (quota,) = storage.array.state.quotas.values()
        quota.soft, quota.soft_grace, quota.advisory = MIB, 60, MIB
    await backend.set_limits(SCOPE, TEAM, Limits(bytes=2 * MIB))
    (quota,) = storage.array.state.quotas.values()
    assert (quota.hard, quota.soft, quota.advisory, quota.container) == (2 * MIB, None, None, True)


async def test_pages_are_asked_for_by_their_token_alone(storage, backend):
    """The simulator refuses a token beside anything else."""
    storage.array.settings.page = 1
    for number in (1, 2, 3):
        await backend.ensure_scope(scope_request(TEAM, ScopeHex(f"{number:032x}")))
    assert len([state async for state in backend.list_scopes()]) == 3


async def refused_probe(storage, error, match, **changes):
    backend = Registry().build(storage.configured(**changes))
    try:
        await backend.attach(None)
        with pytest.raises(error, match=match):
            await backend.probe()
    finally:
        await backend.close()
    assert storage.array.violations == []


@pytest.mark.parametrize("status", ["Unlicensed", "Expired", "Evaluation Expired"])
async def test_without_a_licence_nothing_is_promised(storage, status):
    storage.array.settings.license = status
    await refused_probe(storage, Unsupported, f"SmartQuotas is '{status}'")


async def test_a_licence_that_ends_later_is_named(storage, backend):
    await backend.probe()
    storage.array.settings.license = "Expired"
    with pytest.raises(Unsupported, match="AEC_INVALID_LICENSE"):
        await backend.ensure_scope(scope_request())


async def test_a_role_that_may_not_set_quotas_is_named(storage):
    reader = {"username": "reader", "password": "simulated-reader"}
    await refused_probe(storage, PermissionDenied, "ISI_PRIV_QUOTA", credentials=reader)


async def test_a_wrong_password_is_told_without_it(storage):
    wrong = {"username": "vfolder", "password": "planted-and-wrong"}
    await refused_probe(storage, PermissionDenied, "status 401", credentials=wrong)


async def test_another_directory_is_noticed(storage):
    elsewhere = {"path": "/ifs/elsewhere"}
    await refused_probe(storage, Misconfigured, r"parameters\.path", parameters=elsewhere)


async def test_an_old_version_is_unsupported(storage):
    storage.array.settings.latest = "3"
    await refused_probe(storage, Unsupported, r"8\.0\.1")


async def test_a_cluster_without_quorum_is_unavailable(storage):
    storage.array.settings.quorum = False
    await refused_probe(storage, Unavailable, "quorum")


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        ({"down": 1}, "node 1 is down"),
        ({"exports": []}, "no NFS export"),
        ({"exports": [Export(clients=())]}, "open to every client"),
        ({"exports": [Export(squash=False)]}, "root be root"),
        ({"namespace": False}, "could not be looked at"),
    ],
    ids=str,
)
async def test_what_is_doubtful_is_a_warning(storage, backend, change, warning):
    for name, value in change.items():
        setattr(storage.array.settings, name, value)
    assert any(warning in text for text in (await backend.probe()).warnings)


@pytest.mark.parametrize("path", ["/data", "ifs/a", "/ifs/../a", "/ifs/" + "a" * 4000])
def test_paths_are_checked(storage, path):
    with pytest.raises(Misconfigured, match=r"parameters\.path"):
        storage.built(path=path)


async def test_the_alias_is_the_same(storage):
    backend = Registry().build(replace(storage.configured(), type="dellemc-onefs"))
    await backend.attach(None)
    await backend.ensure_scope(scope_request())
    await backend.ensure_folder(folder_request())
    await backend.close()
    assert storage.held() == {SCOPE.value: Limit(LIMITS.bytes)}


async def test_a_wrong_word_of_the_simulator_is_noticed(storage, backend):
    listed = type(storage.array)._shown

    class Chatty(type(storage.array)):
        def _shown(self, quota):
            return {**listed(self, quota), "colour": "blue"}

    await backend.ensure_scope(scope_request())
    storage.array.__class__ = Chatty
    await backend.describe_scope(SCOPE)
    assert any("colour" in text for text in storage.array.violations)
    storage.array.violations.clear()


async def test_a_wrong_word_of_ours_is_noticed(storage, backend, monkeypatch):
    from vfolder_backends.transport.messages import Request

    client = backend._driver._client

    async def wrong(path, hard):
        body = {"path": path, "type": "directory", "hard_limit": hard}
        await client.channel.send(Request("POST", "/platform/1/quota/quotas", json=body))

    monkeypatch.setattr(client, "create_quota", wrong)
    with pytest.raises(BackendError, match="hard_limit"):
        await backend.ensure_scope(scope_request())
    assert any("hard_limit" in text for text in storage.array.violations)
    storage.array.violations.clear()

"""The suite on a simulated OneFS cluster over HTTPS, and what only OneFS does."""

import errno
import os
import shutil
from dataclasses import replace

import pytest

from vfolder_backends import containers
from vfolder_backends.errors import (
    Misconfigured,
    NotEmpty,
    PermissionDenied,
    Unavailable,
    Unsupported,
)
from vfolder_backends.facts import Level, PerformanceMetrics
from vfolder_backends.ids import ScopeHex
from vfolder_backends.port import Adoption, Limits
from vfolder_backends.registry import Registry
from vfolder_backends.testing.array_storage import ArrayUnderTest
from vfolder_backends.testing.arrays.calls import Call
from vfolder_backends.testing.arrays.disk import Limit
from vfolder_backends.testing.arrays.faults import Fault, Kind
from vfolder_backends.testing.arrays.onefs.state import Export
from vfolder_backends.testing.conformance import (
    ArrayConformance,
    ArrayTests,
    Doubtful,
    FactRules,
    Refused,
)
from vfolder_backends.testing.conformance.base import (
    LIMITS,
    MIB,
    SCOPE,
    TEAM,
    scope_request,
)

POST_QUOTA = "POST /platform/1/quota/quotas"
LOGIN = "POST /session/1/session"


class OneFSUnderTest(ArrayUnderTest):
    kind = "onefs"
    account = {"username": "vfolder", "password": "simulated-onefs"}

    def parameters(self):
        return {**super().parameters(), "path": f"/ifs{self.root_path}"}

    async def lose_scope(self, scope):
        with self.array.lock:
            quotas = self.array.state.quotas
            for quota in [q for q in quotas.values() if q.hint.endswith(scope.value)]:
                del quotas[quota.id]
            shutil.rmtree(self.root / scope.value)

    def built(self, **options):
        """A backend with other options."""
        return Registry().build(self.configured(parameters={**self.parameters(), **options}))


async def adopt_full(storage, backend):
    """Take a directory that holds data already, and put a limit on it."""
    place = storage.root / SCOPE.value / "aa"
    place.mkdir(parents=True)
    await backend.ensure_scope(replace(scope_request(), adoption=Adoption()))
    return await backend.set_limits(SCOPE, TEAM, Limits(bytes=MIB))


class WithSessions(OneFSUnderTest):
    """Which are more to go wrong than a password with every call."""

    options = {"authentication": "Session"}


class TestOneFS(ArrayConformance, FactRules):
    under_test = WithSessions
    # The tier is made of the two pools, and is not counted beside them.
    total_bytes = (1 << 40) + (1 << 39)
    rates = PerformanceMetrics(120, 60, 6e6, 3e6, None, None)
    aliases = ("dellemc-onefs",)
    variants = ({"nulls": False}, {"page": 2}, {"latest": "4"})
    refusals = {
        "no licence": Refused(
            Unsupported, "SmartQuotas is 'Unlicensed'", settings={"license": "Unlicensed"}
        ),
        "a licence that ended": Refused(
            Unsupported, "SmartQuotas is 'Expired'", settings={"license": "Expired"}
        ),
        "an evaluation that ended": Refused(
            Unsupported,
            "SmartQuotas is 'Evaluation Expired'",
            settings={"license": "Evaluation Expired"},
        ),
        "a role that may not set quotas": Refused(
            PermissionDenied,
            "ISI_PRIV_QUOTA",
            credentials={"username": "reader", "password": "simulated-reader"},
        ),
        "a wrong password": Refused(
            PermissionDenied,
            "status 401",
            credentials={"username": "vfolder", "password": "planted-and-wrong"},
        ),
        "a wrong password with every call": Refused(
            PermissionDenied,
            "status 401",
            credentials={"username": "vfolder", "password": "planted-and-wrong"},
            options={"authentication": "Basic"},
        ),
        "another directory": Refused(
            Misconfigured, r"parameters\.path", options={"path": "/ifs/elsewhere"}
        ),
        "an old version": Refused(Unsupported, r"8\.0\.1", settings={"latest": "3"}),
        "a cluster without quorum": Refused(Unavailable, "quorum", settings={"quorum": False}),
    }
    doubts = (
        Doubtful("node 1 is down", settings={"down": 1}),
        Doubtful("no NFS export", settings={"exports": []}),
        Doubtful("open to every client", settings={"exports": [Export(clients=())]}),
        Doubtful("root be root", settings={"exports": [Export(squash=False)]}),
        Doubtful("could not be looked at", settings={"namespace": False}),
    )
    wrong_options = (
        ("path", "/data"),
        ("path", "ifs/a"),
        ("path", "/ifs/../a"),
        ("path", "/ifs/" + "a" * 4000),
        ("authentication", "Kerberos"),
    )


class TestOnlyOneFS(ArrayTests):
    under_test = OneFSUnderTest

    async def test_behind_a_smartconnect_name_a_password_works_and_a_session_does_not(
        self, storage, backend
    ):
        storage.array.settings.nodes = 3
        await backend.ensure_scope(scope_request())
        session = storage.built(authentication="Session")
        await session.attach(None)
        with pytest.raises(PermissionDenied, match=r"SmartConnect.*authentication: Basic"):
            await session.probe()
        await session.close()

    def test_sessions_need_one_address(self, storage):
        several = "https://10.0.0.1:8080, https://10.0.0.2:8080"
        parameters = {**storage.parameters(), "authentication": "Session"}
        with pytest.raises(Misconfigured, match="one node only"):
            Registry().build(storage.configured(endpoint=several, parameters=parameters))
        Registry().build(storage.configured(endpoint=several))

    async def test_a_new_cookie_is_taken_in_passing(self, storage):
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

    async def test_a_forged_call_is_refused(self, storage):
        """The simulator wants cookie, token and referer together, as the cluster does."""
        session = storage.built(authentication="Session")
        await session.attach(None)
        await session.probe()
        sent = session._driver._client.channel._auth._session.headers
        host = storage.array.served and storage.config.endpoint.partition("//")[2]
        headers = {name.lower(): value for name, value in sent.items()} | {"host": host}
        route = "GET /platform/latest"
        call = Call(
            route, "/platform/latest", headers={**headers, "referer": storage.config.endpoint}
        )
        assert storage.array.serve(call).status == 200
        for wrong in ({"referer": "https://elsewhere:8080"}, {"x-csrf-token": "guess"}):
            assert storage.array.serve(replace(call, headers=call.headers | wrong)).status == 401
        await session.close()

    async def test_a_tree_with_a_quota_in_it_is_not_removed_by_the_cluster(self, storage, backend):
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

    async def test_a_delete_of_many_quotas_would_be_noticed(self, storage, backend):
        await backend.ensure_scope(scope_request())
        channel = backend._driver._client.channel
        headers = {k.lower(): v for k, v in (await channel._auth.headers(channel)).items()}
        call = Call("DELETE /platform/1/quota/quotas", "/platform/1/quota/quotas", headers=headers)
        assert storage.array.serve(call).status == 204
        assert storage.held() == {}
        assert "more than one" in storage.array.violations.pop()

    async def test_a_cluster_that_renames_no_quota_root(self, storage, backend, monkeypatch):
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

    async def test_a_limit_on_what_is_full_already_holds_once_it_is_counted(self, storage, backend):
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
    async def test_a_count_that_is_lost_is_started_again(self, storage, backend, kind):
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

    async def test_a_quota_that_counts_snapshots_is_left_alone(self, storage, backend):
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

    async def test_foreign_thresholds_are_taken_off(self, storage, backend):
        await backend.ensure_scope(scope_request())
        with storage.array.lock:
            (quota,) = storage.array.state.quotas.values()
            quota.soft, quota.soft_grace, quota.advisory = MIB, 60, MIB
        await backend.set_limits(SCOPE, TEAM, Limits(bytes=2 * MIB))
        (quota,) = storage.array.state.quotas.values()
        assert (quota.hard, quota.soft, quota.advisory, quota.container) == (
            2 * MIB,
            None,
            None,
            True,
        )

    async def test_pages_are_asked_for_by_their_token_alone(self, storage, backend):
        """The simulator refuses a token beside anything else."""
        storage.array.settings.page = 1
        for number in (1, 2, 3):
            await backend.ensure_scope(scope_request(TEAM, ScopeHex(f"{number:032x}")))
        assert len([state async for state in backend.list_scopes()]) == 3

    async def test_a_licence_that_ends_later_is_named(self, storage, backend):
        await backend.probe()
        storage.array.settings.license = "Expired"
        with pytest.raises(Unsupported, match="AEC_INVALID_LICENSE"):
            await backend.ensure_scope(scope_request())

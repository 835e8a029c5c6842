"""The suite on a simulated ONTAP cluster over HTTPS, and what only ONTAP does."""

from dataclasses import dataclass, replace

import pytest

from vfolder_backends.errors import (
    BackendError,
    Misconfigured,
    PermissionDenied,
    Unavailable,
    Unsupported,
)
from vfolder_backends.facts import Level, PerformanceMetrics
from vfolder_backends.port import Limits
from vfolder_backends.registry import Registry
from vfolder_backends.testing.array_storage import ArrayUnderTest
from vfolder_backends.testing.arrays.disk import Limit
from vfolder_backends.testing.arrays.faults import Fault, Kind
from vfolder_backends.testing.arrays.netapp import rules
from vfolder_backends.testing.arrays.netapp.simulator import BEARER
from vfolder_backends.testing.conformance import (
    ArrayConformance,
    ArrayTests,
    Doubtful,
    FactRules,
    Refused,
)
from vfolder_backends.testing.conformance.base import MIB, SCOPE, TEAM, scope_request


@dataclass
class NetappUnderTest(ArrayUnderTest):
    kind = "netapp"
    account = {"username": "vfolder", "password": "simulated-ontap"}

    def __post_init__(self):
        # Each root is a volume of its own, since qtrees lie at the root of one.
        if self.server is not None:
            known = {volume.name for volume in self.array.state.volumes.values()}
            if self.volume not in known:
                self.array.add_volume(self.volume, self.root_path)

    @property
    def volume(self):
        return "vol" + self.root_path.replace("/", "_").replace("-", "_")

    def parameters(self):
        return {"svm": "svm1", "volume": self.volume, **self.config.parameters}


def volume_of(storage):
    (found,) = (v for v in storage.array.state.volumes.values() if v.name == storage.volume)
    return found


def unprepared(storage):
    """Make the volume as ONTAP gives it: quotas off, no default rule."""
    volume = volume_of(storage)
    volume.turn_off()
    volume.rules.clear()
    return volume


def without_default(storage):
    """Make quotas be on by another rule, before there was a default one."""
    volume = unprepared(storage)
    rules.add(volume, "somebody", Limit(1 << 30))
    volume.initialise()
    return volume


class TestNetapp(ArrayConformance, FactRules):
    under_test = NetappUnderTest
    levels = (Level.ENFORCED, Level.ENFORCED)
    rates = PerformanceMetrics(120, 60, 3 << 20, 1 << 20, 250e-6, 500e-6)
    variants = (
        {"prompt": False},
        {"page": 2},
        {"busy": 2},
        {"busy": 2, "busy_status": 429},
    )
    refusals = {
        "a role that may not change rules": Refused(
            PermissionDenied,
            "the role needs",
            credentials={"username": "reader", "password": "simulated-reader"},
        ),
        "a wrong password": Refused(
            PermissionDenied,
            r"not authorized\.$",
            credentials={"username": "vfolder", "password": "planted-and-wrong"},
        ),
        "another volume, whose root is above ours": Refused(
            Misconfigured, "is not what is mounted", options={"volume": "vol1"}
        ),
        "an unknown volume": Refused(Misconfigured, r"parameters\.volume", options={"volume": "v"}),
        "an unknown virtual machine": Refused(
            Misconfigured, r"parameters\.volume", options={"svm": "s"}
        ),
        "an export for everybody": Refused(
            Misconfigured,
            "every host",
            settings={"export_clients": ("10.0.0.0/24", "0.0.0.0/0")},
        ),
        "an unknown export policy": Refused(
            Misconfigured, "nodez", options={"exportPolicy": "nodez"}
        ),
        "an old version": Refused(Unsupported, "9.8 or newer", settings={"version": (9, 7, 0)}),
        "a volume that is offline": Refused(
            Unavailable, "offline", settings={"volume_state": "offline"}
        ),
        "a volume that is a mirror": Refused(Unsupported, "'dp'", settings={"volume_type": "dp"}),
    }
    doubts = (
        Doubtful(
            "export policy",
            credentials={"username": "svmadmin", "password": "simulated-svm-admin"},
        ),
    )
    wrong_options = (("svm", ""), ("volume", ""), ("enableQuotas", "perhaps"))

    async def test_capabilities_tell_of_root(self, capabilities):
        assert capabilities.enforcement.root_bypass == "No"

    async def test_a_pass_is_a_list_of_the_report_alone(self, storage, backend, scope):
        before = storage.array.served.copy()
        assert {state.scope async for state in backend.list_scopes()} == {scope}
        assert set(storage.array.served - before) == {"GET /storage/quota/reports"}


class TestOnlyNetapp(ArrayTests):
    under_test = NetappUnderTest

    async def test_nothing_is_ever_deleted_by_the_call_that_deletes_all_below(
        self, storage, backend
    ):
        await backend.ensure_scope(scope_request())
        await backend.delete_scope(SCOPE, TEAM)
        assert storage.array.served["DELETE /storage/qtrees/{volume.uuid}/{id}"] == 0

    async def test_limits_are_in_whole_kibibytes(self, backend):
        await backend.ensure_scope(scope_request())
        state = await backend.set_limits(SCOPE, TEAM, Limits(bytes=1))
        assert state.limits == Limits(bytes=1024)
        state = await backend.set_limits(SCOPE, TEAM, Limits(bytes=MIB + 1, files=7))
        assert state.limits == Limits(bytes=MIB + 1024, files=7)

    async def test_the_report_shows_no_limit_that_there_is_not(self, storage, backend):
        await backend.ensure_scope(scope_request())
        state = await backend.set_limits(SCOPE, TEAM, Limits(files=9))
        assert state.limits == Limits(files=9)
        assert state.usage.bytes == 0
        assert state.ref["qtree"] == volume_of(storage).named(SCOPE.value).id

    async def test_quotas_that_are_off_are_turned_on_where_that_is_allowed(
        self, storage, refused_probe
    ):
        volume = unprepared(storage)
        await refused_probe(Misconfigured, "enableQuotas")
        parameters = {**storage.parameters(), "enableQuotas": "true"}
        backend = Registry().build(storage.configured(parameters=parameters))
        await backend.attach(None)
        with pytest.raises(Unavailable, match="initializing"):
            await backend.probe()
        storage.array.calm()
        await backend.probe()
        assert (volume.quota, volume.default_active) == ("on", True)
        await backend.ensure_scope(scope_request())
        await backend.close()
        assert storage.array.violations == []

    async def test_a_rule_that_is_not_enforced_is_no_success(self, storage, backend):
        """Quotas were on before the default rule: no resize reaches the quotas of new qtrees."""
        volume = without_default(storage)
        with pytest.raises(Misconfigured, match="off and on once"):
            await backend.ensure_scope(scope_request())
        with pytest.raises(Misconfigured, match="5308571"):
            await backend.ensure_scope(scope_request())
        with pytest.raises(BackendError, match="does not show it"):
            await backend.ensure_scope(scope_request())
        volume.turn_off()
        volume.initialise()
        state = await backend.ensure_scope(scope_request())
        assert state.limits == scope_request().limits
        assert state.enforcement.bytes is Level.ENFORCED

    async def test_a_lost_resize_is_made_up_for(self, storage, backend):
        storage.array.settings.lost_resizes = 1
        with pytest.raises(Unavailable, match="does not show it"):
            await backend.ensure_scope(scope_request())
        state = await backend.ensure_scope(scope_request())
        assert state.limits == scope_request().limits

    async def test_quotas_turned_off_later_are_noticed_by_every_read(self, storage, backend):
        await backend.ensure_scope(scope_request())
        volume_of(storage).turn_off()
        with pytest.raises(Misconfigured, match="quotas are off"):
            await backend.describe_scope(SCOPE)
        with pytest.raises(Misconfigured, match="quotas are off"):
            assert [state async for state in backend.list_scopes()]

    async def test_a_qtree_removed_by_a_client_leaves_a_rule_that_does_not_stay(
        self, storage, backend
    ):
        await backend.ensure_scope(scope_request())
        (storage.root / SCOPE.value).rmdir()
        storage.array.calm()
        assert [rule.lost for rule in volume_of(storage).rules.values() if rule.qtree] == [True]
        state = await backend.ensure_scope(replace(scope_request(), recreate=True))
        assert state.limits == scope_request().limits
        assert [rule.lost for rule in volume_of(storage).rules.values() if rule.qtree] == [False]

    async def test_a_job_is_kept_in_the_ref_and_waited_for_by_the_next_leader(self, storage):
        """The record is asked for, and the qtree is what counts; it is never made twice."""
        storage.array.faults.arm(Fault(Kind.SLOW_JOB, route="POST /storage/qtrees"))
        impatient = Registry().build(storage.configured(call_timeout=1.2))
        await impatient.attach(None)
        with pytest.raises(Unavailable, match="job"):
            await impatient.ensure_scope(scope_request())
        ref = await impatient.prepare_scope(SCOPE, {})
        assert set(ref) == {"job"}
        await impatient.close()
        storage.array.passed(30)
        backend = storage.build()
        await backend.attach(None)
        assert await backend.prepare_scope(SCOPE, ref) == ref
        await backend.ensure_scope(replace(scope_request(), ref=ref))
        await backend.close()
        assert storage.array.served["POST /storage/qtrees"] == 1
        assert storage.array.violations == []

    async def test_a_scope_is_not_deleted_while_its_qtree_is_still_being_made(self, storage):
        """Else the qtree would appear later, and belong to nobody."""
        storage.array.faults.arm(Fault(Kind.SLOW_JOB, route="POST /storage/qtrees"))
        backend = Registry().build(storage.configured(call_timeout=1.2))
        await backend.attach(None)
        with pytest.raises(Unavailable, match="job"):
            await backend.ensure_scope(scope_request())
        with pytest.raises(Unavailable, match="job"):
            await backend.delete_scope(SCOPE, TEAM)
        storage.array.passed(30)
        await backend.delete_scope(SCOPE, TEAM)
        await backend.close()
        assert [p.name for p in storage.root.iterdir()] == [".vfolder"]
        assert volume_of(storage).qtrees == {}

    async def test_a_job_whose_record_is_gone_is_no_success_by_itself(self, storage, backend):
        ref = {"job": "00000000-0000-4000-8000-0000000000ff"}
        await backend.ensure_scope(replace(scope_request(), ref=ref))
        assert storage.array.served["POST /storage/qtrees"] == 1

    async def test_what_is_written_while_the_qtree_is_aside_comes_back_with_it(
        self, storage, backend
    ):
        """A client with the directory open writes after the rename: nothing of it is removed."""
        await backend.ensure_scope(scope_request())
        renamed = storage.array._routes["PATCH /storage/qtrees/{volume.uuid}/{id}"]

        def and_written(state, call):
            reply = renamed(state, call)
            storage.array.jobs.finish()
            for aside in storage.root.glob("vfolder_gone_*"):
                (aside / "late").write_text("x")
            return reply

        storage.array._routes["PATCH /storage/qtrees/{volume.uuid}/{id}"] = and_written
        with pytest.raises(BackendError, match="not empty any more"):
            await backend.delete_scope(SCOPE, TEAM)
        assert (storage.root / SCOPE.value / "late").read_text() == "x"
        limits = scope_request().limits
        assert storage.held() == {SCOPE.value: Limit(limits.bytes, limits.files)}

    async def test_a_qtree_that_another_actor_is_quicker_to_remove_is_removed(
        self, storage, backend
    ):
        await backend.ensure_scope(scope_request())
        other = storage.build()
        await other.attach(None)
        client = backend._driver._client
        rename = client.rename_qtree

        async def rename_late(*words):
            client.rename_qtree = rename
            await other.delete_scope(SCOPE, TEAM)
            await rename(*words)

        client.rename_qtree = rename_late
        await backend.delete_scope(SCOPE, TEAM)
        await other.close()
        assert client.rename_qtree is rename
        assert storage.held() == {}
        assert [p.name for p in storage.root.iterdir()] == [".vfolder"]

    async def test_an_account_of_the_svm_works_and_says_what_it_cannot_see(self, storage):
        account = {"username": "svmadmin", "password": "simulated-svm-admin"}
        backend = Registry().build(storage.configured(credentials=account))
        await backend.attach(None)
        warnings = " ".join((await backend.probe()).warnings)
        assert "version" in warnings
        assert "export policy" in warnings
        await backend.ensure_scope(scope_request())
        await backend.close()

    async def test_a_bearer_token_needs_no_password(self, storage):
        backend = Registry().build(storage.configured(credentials={"token": BEARER}))
        await backend.attach(None)
        await backend.probe()
        await backend.close()

    async def test_a_secret_without_either_is_refused_by_name(self, storage):
        with pytest.raises(Misconfigured, match="'password', or 'token'"):
            Registry().build(storage.configured(credentials={"username": "vfolder"}))

    async def test_new_qtrees_have_the_export_policy_that_is_named(self, storage):
        parameters = {**storage.parameters(), "exportPolicy": "nodes"}
        backend = Registry().build(storage.configured(parameters=parameters))
        await backend.attach(None)
        await backend.ensure_scope(scope_request())
        await backend.close()
        assert volume_of(storage).named(SCOPE.value).export_policy == "nodes"

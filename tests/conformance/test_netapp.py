"""The suite on a simulated ONTAP cluster over HTTPS, and what only ONTAP does."""

import base64
import errno
import os
from dataclasses import dataclass, replace

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
from vfolder_backends.testing.arrays.calls import Call
from vfolder_backends.testing.arrays.disk import Limit
from vfolder_backends.testing.arrays.faults import Fault, Kind
from vfolder_backends.testing.arrays.netapp import rules
from vfolder_backends.testing.arrays.netapp.simulator import BEARER, make
from vfolder_backends.testing.conformance import ArrayConformance
from vfolder_backends.testing.conformance.base import MIB, SCOPE, TEAM, scope_request

ACCOUNT = {"username": "vfolder", "password": "simulated-ontap"}


@dataclass
class NetappUnderTest(ArrayUnderTest):
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

    async def tamper(self, scope, limits):
        with self.array.lock:
            for volume in self.array.state.volumes.values():
                rule = volume.rule_of(scope.value)
                if rule is not None:
                    rule.limit = Limit(limits.bytes, limits.files)
                    volume.resize(rule)


class TestNetapp(ArrayConformance):
    @pytest.fixture
    def storage(self, tmp_path):
        with served(NetappUnderTest, make(tmp_path), ACCOUNT) as made:
            yield made

    async def test_both_limits_stop_a_writer(self, storage, backend, folder):
        await backend.set_limits(SCOPE, TEAM, Limits(bytes=2 * MIB, files=8))
        with pytest.raises(OSError, match=os.strerror(errno.EDQUOT)):
            await storage.fill(SCOPE, folder, 3 * MIB)
        for size in (1, 2, 3, 4):
            await storage.fill(SCOPE, folder, size)
        with pytest.raises(OSError, match=os.strerror(errno.EDQUOT)):
            await storage.fill(SCOPE, folder, 5)
        await backend.set_limits(SCOPE, TEAM, Limits())
        await storage.fill(SCOPE, folder, 4 * MIB)

    async def test_capabilities_tell_the_truth(self, backend, capabilities):
        levels = capabilities.enforcement
        assert (levels.bytes, levels.files) == (Level.ENFORCED, Level.ENFORCED)
        assert levels.root_bypass == "No"
        health = await backend.probe()
        assert health.capacity.total_bytes == 1 << 40
        assert health.warnings == ()

    async def test_metrics_have_the_port_s_units(self, backend):
        metrics = await backend.metrics()
        assert (metrics.read_ops_per_second, metrics.write_ops_per_second) == (120, 60)
        assert metrics.read_bytes_per_second == 3 << 20
        assert metrics.write_seconds_per_op == pytest.approx(500e-6)


@pytest.fixture
def storage(tmp_path):
    with served(NetappUnderTest, make(tmp_path), ACCOUNT) as made:
        yield made


@pytest.fixture
async def backend(storage):
    backend = storage.build()
    await backend.attach(None)
    yield backend
    await backend.close()
    assert storage.array.violations == []


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


@pytest.mark.parametrize(
    "changes",
    [{"prompt": False}, {"page": 2}, {"busy": 2}, {"busy": 2, "busy_status": 429}],
    ids=str,
)
async def test_clusters_differ(storage, backend, changes):
    for name, value in changes.items():
        setattr(storage.array.settings, name, value)
    scopes = [type(SCOPE)(f"{number:032x}") for number in range(5)]
    for scope in scopes:
        await backend.ensure_scope(scope_request(TEAM, scope))
    before = storage.array.served.copy()
    assert {state.scope async for state in backend.list_scopes()} == set(scopes)
    assert set(storage.array.served - before) == {"GET /storage/quota/reports"}
    await backend.set_limits(scopes[0], TEAM, Limits(bytes=MIB))
    assert storage.held()[scopes[0].value] == Limit(MIB)
    for scope in scopes:
        await backend.delete_scope(scope, TEAM)
    assert storage.held() == {}
    assert [p.name for p in storage.root.iterdir()] == [".vfolder"]


async def test_nothing_is_ever_deleted_by_the_call_that_deletes_all_below(storage, backend):
    await backend.ensure_scope(scope_request())
    await backend.delete_scope(SCOPE, TEAM)
    assert storage.array.served["DELETE /storage/qtrees/{volume.uuid}/{id}"] == 0


async def test_limits_are_in_whole_kibibytes(backend):
    await backend.ensure_scope(scope_request())
    state = await backend.set_limits(SCOPE, TEAM, Limits(bytes=1))
    assert state.limits == Limits(bytes=1024)
    state = await backend.set_limits(SCOPE, TEAM, Limits(bytes=MIB + 1, files=7))
    assert state.limits == Limits(bytes=MIB + 1024, files=7)


async def test_the_report_shows_no_limit_that_there_is_not(storage, backend):
    await backend.ensure_scope(scope_request())
    state = await backend.set_limits(SCOPE, TEAM, Limits(files=9))
    assert state.limits == Limits(files=9)
    assert state.usage.bytes == 0
    assert state.ref["qtree"] == volume_of(storage).named(SCOPE.value).id


async def test_quotas_that_are_off_are_turned_on_where_that_is_allowed(storage):
    volume = unprepared(storage)
    await refused_probe(storage, Misconfigured, "enableQuotas")
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


async def test_a_rule_that_is_not_enforced_is_no_success(storage, backend):
    """Quotas were on before the default rule: new qtrees have no quota that a resize reaches."""
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


async def test_a_lost_resize_is_made_up_for(storage, backend):
    storage.array.settings.lost_resizes = 1
    with pytest.raises(Unavailable, match="does not show it"):
        await backend.ensure_scope(scope_request())
    state = await backend.ensure_scope(scope_request())
    assert state.limits == scope_request().limits


async def test_quotas_turned_off_later_are_noticed_by_every_read(storage, backend):
    await backend.ensure_scope(scope_request())
    volume_of(storage).turn_off()
    with pytest.raises(Misconfigured, match="quotas are off"):
        await backend.describe_scope(SCOPE)
    with pytest.raises(Misconfigured, match="quotas are off"):
        assert [state async for state in backend.list_scopes()]


async def test_a_qtree_removed_by_a_client_leaves_a_rule_that_does_not_stay(storage, backend):
    await backend.ensure_scope(scope_request())
    (storage.root / SCOPE.value).rmdir()
    storage.array.calm()
    assert [rule.lost for rule in volume_of(storage).rules.values() if rule.qtree] == [True]
    state = await backend.ensure_scope(replace(scope_request(), recreate=True))
    assert state.limits == scope_request().limits
    assert [rule.lost for rule in volume_of(storage).rules.values() if rule.qtree] == [False]


async def test_a_job_is_kept_in_the_ref_and_waited_for_by_the_next_leader(storage):
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


async def test_a_scope_is_not_deleted_while_its_qtree_is_still_being_made(storage):
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


async def test_a_job_whose_record_is_gone_is_no_success_by_itself(storage, backend):
    ref = {"job": "00000000-0000-4000-8000-0000000000ff"}
    await backend.ensure_scope(replace(scope_request(), ref=ref))
    assert storage.array.served["POST /storage/qtrees"] == 1


async def test_a_scope_with_something_in_it_keeps_name_and_limit(storage, backend):
    await backend.ensure_scope(scope_request())
    (storage.root / SCOPE.value / "stray").write_text("x")
    with pytest.raises(BackendError, match="not empty"):
        await backend.delete_scope(SCOPE, TEAM)
    limits = scope_request().limits
    assert storage.held() == {SCOPE.value: Limit(limits.bytes, limits.files)}
    assert (storage.root / SCOPE.value / "stray").exists()


async def test_what_is_written_while_the_qtree_is_aside_comes_back_with_it(storage, backend):
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


async def refused_probe(storage, error, match, **changes):
    backend = Registry().build(storage.configured(**changes))
    try:
        await backend.attach(None)
        with pytest.raises(error, match=match):
            await backend.probe()
    finally:
        await backend.close()
    assert storage.array.violations == []


async def test_a_role_that_may_not_change_rules_is_named(storage):
    reader = {"username": "reader", "password": "simulated-reader"}
    await refused_probe(storage, PermissionDenied, "the role needs", credentials=reader)


async def test_an_account_of_the_svm_works_and_says_what_it_cannot_see(storage):
    account = {"username": "svmadmin", "password": "simulated-svm-admin"}
    backend = Registry().build(storage.configured(credentials=account))
    await backend.attach(None)
    warnings = " ".join((await backend.probe()).warnings)
    assert "version" in warnings
    assert "export policy" in warnings
    await backend.ensure_scope(scope_request())
    await backend.close()


async def test_a_bearer_token_needs_no_password(storage):
    backend = Registry().build(storage.configured(credentials={"token": BEARER}))
    await backend.attach(None)
    await backend.probe()
    await backend.close()


async def test_a_secret_without_either_is_refused_by_name(storage):
    with pytest.raises(Misconfigured, match="'password', or 'token'"):
        Registry().build(storage.configured(credentials={"username": "vfolder"}))


async def test_a_wrong_password_is_told_without_it(storage):
    wrong = {"username": "vfolder", "password": "planted-and-wrong"}
    await refused_probe(storage, PermissionDenied, r"not authorized\.$", credentials=wrong)


async def test_another_volume_is_noticed(storage):
    parameters = {"svm": "svm1", "volume": "vol1"}  # its root is above ours
    await refused_probe(storage, Misconfigured, "is not what is mounted", parameters=parameters)


@pytest.mark.parametrize("parameters", [{"svm": "svm1", "volume": "v"}, {"svm": "s"}])
async def test_an_unknown_volume_is_named(storage, parameters):
    parameters = {**storage.parameters(), **parameters}
    await refused_probe(storage, Misconfigured, r"parameters\.volume", parameters=parameters)


async def test_an_export_for_everybody_is_refused(storage):
    storage.array.settings.export_clients = ("10.0.0.0/24", "0.0.0.0/0")
    await refused_probe(storage, Misconfigured, "every host")


async def test_an_unknown_export_policy_is_named(storage):
    parameters = {**storage.parameters(), "exportPolicy": "nodez"}
    await refused_probe(storage, Misconfigured, "nodez", parameters=parameters)


async def test_new_qtrees_have_the_export_policy_that_is_named(storage):
    parameters = {**storage.parameters(), "exportPolicy": "nodes"}
    backend = Registry().build(storage.configured(parameters=parameters))
    await backend.attach(None)
    await backend.ensure_scope(scope_request())
    await backend.close()
    assert volume_of(storage).named(SCOPE.value).export_policy == "nodes"


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"version": (9, 7, 0)}, Unsupported, "9.8 or newer"),
        ({"volume_state": "offline"}, Unavailable, "offline"),
        ({"volume_type": "dp"}, Unsupported, "'dp'"),
    ],
    ids=str,
)
async def test_named_conditions(storage, changes, error, match):
    for name, value in changes.items():
        setattr(storage.array.settings, name, value)
    await refused_probe(storage, error, match)


# The simulator by itself.


def asked(array, route, body=None, query=None, **params):
    header = base64.b64encode(b"vfolder:simulated-ontap").decode()
    path = route.partition(" ")[2]
    asked_for = {name: [str(value)] for name, value in (query or {}).items()}
    call = Call(route, path, params, asked_for, body, {"authorization": f"Basic {header}"})
    reply = array.serve(call)
    assert array.violations == []
    return reply


def test_a_change_is_a_job_unless_the_caller_waits(tmp_path):
    array = make(tmp_path)
    (volume,) = array.state.volumes.values()
    body = {"svm": {"name": "svm1"}, "volume": {"uuid": volume.uuid}, "name": "q1"}
    job = asked(array, "POST /storage/qtrees", body).body["job"]["uuid"]
    shown = asked(array, "GET /cluster/jobs/{uuid}", query={"fields": "**"}, uuid=job).body
    assert shown["state"] in ("queued", "running")
    array.passed(5)
    shown = asked(array, "GET /cluster/jobs/{uuid}", query={"fields": "state"}, uuid=job).body
    assert shown == {"uuid": job, "state": "success"}
    array.passed(100)
    assert asked(array, "GET /cluster/jobs/{uuid}", uuid=job).status == 404
    prompt = asked(array, "POST /storage/qtrees", {**body, "name": "q2"}, {"return_timeout": 15})
    assert prompt.status == 201


def test_codes_are_texts_in_refusals_and_numbers_in_jobs(tmp_path):
    array = make(tmp_path)
    assert asked(array, "GET /cluster/jobs/{uuid}", uuid="none").body["error"]["code"] == "4"
    (volume,) = array.state.volumes.values()
    volume.turn_off()
    volume.rules.clear()
    rules.add(volume, "somebody", Limit(1 << 30))
    volume.initialise()
    body = {"svm": {"name": "svm1"}, "volume": {"uuid": volume.uuid}, "name": "q1"}
    asked(array, "POST /storage/qtrees", body)
    array.passed(3)
    body = {"volume": {"uuid": volume.uuid}, "type": "tree", "qtree": {"name": "q1"}}
    job = asked(array, "POST /storage/quota/rules", body).body["job"]["uuid"]
    array.passed(3)
    shown = asked(array, "GET /cluster/jobs/{uuid}", query={"fields": "**"}, uuid=job).body
    assert (shown["state"], shown["code"]) == ("failure", 5308571)
    assert shown["error"]["code"] == "5308571"
    volume.initialise()
    job = asked(array, "DELETE /storage/quota/rules/{uuid}", uuid=volume.rule_of("q1").uuid).body[
        "job"
    ]["uuid"]
    array.passed(3)
    shown = asked(array, "GET /cluster/jobs/{uuid}", query={"fields": "code"}, uuid=job).body
    assert shown["code"] == 5308572


def test_deleting_a_qtree_takes_all_below_with_it_and_its_rule(tmp_path):
    array = make(tmp_path)
    (volume,) = array.state.volumes.values()
    body = {"svm": {"name": "svm1"}, "volume": {"uuid": volume.uuid}, "name": "q1"}
    asked(array, "POST /storage/qtrees", body, {"return_timeout": 15})
    rules.add(volume, "q1", Limit(1 << 20))
    (tmp_path / "q1" / "below").mkdir()
    item = {"volume_uuid": volume.uuid, "id": "1"}
    asked(array, "DELETE /storage/qtrees/{volume.uuid}/{id}", None, {"return_timeout": 9}, **item)
    assert not (tmp_path / "q1").exists()
    assert volume.rule_of("q1") is None

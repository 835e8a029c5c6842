"""The suite on a simulated VAST cluster over HTTPS, and what only VAST does."""

import errno
import os
import subprocess
import sys
from dataclasses import replace

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
from vfolder_backends.testing.arrays.vast.simulator import API_TOKEN, make
from vfolder_backends.testing.arrays.vast.state import Counted, Quota, Settings
from vfolder_backends.testing.conformance import ArrayConformance
from vfolder_backends.testing.conformance.base import MIB, SCOPE, TEAM, scope_request

MANAGER = {"username": "vfolder", "password": "simulated-vast"}


class VastUnderTest(ArrayUnderTest):
    async def tamper(self, scope, limits):
        with self.array.lock:
            for quota in self.array.state.quotas.values():
                if quota.path.endswith(scope.value):
                    quota.hard, quota.hard_inodes = limits.bytes, limits.files


class TestVast(ArrayConformance):
    @pytest.fixture
    def storage(self, tmp_path):
        with served(VastUnderTest, make(tmp_path), MANAGER) as made:
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
        assert capabilities.isolation == "NodeOnly"
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
    with served(VastUnderTest, make(tmp_path), MANAGER) as made:
        yield made


@pytest.fixture
async def backend(storage):
    backend = storage.build()
    await backend.attach(None)
    yield backend
    await backend.close()
    assert storage.array.violations == []


@pytest.mark.parametrize(
    "changes",
    [
        {"document": "5.3.0"},
        {"paged": False},
        {"page_size": 2},
        {"path_filter": False},
        {"follows_rename": True},
        {"quotas_vanish": True},
        {"null_clears": False},
        {"refused_as": 503},
    ],
    ids=str,
)
async def test_clusters_differ(tmp_path, changes):
    with served(VastUnderTest, make(tmp_path, Settings(**changes)), MANAGER) as storage:
        backend = storage.build()
        await backend.attach(None)
        await backend.probe()
        scopes = [type(SCOPE)(f"{number:032x}") for number in range(5)]
        for scope in scopes:
            await backend.ensure_scope(scope_request(TEAM, scope))
        assert {state.scope async for state in backend.list_scopes()} == set(scopes)
        state = await backend.set_limits(scopes[0], TEAM, Limits(bytes=MIB))
        assert state.limits == Limits(bytes=MIB)
        state = await backend.set_limits(scopes[1], TEAM, Limits())
        assert state.limits == Limits()
        assert storage.held()[scopes[0].value] == Limit(MIB)
        assert storage.held()[scopes[1].value] == Limit()
        for scope in scopes:
            await backend.delete_scope(scope, TEAM)
        assert storage.held() == {}
        assert [p.name for p in storage.root.iterdir()] == [".vfolder"]
        await backend.close()
        assert storage.array.violations == []


async def test_an_expired_session_is_told_by_a_403_and_a_text(storage, backend):
    served_calls, tokens = storage.array.served, storage.array.tokens
    await backend.ensure_scope(scope_request())
    tokens.end_all()
    await backend.describe_scope(SCOPE)
    assert (served_calls["POST /token/"], served_calls["POST /token/refresh/"]) == (1, 1)
    tokens.end_all()
    tokens.end_all("refresh")
    await backend.describe_scope(SCOPE)
    assert (served_calls["POST /token/"], served_calls["POST /token/refresh/"]) == (2, 2)


async def test_an_api_token_needs_no_login(storage):
    backend = Registry().build(storage.configured(credentials={"token": API_TOKEN}))
    await backend.attach(None)
    await backend.ensure_scope(scope_request())
    await backend.close()
    assert storage.array.served["POST /token/"] == 0


async def test_a_secret_without_either_is_refused_by_name(storage):
    with pytest.raises(Misconfigured, match="'token'"):
        Registry().build(storage.configured(credentials={"username": "vfolder"}))


async def test_a_quota_that_is_not_in_force_yet_is_waited_for(storage, backend):
    storage.array.settings.synchronize_calls = 30
    state = await backend.ensure_scope(scope_request())
    assert state.enforcement.bytes is Level.NONE
    assert state.progress.reason == "Synchronizing"
    storage.array.calm()
    state = await backend.ensure_scope(scope_request())
    assert (state.progress, state.enforcement.bytes) == (None, Level.ENFORCED)


async def test_usage_is_old_for_a_while(storage, backend):
    await backend.ensure_scope(scope_request())
    await backend.describe_scope(SCOPE)
    storage.array.settings.usage_calls = 3
    (storage.root / SCOPE.value / "stray").write_bytes(b"x" * 4096)
    seen = [(await backend.describe_scope(SCOPE)).usage.bytes for _ in range(6)]
    assert seen[0] == 0
    assert seen[-1] == 4096


async def test_quotas_left_by_a_former_scope_do_not_stay(storage, backend):
    """Found by name where the cluster moved them with the directory, by path where not."""
    await backend.ensure_scope(scope_request())
    (storage.root / SCOPE.value).rmdir()
    with storage.array.lock:
        (quota,) = storage.array.state.quotas.values()
        quota.hard = 1
    state = await backend.ensure_scope(replace(scope_request(), recreate=True))
    assert state.limits == scope_request().limits
    (new,) = storage.array.state.quotas.values()
    assert new.id != quota.id


async def test_a_scope_with_something_in_it_keeps_its_limit(storage, backend):
    await backend.ensure_scope(scope_request())
    (storage.root / SCOPE.value / "stray").write_text("x")
    with pytest.raises(BackendError, match="not empty"):
        await backend.delete_scope(SCOPE, TEAM)
    limits = scope_request().limits
    assert storage.held() == {SCOPE.value: Limit(limits.bytes, limits.files)}
    assert (storage.root / SCOPE.value / "stray").exists()


ELSEWHERE = """
import os, sys
from vfolder_backends.errors import NotEmpty
from vfolder_backends.ids import ScopeHex
from vfolder_backends.vendors.vast.backend import take_away
root = os.open(sys.argv[1], os.O_DIRECTORY)
try:
    print(take_away(root, ScopeHex(sys.argv[2])))
except NotEmpty:
    print("NotEmpty")
"""


@pytest.mark.parametrize(("stray", "said"), [(False, "False"), (True, "NotEmpty")])
def test_where_a_rename_is_refused_an_empty_directory_is_removed_in_place(tmp_path, stray, said):
    """Made so by another file system at the place where containers are set aside."""
    place, gone = tmp_path / SCOPE.value, tmp_path / ".vfolder" / "gone"
    place.mkdir()
    gone.mkdir(parents=True)
    if stray:
        (place / "stray").touch()
    words = [sys.executable, "-c", ELSEWHERE, str(tmp_path), SCOPE.value]
    script = 'mount -t tmpfs none "$1" && shift && exec "$@"'
    ran = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", str(gone), *words],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert ran.stdout.strip() == said
    assert place.exists() == stray


async def test_quotas_are_nested_so_deep_and_no_deeper(storage, backend):
    storage.array.settings.levels = 1
    with storage.array.lock:
        storage.array.state.quotas[99] = Quota(99, "outer", "/root", 1)
    with pytest.raises(BackendError, match="1 levels deep"):
        await backend.ensure_scope(scope_request())


async def refused_probe(storage, error, match, **changes):
    backend = Registry().build(storage.configured(**changes))
    try:
        await backend.attach(None)
        with pytest.raises(error, match=match):
            await backend.probe()
    finally:
        await backend.close()
    assert storage.array.violations == []


async def test_a_role_that_may_not_change_quotas_is_named(storage):
    reader = {"username": "reader", "password": "simulated-reader"}
    await refused_probe(storage, PermissionDenied, "role needs", credentials=reader)


async def test_a_role_without_hardware_works_and_says_what_is_missing(storage):
    tenant = {"username": "tenant", "password": "simulated-tenant"}
    backend = Registry().build(storage.configured(credentials=tenant))
    await backend.attach(None)
    health = await backend.probe()
    assert health.capacity is None
    assert "Hardware" in " ".join(health.warnings)
    assert await backend.metrics() is None
    await backend.close()


async def test_a_wrong_password_is_told_without_it(storage):
    wrong = {"username": "vfolder", "password": "planted-and-wrong"}
    await refused_probe(storage, PermissionDenied, "No active account", credentials=wrong)


async def test_another_directory_is_noticed(storage):
    parameters = {"path": "/elsewhere"}
    await refused_probe(storage, Misconfigured, r"parameters\.path", parameters=parameters)


@pytest.mark.parametrize("field", ["read_write", "no_squash"])
async def test_an_export_for_everybody_is_refused(storage, field):
    setattr(storage.array.settings, field, ("*",))
    await refused_probe(storage, Misconfigured, "every host")


async def test_an_old_version_is_unsupported(storage):
    storage.array.settings.version = "4.6.0.1"
    await refused_probe(storage, Unsupported, r"4\.7 or newer")


async def test_a_cluster_that_is_not_online_is_unavailable(storage):
    storage.array.settings.state = "OFFLINE"
    await refused_probe(storage, Unavailable, "OFFLINE")


async def test_a_version_without_a_published_document_is_a_warning(storage, backend):
    storage.array.settings.version = "5.1.0"
    assert "older than" in " ".join((await backend.probe()).warnings)


@pytest.mark.parametrize(
    "parameters", [{"path": "relative"}, {"path": "/a/../b"}, {"path": "/", "apiVersion": "5"}]
)
def test_parameters_are_checked(storage, parameters):
    with pytest.raises(Misconfigured, match=r"parameters\."):
        Registry().build(storage.configured(parameters=parameters))


# The simulator by itself: what a site's own tools meet, our client does not use all of it.


def asked(array, route, body=None, **params):
    call = Call(
        route,
        route.partition(" ")[2],
        {name: str(value) for name, value in params.items()},
        {},
        body,
        {"authorization": f"Api-Token {API_TOKEN}"},
    )
    reply = array.serve(call)
    assert array.violations == []
    return reply


def test_a_path_without_its_slash_is_no_call(tmp_path):
    array = make(tmp_path)
    assert array.find("POST", "/api/latest/quotas") is None
    assert array.find("POST", "/api/v1/quotas/")[0] == "POST /quotas/"


@pytest.mark.parametrize(
    ("usage", "state"),
    [
        ((1, 1), "OK"),
        ((20, 1), "SOFT_EXCEEDED"),
        ((1, 20), "INODE_SOFT_EXCEEDED"),
        ((20, 20), "SOFT_BOTH_EXCEEDED"),
        ((40, 1), "HARD_EXCEEDED"),
        ((1, 40), "INODE_HARD_EXCEEDED"),
        ((40, 40), "HARD_BOTH_EXCEEDED"),
    ],
)
def test_quota_states(tmp_path, usage, state):
    array = make(tmp_path)
    array.state.quotas[1] = Quota(1, "q", "/", 1, 30, 30, 10, 10)
    array.counted[1] = Counted(*usage, due=9)
    assert asked(array, "GET /quotas/{id}/", id=1).body["state"] == state


def test_a_folder_goes_to_the_trash_by_a_delete_with_a_body(tmp_path):
    array = make(tmp_path)
    (tmp_path / "a" / "b").mkdir(parents=True)
    array.settings.trash = False
    reply = asked(array, "DELETE /folders/delete_folder/", {"path": "/a", "tenant_id": 1})
    assert (reply.status, reply.body["detail"]) == (503, "trash folder disabled")
    array.settings.trash = True
    assert asked(array, "DELETE /folders/delete_folder/", {"path": "/a"}).status == 200
    assert (tmp_path / "a").exists()
    array.calm()
    assert not (tmp_path / "a").exists()


def test_a_clone_is_a_stream_with_a_task(tmp_path):
    array = make(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_text("x")
    snapshot = asked(array, "POST /snapshots/", {"name": "s", "path": "/a/"}).body["id"]
    body = {"loanee_root_path": "/b", "name": "c", "enabled": True, "loanee_tenant_id": 1}
    stream = asked(array, "POST /snapshots/{id}/clone/", body, id=snapshot).body
    task = stream["async_task"]["id"]
    assert asked(array, "GET /vtasks/{id}/", id=task).body["state"] == "RUNNING"
    assert not (tmp_path / "b").exists()
    array.passed(5)
    assert asked(array, "GET /vtasks/{id}/", id=task).body["state"] == "COMPLETED"
    shown = asked(array, "GET /globalsnapstreams/{id}/", id=stream["id"]).body
    assert shown["status"]["state"] == "FINISHED"
    assert (tmp_path / "b" / "file").read_text() == "x"
    asked(array, "PATCH /globalsnapstreams/{id}/stop", id=stream["id"])
    asked(array, "DELETE /globalsnapstreams/{id}/", {"remove_dir": False}, id=stream["id"])
    assert (tmp_path / "b" / "file").exists()

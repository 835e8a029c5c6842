"""The suite on a simulated Storage Scale cluster, and what only Storage Scale does."""

import errno
import os
import shutil
from contextlib import suppress

import pytest

from vfolder_backends.errors import (
    BackendError,
    Misconfigured,
    NotEmpty,
    NotOurs,
    PermissionDenied,
    Unavailable,
    Unsupported,
)
from vfolder_backends.facts import Level, Tristate
from vfolder_backends.port import Adoption, Limits
from vfolder_backends.registry import Registry
from vfolder_backends.testing.array_storage import ArrayUnderTest, served
from vfolder_backends.testing.arrays.disk import Limit
from vfolder_backends.testing.arrays.faults import Fault, Kind
from vfolder_backends.testing.arrays.gpfs.simulator import make
from vfolder_backends.testing.conformance import ArrayConformance
from vfolder_backends.testing.conformance.base import MIB, SCOPE, TEAM, scope_request

ACCOUNT = {"username": "vfolder", "password": "simulated-gpfs"}
PARAMETERS = {"fileSystem": "fs1", "jobPause": "0.01"}
NAME = f"vfolder-{SCOPE}"


class GpfsUnderTest(ArrayUnderTest):
    async def lose_scope(self, scope):
        """Somebody unlinks and removes the fileset, with force."""
        with self.array.lock:
            self.array.state.filesets.pop(f"vfolder-{scope}", None)
            shutil.rmtree(self.root / scope.value)


@pytest.fixture
def storage(tmp_path):
    with served(GpfsUnderTest, make(tmp_path), ACCOUNT, PARAMETERS) as made:
        yield made


@pytest.fixture
async def backend(storage):
    backend = storage.build()
    await backend.attach(None)
    yield backend
    await backend.close()
    assert storage.array.violations == []


class TestGpfs(ArrayConformance):
    @pytest.fixture
    def storage(self, tmp_path):
        with served(GpfsUnderTest, make(tmp_path), ACCOUNT, PARAMETERS) as made:
            yield made

    async def test_limits_stop_a_writer(self, storage, backend, folder):
        await backend.set_limits(SCOPE, TEAM, Limits(bytes=2 * MIB))
        with pytest.raises(OSError, match=os.strerror(errno.EDQUOT)):
            await storage.fill(SCOPE, folder, 3 * MIB)
        await storage.fill(SCOPE, folder, MIB)
        used = (await backend.describe_scope(SCOPE)).usage.files
        await backend.set_limits(SCOPE, TEAM, Limits(files=used))
        with pytest.raises(OSError, match=os.strerror(errno.EDQUOT)):
            await storage.fill(SCOPE, folder, MIB + 1)
        await backend.set_limits(SCOPE, TEAM, Limits())
        await storage.fill(SCOPE, folder, MIB + 1)

    async def test_capabilities_tell_the_truth(self, backend, capabilities):
        levels = capabilities.enforcement
        assert (levels.bytes, levels.files) == (Level.ENFORCED, Level.ENFORCED)
        assert levels.root_bypass is Tristate.NO
        health = await backend.probe()
        assert health.capacity.total_bytes == 1 << 40
        assert health.warnings == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"page": 2},
        {"zero_hidden": False, "page": 3},
        {"cached": True},
        {"job_missing": 404},
        {"bare_number": 1024},
    ],
    ids=str,
)
async def test_clusters_differ(storage, backend, changes):
    for name, value in changes.items():
        setattr(storage.array.settings, name, value)
    scopes = [type(SCOPE)(f"{number:032x}") for number in range(1, 6)]
    for scope in scopes:
        await backend.ensure_scope(scope_request(TEAM, scope))
    await backend.set_limits(scopes[0], TEAM, Limits(bytes=MIB + 1))
    await backend.set_limits(scopes[1], TEAM, Limits())
    states = {state.scope: state.limits async for state in backend.list_scopes()}
    assert states[scopes[0]] == Limits(bytes=MIB + 1024)
    assert states[scopes[1]] == Limits()
    assert states[scopes[2]] == scope_request().limits
    for scope in scopes:
        await backend.delete_scope(scope, TEAM)
    assert storage.held() == {}


async def test_a_job_is_recorded_and_the_fileset_is_known_by_its_name(storage, backend):
    ref = await backend.prepare_scope(SCOPE, {})
    assert ref == {"fileset": NAME}
    state = await backend.ensure_scope(scope_request())
    assert state.ref == {"fileset": NAME, "job": 1}


@pytest.mark.parametrize("kind", [Kind.LOST_JOB, Kind.EXPIRED_JOB, Kind.SLOW_JOB])
async def test_a_job_without_a_record_is_no_success(storage, backend, kind):
    storage.array.faults.arm(
        Fault(kind, route="POST /filesystems/{filesystemName}/filesets", times=1)
    )
    with suppress(Unavailable):
        await backend.ensure_scope(scope_request())
    storage.array.jobs.finish()
    state = await backend.ensure_scope(scope_request())
    assert state.limits == scope_request().limits


@pytest.mark.parametrize("count", [1, 2, 3])
async def test_independent_filesets_have_room_for_their_files(storage, count):
    parameters = {**PARAMETERS, "inodeSpace": "independent", "maxInodes": "2000"}
    config = storage.configured(parameters={**parameters, "path": storage.root_path})
    backend = Registry().build(config)
    await backend.attach(None)
    await backend.ensure_scope(scope_request())
    await backend.set_limits(SCOPE, TEAM, Limits(files=1500 * count))
    fileset = storage.array.state.filesets[NAME]
    assert fileset.independent
    assert fileset.max_inodes == max(2000, 1500 * count)
    await backend.close()


async def test_limits_of_file_systems_with_quotas_per_fileset(storage):
    storage.array.settings.fileset_quotas = storage.array.settings.per_fileset = True
    parameters = {**PARAMETERS, "quotaPath": "fileset", "path": storage.root_path}
    backend = Registry().build(storage.configured(parameters=parameters))
    await backend.attach(None)
    assert "--perfileset-quota" in " ".join((await backend.probe()).warnings)
    await backend.ensure_scope(scope_request())
    limits = scope_request().limits
    assert storage.held() == {SCOPE.value: Limit(limits.bytes, limits.files)}
    await backend.close()


async def test_a_foreign_fileset_of_our_name_is_left_alone(storage, backend):
    await backend.ensure_scope(scope_request())
    fileset = storage.array.state.filesets[NAME]
    fileset.comment = "of somebody else"
    with pytest.raises(NotOurs, match="of somebody else"):
        await backend.delete_scope(SCOPE, TEAM)
    assert storage.array.state.filesets[NAME].linked
    assert (storage.root / SCOPE.value).is_dir()


async def test_a_directory_that_is_no_fileset_cannot_be_limited(storage, backend):
    (storage.root / SCOPE.value).mkdir()
    request = scope_request()
    state = await backend.ensure_scope(
        type(request)(SCOPE, TEAM, request.limits, adoption=Adoption())
    )
    assert state.enforcement.bytes is Level.NONE
    with pytest.raises(Unsupported, match="no fileset"):
        await backend.set_limits(SCOPE, TEAM, Limits(bytes=MIB))
    await backend.delete_scope(SCOPE, TEAM)


async def test_a_fileset_with_something_in_it_stays(storage, backend):
    await backend.ensure_scope(scope_request())
    (storage.root / SCOPE.value / "stray").write_text("x")
    with pytest.raises(NotEmpty):
        await backend.delete_scope(SCOPE, TEAM)
    assert (storage.root / SCOPE.value / "stray").exists()


async def test_what_is_written_at_the_last_moment_is_brought_back(storage, backend):
    """The array itself refuses to remove a fileset that is not empty."""
    await backend.ensure_scope(scope_request())
    client = backend._driver._client
    unlink = client.unlink

    async def unlink_late(name):
        (storage.root / ".vfolder" / "gone" / SCOPE.value / "late").write_text("x")
        await unlink(name)

    client.unlink = unlink_late
    with pytest.raises(NotEmpty):
        await backend.delete_scope(SCOPE, TEAM)
    assert (storage.root / SCOPE.value / "late").exists()
    limits = scope_request().limits
    assert storage.held() == {SCOPE.value: Limit(limits.bytes, limits.files)}


@pytest.mark.parametrize("nth", range(1, 12))
async def test_a_scope_half_deleted_is_deleted_by_the_next_call(storage, backend, nth):
    await backend.ensure_scope(scope_request())
    storage.array.faults.arm(Fault(Kind.FORBIDDEN, nth))
    with suppress(BackendError):
        await backend.delete_scope(SCOPE, TEAM)
    storage.array.calm()
    await backend.delete_scope(SCOPE, TEAM)
    assert storage.held() == {}
    assert [p.name for p in storage.root.iterdir()] == [".vfolder"]


async def test_what_is_in_doubt_is_told(storage, backend):
    await backend.ensure_scope(scope_request())
    storage.array.state.filesets[NAME].in_doubt = 4096
    assert [state async for state in backend.list_scopes()]
    assert "mmcheckquota fs1" in " ".join((await backend.probe()).warnings)


async def refused_probe(storage, error, match, **changes):
    backend = Registry().build(storage.configured(**changes))
    try:
        await backend.attach(None)
        with pytest.raises(error, match=match):
            await backend.probe()
    finally:
        await backend.close()
    assert storage.array.violations == []


async def test_an_account_that_may_not_set_quotas_is_named(storage):
    monitor = {"username": "monitor", "password": "simulated-monitor"}
    await refused_probe(storage, PermissionDenied, "CsiAdmin", credentials=monitor)


async def test_a_wrong_password_is_told_without_it(storage):
    wrong = {"username": "vfolder", "password": "planted-and-wrong"}
    await refused_probe(storage, PermissionDenied, "401, Unauthorized$", credentials=wrong)


async def test_another_directory_is_noticed(storage):
    parameters = {**PARAMETERS, "path": "/elsewhere"}
    await refused_probe(storage, Misconfigured, r"parameters\.path", parameters=parameters)


async def test_an_unknown_file_system_is_named(storage):
    parameters = {**PARAMETERS, "fileSystem": "scratch", "path": "/root"}
    await refused_probe(storage, Misconfigured, "'scratch' is not known", parameters=parameters)


async def test_quotas_that_are_off_are_told_with_what_to_do(storage):
    storage.array.settings.enforced = "user;group"
    await refused_probe(storage, Misconfigured, "mmchfs fs1 -Q yes")


async def test_an_old_version_is_unsupported(storage):
    storage.array.settings.version = "4.2.3-24"
    await refused_probe(storage, Unsupported, "too old")


async def test_a_file_system_that_is_not_mounted_is_unavailable(storage):
    storage.array.settings.mount_status = "not mounted"
    await refused_probe(storage, Unavailable, "mmmount fs1")


@pytest.mark.parametrize(
    ("setting", "value", "bypass"),
    [
        ("on_root", "", Tristate.YES),
        ("on_root", "no", Tristate.YES),
        ("config_refused", True, Tristate.UNKNOWN),
    ],
)
async def test_whether_root_passes_is_probed(storage, backend, setting, value, bypass):
    setattr(storage.array.settings, setting, value)
    health = await backend.probe()
    assert health.capabilities.enforcement.root_bypass is bypass
    assert "enforceFilesetQuotaOnRoot" in " ".join(health.warnings)
    storage.array.settings.fileset_df = False
    assert (await backend.probe()).capabilities.df_shows == "Backend"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("path", "relative"),
        ("filesetPrefix", "1st"),
        ("filesetPrefix", "a b"),
        ("filesetPrefix", "x" * 224),
        ("inodeSpace", "own"),
        ("maxInodes", "100"),
    ],
)
def test_options_are_checked(storage, key, value):
    parameters = {**PARAMETERS, "path": "/root", key: value}
    with pytest.raises(Misconfigured, match=rf"parameters\.{key}"):
        Registry().build(storage.configured(parameters=parameters))


async def test_a_wrong_word_of_ours_is_noticed(storage, backend, monkeypatch):
    from vfolder_backends.transport.messages import Request

    client = backend._driver._client

    async def wrong(name, limits):
        body = {"operationType": "setQuota", "quotaType": "FILESET", "hardLimit": 1}
        path = "/filesystems/{fs}/quotas"
        await client.channel.send(Request("POST", path, {"fs": "fs1"}, json=body))

    monkeypatch.setattr(client, "set_quota", wrong)
    with pytest.raises(BackendError, match="hardLimit"):
        await backend.ensure_scope(scope_request())
    assert any("hardLimit" in text for text in storage.array.violations)
    storage.array.violations.clear()


async def test_a_wrong_word_of_the_simulator_is_noticed(storage, backend):
    shown = type(storage.array)._shown

    class Chatty(type(storage.array)):
        def _shown(self, fileset):
            return {**shown(self, fileset), "colour": "blue"}

    storage.array.__class__ = Chatty
    await backend.ensure_scope(scope_request())
    assert any("colour" in text for text in storage.array.violations)
    storage.array.violations.clear()

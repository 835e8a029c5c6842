"""Backends read from an API server: a real HTTPS server with a certificate and a token."""

import asyncio
import shutil
import threading
import time

import pytest
from api_rig import FakeApi, make_certificate

from vfolder_csi.directory import HostPath, NetworkMount
from vfolder_csi.errors import FailedPrecondition, NotFound, Unavailable
from vfolder_csi.kubeapi import ApiServer, KubernetesDirectory
from vfolder_csi.pool import Pool

ROOT_ID = "0123456789abcdef" * 2


def storage_backend(annotations=None, **spec):
    return {"metadata": {"annotations": annotations}, "spec": spec}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl for a certificate")
    account = tmp_path_factory.mktemp("account")
    make_certificate(account, "api")
    return account


@pytest.fixture
def api(certificate):
    (certificate / "token").write_text("first-token\n")
    server = FakeApi(certificate)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.silent.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def directory(api):
    def make(cache_seconds=30.0, timeout=5.0):
        server = ApiServer("127.0.0.1", api.server_address[1], api.account, timeout)
        return KubernetesDirectory(server, Pool(), cache_seconds)

    return make


async def test_both_kinds_of_backends(api, directory):
    api.objects["scratch"] = storage_backend(
        {"vfolder.dev/root-id": ROOT_ID}, type="xfs", hostPath="/mnt/scratch"
    )
    api.objects["new"] = storage_backend(type="xfs", hostPath="/mnt/new")
    api.objects["net"] = storage_backend(
        type="cephfs",
        mount={
            "fsType": "ceph",
            "source": "mon:/",
            "options": ["fs=x"],
            "secretRef": {"name": "key"},
        },
    )
    backends = directory()
    assert (await backends.get("scratch")).where == HostPath("/mnt/scratch", ROOT_ID)
    assert (await backends.get("new")).where == HostPath("/mnt/new", None)
    assert (await backends.get("net")).where == NetworkMount("ceph", "mon:/", ("fs=x",), True)
    assert api.requests[0] == (
        "/apis/vfolder.dev/v1alpha1/storagebackends/scratch",
        "Bearer first-token",
    )


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"hostPath": "/mnt/x", "mount": {"fsType": "nfs", "source": "x"}},
        {"mount": {"fsType": "nfs"}},
        {"mount": "nfs"},
    ],
)
async def test_objects_that_cannot_be_read(api, directory, spec):
    api.objects["odd"] = storage_backend(**spec)
    with pytest.raises(FailedPrecondition, match="StorageBackend odd"):
        await directory().get("odd")


async def test_answers_are_remembered_and_shared(api, directory):
    api.objects["scratch"] = storage_backend(hostPath="/mnt/scratch")
    backends = directory()
    await asyncio.gather(*(backends.get("scratch") for _ in range(20)))
    await backends.get("scratch")
    assert len(api.requests) == 1


async def test_a_change_is_seen_when_the_memory_has_run_out(api, directory):
    api.objects["scratch"] = storage_backend(hostPath="/mnt/old")
    backends = directory(cache_seconds=0)
    await backends.get("scratch")
    api.objects["scratch"] = storage_backend(hostPath="/mnt/new")
    assert (await backends.get("scratch")).where == HostPath("/mnt/new", None)


async def test_a_rotated_token_is_used(api, directory):
    api.objects["scratch"] = storage_backend(hostPath="/mnt/scratch")
    backends = directory(cache_seconds=0)
    await backends.get("scratch")
    (api.account / "token").write_text("second-token\n")
    await backends.get("scratch")
    assert [token for _, token in api.requests] == ["Bearer first-token", "Bearer second-token"]


@pytest.mark.parametrize("status", [401, 403, 500])
async def test_an_old_answer_serves_on(api, directory, status):
    api.objects["scratch"] = storage_backend(hostPath="/mnt/scratch")
    backends = directory(cache_seconds=0)
    await backends.get("scratch")
    api.status = status
    assert (await backends.get("scratch")).where == HostPath("/mnt/scratch", None)
    with pytest.raises(Unavailable, match=f"HTTP {status}"):
        await backends.get("other")


async def test_a_silent_api_server(api, directory):
    api.objects["scratch"] = storage_backend(hostPath="/mnt/scratch")
    backends = directory(cache_seconds=0, timeout=0.3)
    await backends.get("scratch")
    api.silent.clear()
    assert (await backends.get("scratch")).where == HostPath("/mnt/scratch", None)
    begun = time.monotonic()
    await backends.get("scratch")
    assert time.monotonic() - begun < 0.3, "an old answer is believed for a while"
    with pytest.raises(Unavailable):
        await backends.get("other")


async def test_a_deleted_backend_is_gone_at_once(api, directory):
    api.objects["scratch"] = storage_backend(hostPath="/mnt/scratch")
    backends = directory(cache_seconds=0)
    await backends.get("scratch")
    del api.objects["scratch"]
    with pytest.raises(NotFound, match="no StorageBackend 'scratch'"):
        await backends.get("scratch")


async def test_another_certificate_is_not_trusted(api, directory, tmp_path):
    (tmp_path / "token").write_text("token")
    make_certificate(tmp_path, "other")
    server = ApiServer("127.0.0.1", api.server_address[1], tmp_path)
    with pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
        await KubernetesDirectory(server, Pool(), 30).get("scratch")
    assert api.requests == []

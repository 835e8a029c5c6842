"""Where user namespaces are required, a folder appears in no pod that runs without one."""

import shutil
import threading

import grpc
import pytest
from api_rig import FakeApi, make_certificate

from vfolder_csi.errors import FailedPrecondition, Unavailable
from vfolder_csi.kubeapi import ApiServer
from vfolder_csi.pods import UserNamespaces
from vfolder_csi.pool import Pool

INFO = {
    "csi.storage.k8s.io/pod.namespace": "team-a",
    "csi.storage.k8s.io/pod.name": "trainer",
    "csi.storage.k8s.io/pod.uid": "u-1",
}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl for a certificate")
    account = tmp_path_factory.mktemp("account")
    make_certificate(account, "api")
    (account / "token").write_text("token\n")
    return account


@pytest.fixture
def api(certificate):
    server = FakeApi(certificate)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.silent.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def pods(api):
    return UserNamespaces(ApiServer("127.0.0.1", api.server_address[1], api.account, 5.0), Pool())


def pod(uid="u-1", **spec):
    return {"metadata": {"name": "trainer", "uid": uid}, "spec": spec}


async def test_a_pod_in_a_user_namespace_is_let_in(api, pods):
    api.objects["trainer"] = pod(hostUsers=False)
    await pods.check(INFO)
    assert [path for path, _ in api.requests] == ["/api/v1/namespaces/team-a/pods/trainer"]


@pytest.mark.parametrize("spec", [{}, {"hostUsers": True}, {"hostUsers": None}])
async def test_any_other_pod_is_refused_and_told_why(api, pods, spec):
    api.objects["trainer"] = pod(**spec)
    with pytest.raises(FailedPrecondition, match="hostUsers: false"):
        await pods.check(INFO)


async def test_another_pod_of_that_name_does_not_count(api, pods):
    api.objects["trainer"] = pod(uid="u-2", hostUsers=False)
    with pytest.raises(FailedPrecondition, match="another one"):
        await pods.check(INFO)
    del api.objects["trainer"]
    with pytest.raises(FailedPrecondition, match="gone"):
        await pods.check(INFO)


async def test_without_an_answer_nobody_is_let_in(api, pods):
    api.objects["trainer"] = pod(hostUsers=False)
    api.status = 403
    with pytest.raises(Unavailable, match="ClusterRole"):
        await pods.check(INFO)
    with pytest.raises(FailedPrecondition, match="podInfoOnMount"):
        await pods.check({"csi.storage.k8s.io/pod.name": "trainer"})


async def test_a_publish_asks_first(api, pods, node):
    node.pods = pods
    await node.restart()
    handle = node.folder()
    api.objects["trainer"] = pod()
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await node.publish(handle, node.target(), volume_context=INFO)
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "hostUsers: false" in refused.value.details()
    assert node.mounts_at(node.target()) == []
    api.objects["trainer"] = pod(hostUsers=False)
    await node.publish(handle, node.target(), volume_context=INFO)
    assert len(node.mounts_at(node.target())) == 1

"""The program as kubelet meets it: a process with sockets, started, killed and stopped."""

import asyncio
import os
import signal
import socket
import stat
import sys
import urllib.request
from pathlib import Path

import grpc
import pytest

from vfolder_csi._proto import csi_pb2, csi_pb2_grpc
from vfolder_csi._proto import pluginregistration_pb2 as registration_pb2
from vfolder_csi._proto import pluginregistration_pb2_grpc as registration_pb2_grpc


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Plugin:
    """One process of the node plugin on a node's folders."""

    def __init__(self, base, kubelet):
        self.base = base
        self.csi = base / "p.sock"
        self.registration = base / "csi.vfolder.dev-reg.sock"
        self.port = free_port()
        self.kubelet = kubelet
        self.process = None

    async def start(self, **changes):
        settings = {
            "VFOLDER_CSI_ENDPOINT": f"unix://{self.csi}",
            "VFOLDER_CSI_REGISTRATION_DIR": str(self.base),
            "VFOLDER_CSI_KUBELET_ENDPOINT": "/var/lib/kubelet/plugins/csi.vfolder.dev/csi.sock",
            "VFOLDER_CSI_NODE_NAME": "node-1",
            "VFOLDER_CSI_KUBELET_DIR": str(self.kubelet),
            "VFOLDER_CSI_HEALTH_PORT": str(self.port),
            "VFOLDER_CSI_MAX_VOLUMES": "17",
        }
        environment = {k: v for k, v in {**settings, **changes}.items() if v is not None}
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "vfolder_csi",
            env={"PATH": os.environ["PATH"], **environment},
            stderr=asyncio.subprocess.PIPE,
        )

    async def end(self, number=None):
        """Signal the process if asked to, and return its exit status and what it wrote."""
        if number is not None:
            self.process.send_signal(number)
        async with asyncio.timeout(20):
            _, written = await self.process.communicate()
        status = self.process.returncode
        self.process = None
        return status, written.decode()


@pytest.fixture
async def plugin(node):
    plugin = Plugin(node.base, node.kubelet)
    yield plugin
    if plugin.process is not None:
        await plugin.end(signal.SIGKILL)


async def serving(plugin, eventually):
    await eventually(plugin.registration.exists)


async def answer(path, stub, method, request):
    async with grpc.aio.insecure_channel(f"unix://{path}") as channel:
        return await getattr(stub(channel), method)(request, timeout=5)


async def csi(plugin, method, request):
    stub = csi_pb2_grpc.NodeStub if method.startswith("Node") else csi_pb2_grpc.IdentityStub
    return await answer(plugin.csi, stub, method, request)


async def kubelet_asks(plugin, method, request):
    return await answer(
        plugin.registration, registration_pb2_grpc.RegistrationStub, method, request
    )


async def test_the_way_kubelet_takes(plugin, eventually):
    await plugin.start()
    await serving(plugin, eventually)
    info = await kubelet_asks(plugin, "GetInfo", registration_pb2.InfoRequest())
    assert (info.type, info.name, list(info.supported_versions)) == (
        "CSIPlugin",
        "csi.vfolder.dev",
        ["1.0.0"],
    )
    assert info.endpoint == "/var/lib/kubelet/plugins/csi.vfolder.dev/csi.sock"

    identity = await csi(plugin, "GetPluginInfo", csi_pb2.GetPluginInfoRequest())
    assert identity.name == "csi.vfolder.dev"
    offered = await csi(plugin, "GetPluginCapabilities", csi_pb2.GetPluginCapabilitiesRequest())
    assert list(offered.capabilities) == []
    node = await csi(plugin, "NodeGetInfo", csi_pb2.NodeGetInfoRequest())
    assert (node.node_id, node.max_volumes_per_node) == ("node-1", 17)
    can = await csi(plugin, "NodeGetCapabilities", csi_pb2.NodeGetCapabilitiesRequest())
    assert {csi_pb2.NodeServiceCapability.RPC.Type.Name(c.rpc.type) for c in can.capabilities} == {
        "STAGE_UNSTAGE_VOLUME",
        "GET_VOLUME_STATS",
        "SINGLE_NODE_MULTI_WRITER",
    }
    done = registration_pb2.RegistrationStatus(plugin_registered=True)
    await kubelet_asks(plugin, "NotifyRegistrationStatus", done)
    probe = await csi(plugin, "Probe", csi_pb2.ProbeRequest())
    assert probe.ready.value
    for path in (plugin.csi, plugin.registration):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    status, written = await plugin.end(signal.SIGTERM)
    assert status == 0, written
    assert not plugin.csi.exists()
    assert not plugin.registration.exists()


async def test_health(plugin, eventually):
    await plugin.start()
    await serving(plugin, eventually)

    def get(path):
        with urllib.request.urlopen(f"http://127.0.0.1:{plugin.port}{path}", timeout=5) as reply:
            return reply.status

    assert await asyncio.to_thread(get, "/healthz") == 200
    with pytest.raises(urllib.error.HTTPError) as caught:
        await asyncio.to_thread(get, "/else")
    assert caught.value.code == 404
    caught.value.close()


async def test_a_refusal_by_kubelet_ends_it(plugin, eventually):
    await plugin.start()
    await serving(plugin, eventually)
    no = registration_pb2.RegistrationStatus(plugin_registered=False, error="version mismatch")
    await kubelet_asks(plugin, "NotifyRegistrationStatus", no)
    status, written = await plugin.end()
    assert status == 1
    assert "version mismatch" in written


async def test_a_killed_plugin_comes_back_under_a_living_mount(node, plugin, eventually):
    handle = node.folder()
    target = await node.publish(handle)
    for _ in range(2):
        await plugin.start()
        await serving(plugin, eventually)
        await csi(plugin, "Probe", csi_pb2.ProbeRequest())
        await plugin.end(signal.SIGKILL)
        assert plugin.csi.exists(), "a killed process leaves its socket"
        plugin.registration.unlink()
    assert len(node.mounts_at(target)) == 1
    await plugin.start()
    await serving(plugin, eventually)
    request = csi_pb2.NodeUnpublishVolumeRequest(volume_id=str(handle), target_path=str(target))
    await csi(plugin, "NodeUnpublishVolume", request)
    assert node.mounts_at(target) == []


async def test_a_living_socket_is_not_stolen(node, plugin, eventually):
    await plugin.start()
    await serving(plugin, eventually)
    twin = Plugin(plugin.base, plugin.kubelet)
    await twin.start()
    status, written = await twin.end()
    assert status == 1
    assert "another process serves" in written
    await csi(plugin, "Probe", csi_pb2.ProbeRequest())
    await kubelet_asks(plugin, "GetInfo", registration_pb2.InfoRequest())


async def test_a_file_in_the_place_of_the_socket_is_kept(plugin):
    plugin.csi.write_text("not a socket")
    await plugin.start()
    status, written = await plugin.end()
    assert status == 1
    assert "is not a socket" in written
    assert plugin.csi.read_text() == "not a socket"


async def test_bad_settings_are_named(plugin):
    await plugin.start(VFOLDER_CSI_NODE_NAME=None)
    assert await plugin.end() == (2, "vfolder-csi: VFOLDER_CSI_NODE_NAME is not set\n")
    await plugin.start(VFOLDER_CSI_HEALTH_PORT="http")
    status, written = await plugin.end()
    assert status == 2
    assert "VFOLDER_CSI_HEALTH_PORT='http' is not a number" in written


async def test_a_call_under_way_ends_before_the_program(node, plugin, eventually):
    handle = node.folder()
    target = await node.publish(handle)
    await plugin.start()
    await serving(plugin, eventually)
    hung = node.hang(Path(target))
    request = csi_pb2.NodeGetVolumeStatsRequest(volume_id=str(handle), volume_path=str(target))
    call = asyncio.create_task(csi(plugin, "NodeGetVolumeStats", request))

    def stuck():
        tasks = Path(f"/proc/{plugin.process.pid}/task")
        return any("fuse" in (task / "wchan").read_text() for task in tasks.iterdir())

    await eventually(stuck)
    plugin.process.send_signal(signal.SIGTERM)
    await eventually(lambda: not plugin.registration.exists())
    hung.die()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert "ENOTCONN" in caught.value.details()
    status, written = await plugin.end()
    assert status == 0, written
    assert len(node.mounts_at(target)) == 2, "mounts are nobody's business at the end"

"""How long the node plugin takes to show a folder in a pod, beside the mount(8) program.

The real plugin in its pod is called over its socket as kubelet calls it, with targets below the
node's kubelet folder. The peer mounts the same folder there by mount(8) and umount(8), which is
what drivers do that run helper programs.
"""

import asyncio
import hashlib
import json
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from e2e.bench import procs
from e2e.bench.report import Figure, Section
from e2e.bench.samples import percentile
from e2e.bench.site import Site
from e2e.cluster import commands
from e2e.cluster.node import Node
from e2e.cluster.progress import say
from e2e.world import folder, scope
from vfolder_backends.ids import VolumeHandle
from vfolder_backends.layout import folder_path
from vfolder_csi._proto import csi_pb2, csi_pb2_grpc

NAMESPACE = "bench-publish"
COUNT = 500
WIDE = 50
_KUBELET = "/var/lib/kubelet"
_BASE = f"{_KUBELET}/bench"
_SOCKET = f"{_KUBELET}/plugins/csi.vfolder.dev/csi.sock"
_MODE = csi_pb2.VolumeCapability.AccessMode
_CAPABILITY = csi_pb2.VolumeCapability(
    mount=csi_pb2.VolumeCapability.MountVolume(),
    access_mode=_MODE(mode=_MODE.MULTI_NODE_MULTI_WRITER),
)
_CALL_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Latencies:
    """Seconds of each call, and of all together.

    Attributes:
        probing: calls that do nothing; the peer has no such thing.
    """

    mounting: list[float]
    unmounting: list[float]
    mounting_all: float
    unmounting_all: float
    probing: list[float] = field(default_factory=list)


def measure(site: Site) -> Section:
    """Publish and unpublish one folder at many targets, one after another and 50 at a time."""
    site.team(NAMESPACE)
    site.apply(scope(NAMESPACE, "research", "1Gi"), folder(NAMESPACE, "data", "research"))
    body = site.until_ready(NAMESPACE, "vfolder", "data")
    handle = str(body["status"]["volumeHandle"])
    node = site.cluster.nodes[0]
    plugin = site.node_plugin(node.name)
    base = node.seen_from_outside(_BASE)
    for number in range(COUNT):
        (base / str(number)).mkdir(parents=True)
    parsed = VolumeHandle.parse(handle)
    source = site.ceph.node_mount / folder_path(parsed.scope, parsed.folder)

    idle = procs.usage(plugin)
    figures: list[Figure] = []
    for width in (1, WIDE):
        ours = asyncio.run(_call(node, handle, width))
        peer = _helpers(node, source, width)
        say(f"{COUNT} publishes, {width} at a time")
        figures += _compare(ours, peer, width)
    worked = procs.usage(plugin)
    for place in base.iterdir():
        place.rmdir()
    base.rmdir()
    site.drop(NAMESPACE)
    return Section(
        "publish",
        f"one folder at {COUNT} targets of a node",
        "NodePublishVolume and NodeUnpublishVolume over the socket of the plugin in its pod, "
        "called from one Python process; a hostPath backend (CephFS by FUSE). A target's "
        "directory is made and removed by both sides.",
        [
            *figures,
            Figure("node plugin, memory before", idle.resident, "MiB"),
            Figure(f"node plugin, memory after {2 * COUNT}", worked.resident, "MiB"),
            Figure("node plugin, memory at most", worked.peak, "MiB"),
            Figure(
                "node plugin, processor time per pair of calls",
                1000 * (worked.cpu - idle.cpu) / (2 * COUNT),
                "ms",
            ),
        ],
        "mount --options bind,nosuid,nodev and umount, started from Python with as many threads, "
        "in the node's mount namespace: the program alone, without a call or a check before it. "
        "Drivers upon k8s.io/mount-utils start it twice for each bind.",
    )


def _compare(ours: Latencies, peer: Latencies, width: int) -> list[Figure]:
    figures = []
    for word, mine, others in (
        ("publish", ours.mounting, peer.mounting),
        ("unpublish", ours.unmounting, peer.unmounting),
    ):
        for percent in (50, 99):
            figures.append(
                Figure(
                    f"{word}, {width} at a time, p{percent}",
                    1000 * percentile(mine, percent),
                    "ms",
                    1000 * percentile(others, percent),
                )
            )
    rates = COUNT / ours.mounting_all, COUNT / peer.mounting_all
    figures.append(Figure(f"publishes, {width} at a time", rates[0], "1/s", rates[1]))
    idle = 1000 * percentile(ours.probing, 50)
    figures.append(Figure(f"a call that does nothing, {width} at a time, p50", idle, "ms"))
    return figures


@asynccontextmanager
async def _stubs(node: Node) -> AsyncIterator[tuple[Any, Any]]:
    """The plugin's node and identity services."""
    path = node.seen_from_outside(_SOCKET)
    async with grpc.aio.insecure_channel(f"unix://{path}") as channel:
        await asyncio.wait_for(channel.channel_ready(), _CALL_SECONDS)
        yield csi_pb2_grpc.NodeStub(channel), csi_pb2_grpc.IdentityStub(channel)


async def _call(node: Node, handle: str, width: int) -> Latencies:
    name = hashlib.sha256(handle.encode()).hexdigest()
    staging = f"{_KUBELET}/plugins/kubernetes.io/csi/csi.vfolder.dev/{name}/globalmount"
    targets = [f"{_BASE}/{number}/mount" for number in range(COUNT)]
    async with _stubs(node) as (stub, identity):

        async def publish(target: str) -> None:
            request = csi_pb2.NodePublishVolumeRequest(
                volume_id=handle,
                target_path=target,
                staging_target_path=staging,
                volume_capability=_CAPABILITY,
            )
            await stub.NodePublishVolume(request, timeout=_CALL_SECONDS)

        async def unpublish(target: str) -> None:
            request = csi_pb2.NodeUnpublishVolumeRequest(volume_id=handle, target_path=target)
            await stub.NodeUnpublishVolume(request, timeout=_CALL_SECONDS)

        async def probe(_: str) -> None:
            await identity.Probe(csi_pb2.ProbeRequest(), timeout=_CALL_SECONDS)

        # The first call of all reads the StorageBackend; kubelet's stage comes before it.
        await publish(targets[0])
        await unpublish(targets[0])
        probing, _ = await _timed(probe, targets, width)
        mounting, mounting_all = await _timed(publish, targets, width)
        unmounting, unmounting_all = await _timed(unpublish, targets, width)
    return Latencies(mounting, unmounting, mounting_all, unmounting_all, probing)


async def _timed(call: Any, targets: Sequence[str], width: int) -> tuple[list[float], float]:
    """Call for every target, `width` at a time; returns the seconds of each and of all."""
    places, seconds = iter(targets), []

    async def caller() -> None:
        for target in places:
            started = time.perf_counter()
            await call(target)
            seconds.append(time.perf_counter() - started)

    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(width):
            group.create_task(caller())
    return seconds, time.perf_counter() - started


def _helpers(node: Node, source: Path, width: int) -> Latencies:
    script = Path(__file__).with_name("mount_programs.py")
    words = (sys.executable, "-I", script, source, _BASE, str(COUNT), str(width))
    said = commands.run(*words, namespaces=node.namespaces, timeout=300)
    return Latencies(**json.loads(said))

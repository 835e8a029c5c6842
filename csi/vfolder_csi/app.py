"""The plugin's life: serve, make itself known, stop without touching a single mount."""

import asyncio
import logging
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import grpc

from vfolder_csi._proto import csi_pb2_grpc, pluginregistration_pb2_grpc
from vfolder_csi.directory import BackendDirectory
from vfolder_csi.endpoint import make_free, private_umask, socket_path
from vfolder_csi.health import serve_health
from vfolder_csi.interceptors import CallInterceptor
from vfolder_csi.kubeapi import ApiServer, KubernetesDirectory
from vfolder_csi.mounts.cephkeys import CephKeys
from vfolder_csi.mounts.network import HELPER_DIRS
from vfolder_csi.mounts.stages import Stages
from vfolder_csi.mounts.targets import Deadlines, Targets
from vfolder_csi.pods import UserNamespaces
from vfolder_csi.pool import Pool
from vfolder_csi.registration import RegistrationService
from vfolder_csi.rpc.identity import IdentityService
from vfolder_csi.rpc.node import NodeService
from vfolder_csi.settings import DRIVER_NAME, Settings

logger = logging.getLogger(__name__)

STOP_GRACE: Final = 90.0
"""How long calls under way may take to end, in seconds; the pod's own grace must be longer."""


@dataclass(slots=True)
class Readiness:
    """Whether new calls are welcome."""

    value: bool = False

    def __call__(self) -> bool:
        """Say so."""
        return self.value


def build_server(
    settings: Settings,
    directory: BackendDirectory,
    pool: Pool,
    readiness: Readiness,
    deadlines: Deadlines = Deadlines(),  # noqa: B008  # frozen
    helper_dirs: Sequence[str] = HELPER_DIRS,
    pods: UserNamespaces | None = None,
) -> grpc.aio.Server:
    """Return a server with the identity and node services, on no socket yet."""
    targets = Targets(settings.kubelet_dir, pool, deadlines)
    keys = CephKeys()
    stages = Stages(settings.kubelet_dir, pool, deadlines, targets, keys, helper_dirs)
    server = grpc.aio.server(interceptors=[CallInterceptor()])
    csi_pb2_grpc.add_IdentityServicer_to_server(IdentityService(readiness), server)
    csi_pb2_grpc.add_NodeServicer_to_server(
        NodeService(settings, directory, pool, targets, stages, keys, deadlines, pods), server
    )
    return server


async def serve_on(server: grpc.aio.Server, path: str) -> None:
    """Bind a server to a unix socket that only our own user may use, and start it.

    Raises:
        EndpointError: somebody else serves there.
    """
    make_free(path)
    with private_umask():
        server.add_insecure_port(f"unix://{path}")
    await server.start()


async def run(settings: Settings, api: ApiServer) -> int:
    """Serve until SIGTERM or SIGINT, or until kubelet refuses the plugin.

    Returns:
        The exit status: 0 after a signal, 1 after a refusal.

    Raises:
        EndpointError: another plugin serves the socket.
        OSError: the health port is taken.
    """
    begun = time.monotonic()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    csi_socket = socket_path(settings.endpoint)
    registration_socket = socket_path(f"{settings.registration_dir}/{DRIVER_NAME}-reg.sock")
    make_free(csi_socket)
    make_free(registration_socket)  # kubelet would otherwise ask a socket that nobody serves

    pool, readiness = Pool(), Readiness()
    directory = KubernetesDirectory(api, pool, settings.api_cache_seconds)
    pods = UserNamespaces(api, pool) if settings.require_user_namespaces else None
    server = build_server(settings, directory, pool, readiness, pods=pods)
    registration = RegistrationService(settings.kubelet_endpoint)
    registrar = grpc.aio.server(interceptors=[CallInterceptor()])
    pluginregistration_pb2_grpc.add_RegistrationServicer_to_server(registration, registrar)

    health = await serve_health(settings.health_port)
    try:
        await serve_on(server, csi_socket)
        readiness.value = True
        await serve_on(registrar, registration_socket)
        logger.info(
            "node plugin serves",
            extra={"node": settings.node_name, "seconds": round(time.monotonic() - begun, 3)},
        )
        refused = await _first(stop, registration.refused)
        readiness.value = False
        logger.info("node plugin stops; mounts stay", extra={"refused": refused})
        await registrar.stop(grace=1.0)
        await server.stop(grace=STOP_GRACE)
        return 1 if refused else 0
    finally:
        health.close()


async def _first(stop: asyncio.Event, refused: asyncio.Event) -> bool:
    """Wait for either event, as long as the plugin lives; return whether it was the second."""
    waits = [asyncio.create_task(event.wait()) for event in (stop, refused)]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    return not stop.is_set()

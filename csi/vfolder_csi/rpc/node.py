"""The CSI node service: folders in and out of pods.

Everything here is validation and order; what touches the kernel is in `mounts`. Locks are per
volume and path, so that many pods on a node may mount one folder at the same time.
"""

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import grpc
from typing_extensions import override

from vfolder_backends.ids import VolumeHandle
from vfolder_backends.projects import checks
from vfolder_csi import stats
from vfolder_csi._proto import csi_pb2, csi_pb2_grpc
from vfolder_csi.directory import Backend, BackendDirectory, HostPath, NetworkMount
from vfolder_csi.errors import (
    InvalidArgument,
    NotFound,
    StageGone,
    Unimplemented,
    from_os_error,
)
from vfolder_csi.inflight import InFlight
from vfolder_csi.mounts import hostpath
from vfolder_csi.mounts.cephkeys import CephKeys
from vfolder_csi.mounts.paths import check_beneath, spot
from vfolder_csi.mounts.stages import Stages
from vfolder_csi.mounts.targets import Deadlines, Publication, Targets
from vfolder_csi.pods import UserNamespaces
from vfolder_csi.pool import Pool
from vfolder_csi.rpc import requests
from vfolder_csi.settings import Settings

Context = grpc.aio.ServicerContext[Any, Any]

_ANSWER_SECONDS = 1.0
"""What is left of the caller's deadline for our answer to travel."""

_CEPHFS = "cephfs"

_Rpc = csi_pb2.NodeServiceCapability.RPC
_CAPABILITIES = (_Rpc.STAGE_UNSTAGE_VOLUME, _Rpc.GET_VOLUME_STATS, _Rpc.SINGLE_NODE_MULTI_WRITER)


class NodeService(csi_pb2_grpc.NodeServicer):
    """Stages, publishes and measures folders on this node."""

    def __init__(
        self,
        settings: Settings,
        directory: BackendDirectory,
        pool: Pool,
        targets: Targets,
        stages: Stages,
        keys: CephKeys,
        deadlines: Deadlines,
        pods: UserNamespaces | None = None,
    ) -> None:
        self._settings = settings
        self._directory = directory
        self._pool = pool
        self._targets = targets
        self._stages = stages
        self._keys = keys
        self._deadlines = deadlines
        self._pods = pods
        self._inflight = InFlight()

    def _budget(self, context: Context) -> float:
        """Seconds until we answer, whatever the storage does."""
        remaining = context.time_remaining()
        if remaining is None:
            return self._deadlines.call
        return min(self._deadlines.call, remaining - min(_ANSWER_SECONDS, remaining / 4))

    @override
    async def NodeStageVolume(
        self, request: csi_pb2.NodeStageVolumeRequest, context: Context
    ) -> csi_pb2.NodeStageVolumeResponse:
        handle = requests.volume_handle(request.volume_id)
        path = requests.staging_path(request.staging_target_path)
        check_beneath(self._settings.kubelet_dir, path, "staging_target_path")
        requests.access(request, read_only=False)
        requests.check_context(request.volume_context)

        async def stage() -> None:
            backend = await self._directory.get(handle.backend)
            if isinstance(backend.where, NetworkMount):
                await self._stages.ensure(handle, backend.where, path, request.secrets)

        await self._inflight.run((request.volume_id, path), self._budget(context), stage)
        return csi_pb2.NodeStageVolumeResponse()

    @override
    async def NodeUnstageVolume(
        self, request: csi_pb2.NodeUnstageVolumeRequest, context: Context
    ) -> csi_pb2.NodeUnstageVolumeResponse:
        volume = requests.volume_id(request.volume_id)
        path = requests.staging_path(request.staging_target_path)
        await self._inflight.run(
            (volume, path),
            self._budget(context),
            lambda: self._stages.remove(_lane(volume), path),
        )
        return csi_pb2.NodeUnstageVolumeResponse()

    @override
    async def NodePublishVolume(
        self, request: csi_pb2.NodePublishVolumeRequest, context: Context
    ) -> csi_pb2.NodePublishVolumeResponse:
        handle = requests.volume_handle(request.volume_id)
        target = requests.target_path(request.target_path)
        check_beneath(self._settings.kubelet_dir, target, "target_path")
        access = requests.access(request, request.readonly)
        staging = requests.published_staging_path(request.staging_target_path)
        requests.check_context(request.volume_context)
        wanted = Publication(handle.backend, target, staging, access.words, access.single)

        async def publish() -> None:
            if not access.single:
                await self._publish(handle, wanted, request)
                return
            # Two publishes of a single writer at once must see each other.
            async with self._inflight.hold(request.volume_id, "single writer"):
                await self._publish(handle, wanted, request)

        await self._inflight.run((request.volume_id, target), self._budget(context), publish)
        return csi_pb2.NodePublishVolumeResponse()

    def _root_check(
        self, handle: VolumeHandle, backend: Backend, where: HostPath
    ) -> Callable[[int], None] | None:
        """What must be true of such a storage's open root before a folder of it is shown."""
        if backend.kind == _CEPHFS:
            return partial(self._keys.check_host, handle)
        if backend.kind in checks.KINDS:
            return partial(hostpath.check_limits, backend.name, where.path, backend.kind)
        return None

    async def _publish(
        self, handle: VolumeHandle, wanted: Publication, request: csi_pb2.NodePublishVolumeRequest
    ) -> None:
        if self._pods is not None:
            await self._pods.check(request.volume_context)
        backend = await self._directory.get(handle.backend)
        where = backend.where
        if isinstance(where, HostPath):
            check, roots = self._root_check(handle, backend, where), self._settings.host_roots
            opener = partial(hostpath.open_folder, handle, where, roots, check)
            await self._targets.publish(wanted, opener)
            return
        staged = self._stages.opener(wanted.staging)
        try:
            await self._targets.publish(wanted, staged)
        except StageGone:
            # kubelet may publish without a stage (kubernetes#106729), and stages get lost.
            async with self._inflight.hold(request.volume_id, wanted.staging):
                await self._stages.ensure(handle, where, wanted.staging, request.secrets)
            await self._targets.publish(wanted, staged)

    @override
    async def NodeUnpublishVolume(
        self, request: csi_pb2.NodeUnpublishVolumeRequest, context: Context
    ) -> csi_pb2.NodeUnpublishVolumeResponse:
        volume = requests.volume_id(request.volume_id)
        target = requests.target_path(request.target_path)
        await self._inflight.run(
            (volume, target),
            self._budget(context),
            lambda: self._targets.unpublish(_lane(volume), target),
        )
        return csi_pb2.NodeUnpublishVolumeResponse()

    @override
    async def NodeGetVolumeStats(
        self, request: csi_pb2.NodeGetVolumeStatsRequest, context: Context
    ) -> csi_pb2.NodeGetVolumeStatsResponse:
        volume = requests.volume_id(request.volume_id)
        path = requests.required("volume_path", request.volume_path, requests.MAX_PATH)
        try:
            handle = requests.volume_handle(volume)
        except InvalidArgument as error:
            raise NotFound(str(error)) from error
        figures, ceph = await self._pool.run(
            f"{handle.backend}/stats",
            min(self._deadlines.storage, self._budget(context)),
            partial(self._measure, path),
        )
        if ceph:
            figures = await self._scope_stats(handle, figures)
        return _stats_response(figures)

    def _measure(self, path: str) -> tuple[stats.Stats, bool]:
        """Ask the published file system; blocking."""
        try:
            with spot(self._settings.kubelet_dir, path, "volume_path") as place:
                bare = place.open_bare()
                if bare is not None:
                    os.close(bare)
                    raise NotFound(f"volume_path: nothing is published at {path}")
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
                descriptor = os.open(place.name, flags, dir_fd=place.parent)
            try:
                return stats.of_file_system(descriptor), stats.is_cephfs(descriptor)
            finally:
                os.close(descriptor)
        except (FileNotFoundError, InvalidArgument) as error:
            raise NotFound(f"volume_path: nothing is published at {path}") from error
        except OSError as error:
            raise from_os_error(error, f"measuring {path}") from error

    async def _scope_stats(self, handle: VolumeHandle, whole: stats.Stats) -> stats.Stats:
        """Return the scope's figures, or the file system's where the scope cannot be seen.

        A mount of the folder itself needs no help: there CephFS's own statfs shows the quota.
        """
        where = (await self._directory.get(handle.backend)).where
        if not isinstance(where, HostPath):
            return whole

        def work() -> stats.Stats:
            scope = hostpath.open_scope(handle, where, self._settings.host_roots)
            try:
                return stats.of_ceph_scope(scope, whole)
            finally:
                os.close(scope)

        return await self._pool.run(f"{handle.backend}/stats", self._deadlines.storage, work)

    @override
    async def NodeExpandVolume(
        self, request: csi_pb2.NodeExpandVolumeRequest, context: Context
    ) -> csi_pb2.NodeExpandVolumeResponse:
        raise Unimplemented("a folder grows on the storage; there is nothing to expand on a node")

    @override
    async def NodeGetCapabilities(
        self, request: csi_pb2.NodeGetCapabilitiesRequest, context: Context
    ) -> csi_pb2.NodeGetCapabilitiesResponse:
        return csi_pb2.NodeGetCapabilitiesResponse(
            capabilities=[
                csi_pb2.NodeServiceCapability(rpc=_Rpc(type=capability))
                for capability in _CAPABILITIES
            ]
        )

    @override
    async def NodeGetInfo(
        self, request: csi_pb2.NodeGetInfoRequest, context: Context
    ) -> csi_pb2.NodeGetInfoResponse:
        return csi_pb2.NodeGetInfoResponse(
            node_id=self._settings.node_name, max_volumes_per_node=self._settings.max_volumes
        )


def _lane(volume: str) -> str:
    """The backend part of a volume id; an id that does not parse must not block a clean-up."""
    return volume.partition("/")[0]


def _stats_response(figures: stats.Stats) -> csi_pb2.NodeGetVolumeStatsResponse:
    rows = [(csi_pb2.VolumeUsage.BYTES, figures.bytes)]
    if figures.inodes is not None:
        rows.append((csi_pb2.VolumeUsage.INODES, figures.inodes))
    return csi_pb2.NodeGetVolumeStatsResponse(
        usage=[
            csi_pb2.VolumeUsage(
                unit=unit, total=usage.total, used=usage.used, available=usage.available
            )
            for unit, usage in rows
        ]
    )

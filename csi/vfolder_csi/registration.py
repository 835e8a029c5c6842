"""Makes the plugin known to kubelet, without a sidecar.

kubelet watches a folder; a socket that appears there is asked who it is and is then told whether
the plugin was taken in. csi.sock must already be served when that socket appears.
"""

import asyncio
import logging
from typing import Any

import grpc
from typing_extensions import override

from vfolder_csi._proto import pluginregistration_pb2 as pb
from vfolder_csi._proto import pluginregistration_pb2_grpc as pb_grpc
from vfolder_csi.settings import DRIVER_NAME

logger = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]


class RegistrationService(pb_grpc.RegistrationServicer):
    """Answers kubelet's plugin watcher.

    Attributes:
        refused: set when kubelet did not take the plugin in; the process should then end, so that
            it is started anew and kubelet asks again.
    """

    def __init__(self, kubelet_endpoint: str) -> None:
        self._kubelet_endpoint = kubelet_endpoint
        self.refused = asyncio.Event()

    @override
    async def GetInfo(self, request: pb.InfoRequest, context: Context) -> pb.PluginInfo:
        return pb.PluginInfo(
            type="CSIPlugin",
            name=DRIVER_NAME,
            endpoint=self._kubelet_endpoint,
            supported_versions=["1.0.0"],
        )

    @override
    async def NotifyRegistrationStatus(
        self, request: pb.RegistrationStatus, context: Context
    ) -> pb.RegistrationStatusResponse:
        if request.plugin_registered:
            logger.info("kubelet registered the plugin")
        else:
            logger.error("kubelet refused the plugin", extra={"error": request.error})
            self.refused.set()
        return pb.RegistrationStatusResponse()

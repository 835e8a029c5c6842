"""Who this plugin is, and whether it is ready."""

from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf import wrappers_pb2
from typing_extensions import override

from vfolder_csi._proto import csi_pb2, csi_pb2_grpc
from vfolder_csi.settings import DRIVER_NAME

Context = grpc.aio.ServicerContext[Any, Any]


class IdentityService(csi_pb2_grpc.IdentityServicer):
    """The CSI identity service of a node plugin, which announces no controller.

    Args:
        ready: whether calls are welcome; false while it stops.
    """

    def __init__(self, ready: Callable[[], bool]) -> None:
        self._ready = ready

    @override
    async def GetPluginInfo(
        self, request: csi_pb2.GetPluginInfoRequest, context: Context
    ) -> csi_pb2.GetPluginInfoResponse:
        return csi_pb2.GetPluginInfoResponse(name=DRIVER_NAME, vendor_version=_version())

    @override
    async def GetPluginCapabilities(
        self, request: csi_pb2.GetPluginCapabilitiesRequest, context: Context
    ) -> csi_pb2.GetPluginCapabilitiesResponse:
        return csi_pb2.GetPluginCapabilitiesResponse()

    @override
    async def Probe(self, request: csi_pb2.ProbeRequest, context: Context) -> csi_pb2.ProbeResponse:
        return csi_pb2.ProbeResponse(ready=wrappers_pb2.BoolValue(value=self._ready()))


def _version() -> str:
    # Kubernetes never asks for it, and this import would cost a megabyte at every start.
    import importlib.metadata

    return importlib.metadata.version("vfolder")

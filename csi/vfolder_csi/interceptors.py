"""The one place where errors become gRPC codes and calls become log lines.

The only catch-all of the plugin is here: what nobody foresaw is logged in full and told to the
caller as an id only, because grpc would hand out the text of any exception.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, cast

import grpc
from google.protobuf.message import Message
from typing_extensions import override

from vfolder_csi.errors import CsiError
from vfolder_csi.logs import CORRELATION, SECRETS, known_secrets, scrub
from vfolder_csi.sanitise import sanitised, secret_values

logger = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]
Handler = Callable[[Message, Context], Awaitable[Message]]

if TYPE_CHECKING:  # generic in the stubs only
    MethodHandler = grpc.RpcMethodHandler[Any, Any]

_CHATTY: Final = frozenset(
    {
        "Probe",
        "GetPluginInfo",
        "GetPluginCapabilities",
        "NodeGetCapabilities",
        "NodeGetInfo",
        "NodeGetVolumeStats",
    }
)


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Gives each call a correlation id, one log line and a proper status."""

    @override
    async def intercept_service(
        self,
        continuation: "Callable[[grpc.HandlerCallDetails], Awaitable[MethodHandler | None]]",
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "MethodHandler | None":
        handler = await continuation(handler_call_details)
        if handler is None:
            return None  # a method nobody serves: grpc answers UNIMPLEMENTED
        # The stubs know only the synchronous form of a handler.
        inner = cast("Handler", handler.unary_unary)
        method = handler_call_details.method.rpartition("/")[2]

        async def observed(request: Message, context: Context) -> Message:
            return await _observe(method, inner, request, context)

        return grpc.unary_unary_rpc_method_handler(
            observed,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )


async def _observe(
    method: str,
    inner: Handler,
    request: Message,
    context: Context,
) -> Message:
    correlation = uuid.uuid4().hex[:12]
    CORRELATION.set(correlation)
    SECRETS.set(known_secrets(secret_values(request)))
    begun = time.monotonic()
    fields: dict[str, object] = {
        "method": method,
        "volume": getattr(request, "volume_id", ""),
        "target": getattr(request, "target_path", "")
        or getattr(request, "staging_target_path", ""),
    }
    if (remaining := context.time_remaining()) is not None:
        fields["remaining"] = round(remaining, 1)
    if logger.isEnabledFor(logging.DEBUG):
        logger.debug("call begins", extra={**fields, "request": sanitised(request)})

    def ended(level: int, code: grpc.StatusCode, error: str = "") -> None:
        if logger.isEnabledFor(level):
            fields.update(code=code.name, duration=round(time.monotonic() - begun, 4))
            if error:
                fields["error"] = error
            logger.log(level, "call ended", extra=fields)

    try:
        response = await inner(request, context)
    except CsiError as error:
        ended(logging.WARNING, error.code, str(error))
        await context.abort(error.code, scrub(str(error)))
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            ended(logging.WARNING, grpc.StatusCode.CANCELLED, "the caller went away")
            raise
        # A stray cancellation from below would leave the caller without any answer (grpc#29248).
        ended(logging.ERROR, grpc.StatusCode.INTERNAL, "cancelled from within")
        await context.abort(grpc.StatusCode.INTERNAL, f"internal error, see log id {correlation}")
    except Exception:
        logger.exception("call failed unexpectedly", extra=fields)
        await context.abort(grpc.StatusCode.INTERNAL, f"internal error, see log id {correlation}")
    ended(logging.DEBUG if method in _CHATTY else logging.INFO, grpc.StatusCode.OK)
    return response

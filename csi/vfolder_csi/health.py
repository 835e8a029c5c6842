"""Liveness over HTTP: says that the event loop turns, and asks nothing and nobody else.

A storage that hangs must never get the plugin restarted: a restart would not bring it back.
"""

import asyncio
import contextlib
from typing import Final

_READ_SECONDS: Final = 5.0
_LARGEST_REQUEST: Final = 8192


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        async with asyncio.timeout(_READ_SECONDS):
            request = await reader.readuntil(b"\r\n\r\n")
            found = request.split(b" ", 2)[:2] == [b"GET", b"/healthz"]
            status, body = (b"200 OK", b"ok\n") if found else (b"404 Not Found", b"not found\n")
            writer.write(
                b"HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n"
                b"Connection: close\r\n\r\n%s" % (status, len(body), body)
            )
            await writer.drain()
    except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return  # whoever asked went away, or is no HTTP client
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def serve_health(port: int) -> asyncio.Server:
    """Serve GET /healthz on 127.0.0.1; port 0 takes any free one.

    Raises:
        OSError: the port is taken.
    """
    return await asyncio.start_server(_answer, "127.0.0.1", port, limit=_LARGEST_REQUEST)

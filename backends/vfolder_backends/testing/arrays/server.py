"""Serves a simulated array over HTTPS, from a thread of its own.

So it goes on answering while a test blocks, and can be used without an event loop.
"""

import asyncio
import json
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Final

from aiohttp import web

from vfolder_backends.testing.arrays import control
from vfolder_backends.testing.arrays.calls import Call, Reply
from vfolder_backends.testing.arrays.certificates import Certificate, issue
from vfolder_backends.testing.arrays.faults import BEFORE, Kind
from vfolder_backends.testing.arrays.simulated import SimulatedArray

_FOREVER: Final = 3600.0
_STOP_SECONDS: Final = 10.0
_TURNS: Final = 5


class Server:
    """One array at one address; a context manager.

    Args:
        array: what is served.
        host: address to listen on.
        port: 0 takes a free one.
        certificate: None makes one for `host` and localhost.
        control_port: of `control`, on the loopback address; None leaves it out.
    """

    def __init__(
        self,
        array: SimulatedArray[Any],
        host: str = "127.0.0.1",
        port: int = 0,
        certificate: Certificate | None = None,
        control_port: int | None = None,
    ) -> None:
        self.array = array
        self.certificate = certificate or issue(host, "localhost")
        self.most_in_flight = 0
        self._host, self._port, self._control = host, port, control_port
        self._in_flight = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=f"sim-{array.kind}", daemon=True)
        self._ready: Future[int] = Future()
        self._stop = asyncio.Event()

    @property
    def in_flight(self) -> int:
        """How many calls are being served."""
        return self._in_flight

    @property
    def endpoint(self) -> str:
        """Where it is, without the API's base path."""
        return f"https://{self._host}:{self._port}"

    @property
    def control_endpoint(self) -> str | None:
        """Where `control` is, None where it was left out."""
        return None if self._control is None else f"http://127.0.0.1:{self._control}"

    def start(self) -> None:
        """Listen; `OSError` when the port is taken."""
        self._thread.start()
        self._port = self._ready.result(_STOP_SECONDS)

    def stop(self) -> None:
        """Stop listening, and drop what is under way."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_STOP_SECONDS)

    def __enter__(self) -> "Server":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def join(self) -> None:
        """Serve until somebody stops it."""
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        if self._control is None:
            await self._serve_array()
            return
        desk = web.AppRunner(control.application(self.array), access_log=None, shutdown_timeout=0)
        await desk.setup()
        try:
            await web.TCPSite(desk, "127.0.0.1", self._control).start()
            self._control = desk.addresses[0][1]
            await self._serve_array()
        except OSError as error:
            self._ready.set_exception(error)
        finally:
            await desk.cleanup()

    async def _serve_array(self) -> None:
        app = web.Application(client_max_size=16 << 20)
        app.router.add_route("*", "/{path:.*}", self._handle)
        # A caller that leaves is noticed: "late" and "hang" depend on it.
        runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0)
        await runner.setup()
        try:
            site = web.TCPSite(runner, self._host, self._port, ssl_context=self.certificate.context)
            await site.start()
        except BaseException as error:  # noqa: BLE001 - carried to whoever started us
            await runner.cleanup()
            self._ready.set_exception(error)
            return
        self._ready.set_result(runner.addresses[0][1])
        await self._stop.wait()
        for connection in runner.server.connections if runner.server else ():
            if connection.transport is not None:
                connection.transport.abort()
        await runner.cleanup()
        for _ in range(_TURNS):  # a transport closes its socket some turns after it was told
            await asyncio.sleep(0)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self._in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self._in_flight)
        try:
            return await self._answer(request)
        finally:
            self._in_flight -= 1

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        array = self.array
        if array.latency:
            await asyncio.sleep(array.latency)
        found = array.find(request.method, request.raw_path.partition("?")[0])
        if found is None:
            array.violations.append(f"{request.method} {request.path} is no call of this array")
            return _response(array.refusal(404, "no such call"))
        route, params = found
        array.served[route] += 1
        kind = array.faults.take(route)
        if kind in BEFORE:
            return await self._fail(request, kind)
        try:
            call = Call(
                route,
                request.path.removeprefix(array.base),
                params,
                {name: request.query.getall(name) for name in request.query},
                await _body(request),
                {name.lower(): value for name, value in request.headers.items()},
            )
        except ValueError:
            array.violations.append(f"{route}: the body is neither JSON nor a form")
            return _response(array.refusal(400, "the body cannot be read"))
        if kind is Kind.LATE:
            try:
                await asyncio.sleep(_FOREVER)
            except asyncio.CancelledError:
                array.serve(call)
                raise
        reply = array.serve(call, kind)
        if kind is Kind.LOST:
            return _reset(request)
        if kind is Kind.TRUNCATED:
            return await _cut(request, reply)
        return _response(reply)

    async def _fail(self, request: web.Request, kind: Kind) -> web.StreamResponse:
        if kind is Kind.HANG:
            await asyncio.sleep(_FOREVER)
        if kind is Kind.RESET:
            return _reset(request)
        reply = self.array.fail(kind)
        assert reply is not None
        return _response(reply)


async def _body(request: web.Request) -> object:
    if not request.can_read_body:
        return None
    if request.content_type == "application/x-www-form-urlencoded":
        form: Mapping[str, object] = await request.post()
        return dict(form)
    text = await request.text()
    return json.loads(text) if text else None


def _response(reply: Reply) -> web.Response:
    made = web.Response(
        status=reply.status,
        body=reply.encoded(),
        content_type="application/json" if reply.body is not None else None,
    )
    for name, value in reply.headers:
        made.headers.add(name, value)
    return made


def _reset(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def _cut(request: web.Request, reply: Reply) -> web.StreamResponse:
    """Announce the whole body, send half of it, and hang up."""
    body = reply.encoded() or b" " * 64
    made = web.StreamResponse(status=reply.status)
    made.content_type = "application/json"
    made.content_length = len(body)
    await made.prepare(request)
    await made.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()
    return made

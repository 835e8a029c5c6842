"""What only somebody at the array can do, over plain HTTP beside the simulated interface.

    GET    /limits      every limit by what it is on
    PUT    /limits      {"name": SCOPE, "bytes": N, "files": N}: change it behind everybody's back
    PUT    /password    {"account": NAME, "password": TEXT}: all its sessions are over, too
    PUT    /fault       {"kind": "RESET", "nth": 0, "route": "", "times": 1}: see `faults`
    DELETE /fault       nothing goes wrong any more
    GET    /report      {"calls": {ROUTE: N}, "violations": [...], "secrets": [...]}

For tests and for trying things out; it asks for no password, so it belongs on a loopback address.
"""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from aiohttp import web

from vfolder_backends.testing.arrays.disk import Limit
from vfolder_backends.testing.arrays.faults import Fault, Kind
from vfolder_backends.testing.arrays.simulated import SimulatedArray


def application(array: SimulatedArray[Any]) -> web.Application:
    """Return the routes for one array."""
    app = web.Application(middlewares=[_bad_requests])
    desk = _Desk(array)
    app.add_routes(
        [
            web.get("/limits", desk.limits),
            web.put("/limits", desk.tamper),
            web.put("/password", desk.rotate),
            web.put("/fault", desk.arm),
            web.delete("/fault", desk.calm),
            web.get("/report", desk.report),
        ]
    )
    return app


class _Desk:
    def __init__(self, array: SimulatedArray[Any]) -> None:
        self._array = array

    async def limits(self, request: web.Request) -> web.Response:
        with self._array.lock:
            return web.json_response({p: asdict(x) for p, x in self._array.limits().items()})

    async def tamper(self, request: web.Request) -> web.Response:
        asked = await request.json()
        with self._array.lock:
            self._array.tamper(asked["name"], Limit(asked.get("bytes"), asked.get("files")))
            self._array.apply()
        return web.Response()

    async def rotate(self, request: web.Request) -> web.Response:
        asked = await request.json()
        with self._array.lock:
            self._array.tokens.rotate(asked["account"], asked["password"])
        return web.Response()

    async def arm(self, request: web.Request) -> web.Response:
        asked = await request.json()
        with self._array.lock:
            self._array.faults.arm(Fault(**{**asked, "kind": Kind[asked["kind"]]}))
        return web.Response()

    async def calm(self, request: web.Request) -> web.Response:
        self._array.calm()
        return web.Response()

    async def report(self, request: web.Request) -> web.Response:
        array = self._array
        with array.lock:
            told = {
                "calls": dict(array.served),
                "violations": array.violations,
                "secrets": sorted(array.secrets),
            }
        return web.json_response(told)


@web.middleware
async def _bad_requests(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except (KeyError, TypeError, ValueError) as error:
        raise web.HTTPBadRequest(text=f"{type(error).__name__}: {error}") from error

"""The HTTP side: /healthz, /readyz and /metrics."""

from collections.abc import Callable

from aiohttp import web

from vfolder_operator.metrics import Metrics


class Probes:
    """Serves probes and metrics.

    /healthz proves that the event loop turns: a storage or an API server that is away is no reason
    to restart. /readyz says whether this replica leads or stands by in good order.
    """

    def __init__(self, metrics: Metrics, ready: Callable[[], str]) -> None:
        """`ready` returns an empty text, or why not."""
        self.metrics = metrics
        self._ready = ready
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self, port: int) -> None:
        """Listen on all addresses; port 0 takes a free one."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._render),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, None, port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        why = self._ready()
        return web.Response(text=f"{why or 'ok'}\n", status=503 if why else 200)

    async def _render(self, _: web.Request) -> web.Response:
        return web.Response(body=self.metrics.render(), content_type="text/plain")

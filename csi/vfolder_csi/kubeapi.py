"""Reads StorageBackends, and a pod where need be, with the plugin's own service account.

The standard library's HTTP client in a thread: one small GET per backend and half a minute is all
there is, and a Kubernetes client would not fit into the plugin's memory budget.
"""

import asyncio
import http.client
import json
import logging
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from vfolder_csi.directory import Backend, parse_backend
from vfolder_csi.errors import FailedPrecondition, NotFound, Unavailable
from vfolder_csi.pool import Pool

logger = logging.getLogger(__name__)

LANE: Final = "apiserver"
_BACKENDS: Final = "/apis/vfolder.dev/v1alpha1/storagebackends/"
_LARGEST_BODY: Final = 4 << 20
_RETRY_SECONDS: Final = 5.0
"""How long an old answer serves before an API server that was silent is asked again."""


@dataclass(frozen=True, slots=True)
class ApiServer:
    """How to reach the API server, as Kubernetes tells every pod.

    Attributes:
        account: folder with the service account's `token` and `ca.crt`.
        timeout: of one request, in seconds.
    """

    host: str
    port: int
    account: Path = Path("/var/run/secrets/kubernetes.io/serviceaccount")
    timeout: float = 5.0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "ApiServer":
        """Read what kubelet sets in every container."""
        host = environment.get("KUBERNETES_SERVICE_HOST", "kubernetes.default.svc")
        return cls(host, int(environment.get("KUBERNETES_SERVICE_PORT", "443")))

    def get(self, path: str) -> tuple[int, bytes]:
        """Fetch one object; blocking. Token and certificate are read anew, as they rotate.

        Raises:
            OSError: no connection, no valid certificate, no answer, no token.
            http.client.HTTPException: an answer that is no HTTP.
        """
        token = (self.account / "token").read_text(encoding="ascii").strip()
        context = ssl.create_default_context(cafile=str(self.account / "ca.crt"))
        connection = http.client.HTTPSConnection(
            self.host, self.port, timeout=self.timeout, context=context
        )
        try:
            headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            return response.status, response.read(_LARGEST_BODY)
        finally:
            connection.close()


@dataclass(slots=True)
class _Entry:
    backend: Backend
    fetched: float
    believed_until: float


class KubernetesDirectory:
    """A `BackendDirectory` that remembers answers, and serves old ones when there are no new ones.

    Args:
        server: the API server.
        pool: where its requests block.
        cache_seconds: how long an answer is believed without asking again.
    """

    def __init__(self, server: ApiServer, pool: Pool, cache_seconds: float) -> None:
        self._server = server
        self._pool = pool
        self._cache_seconds = cache_seconds
        self._entries: dict[str, _Entry] = {}
        self._fetches: dict[str, asyncio.Task[Backend]] = {}

    async def get(self, name: str) -> Backend:
        """See `BackendDirectory.get`; callers that come together share one request."""
        entry = self._entries.get(name)
        if entry is not None and time.monotonic() < entry.believed_until:
            return entry.backend
        fetch = self._fetches.get(name)
        if fetch is None:
            fetch = asyncio.create_task(self._fetch(name))
            self._fetches[name] = fetch
            fetch.add_done_callback(lambda ended: self._fetched(name, ended))
        try:
            return await asyncio.shield(fetch)
        except Unavailable as error:
            if entry is None:
                raise
            now = time.monotonic()
            entry.believed_until = now + _RETRY_SECONDS
            age = now - entry.fetched
            logger.warning(
                "API server does not answer, an older answer serves on",
                extra={"backend": name, "age": round(age), "error": str(error)},
            )
            return entry.backend

    def _fetched(self, name: str, ended: asyncio.Task[Backend]) -> None:
        self._fetches.pop(name, None)
        if not ended.cancelled():
            ended.exception()  # a caller that went away fetches no result: that is no leak

    async def _fetch(self, name: str) -> Backend:
        try:
            status, body = await self._pool.run(
                LANE, self._server.timeout * 1.5, lambda: self._server.get(_BACKENDS + name)
            )
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"API server: reading StorageBackend {name}: {error!r}") from error
        if status == http.client.NOT_FOUND:
            self._entries.pop(name, None)
            raise NotFound(f"there is no StorageBackend {name!r}")
        if status in (http.client.UNAUTHORIZED, http.client.FORBIDDEN):
            raise Unavailable(
                f"API server: the node plugin may not read StorageBackend {name} (HTTP {status}); "
                "check its ClusterRole and service account"
            )
        if status != http.client.OK:
            raise Unavailable(f"API server: reading StorageBackend {name}: HTTP {status}")
        backend = parse_backend(name, json_object(f"StorageBackend {name}", body))
        now = time.monotonic()
        self._entries[name] = _Entry(backend, now, now + self._cache_seconds)
        return backend


def json_object(what: str, body: bytes) -> Mapping[str, Any]:
    """Parse what the API server said of `what`.

    Raises:
        Unavailable: it is no JSON.
        FailedPrecondition: it is no object.
    """
    try:
        value = json.loads(body)
    except ValueError as error:
        raise Unavailable(f"API server: {what} is not JSON") from error
    if not isinstance(value, dict):
        raise FailedPrecondition(f"{what} is not an object")
    return value

"""One array, as a vendor's client sees it: `send` a request, get an answer or one of our errors.

Each call waits for a place (`limits.maxConcurrent`), passes the circuit breaker, gets the session's
headers, is sent, and is sent again where that is safe. The whole of it has one deadline.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Final
from urllib.parse import urlsplit

from vfolder_backends.config import BackendConfig
from vfolder_backends.errors import AnswerLost, DeadlineExceeded, Misconfigured, Unavailable
from vfolder_backends.facts import Link
from vfolder_backends.transport import refusals, tls
from vfolder_backends.transport.breaker import Breaker
from vfolder_backends.transport.messages import Answer, Request
from vfolder_backends.transport.redact import Redactor
from vfolder_backends.transport.refusals import Classify, Refusal
from vfolder_backends.transport.retries import Retries, pause
from vfolder_backends.transport.sessions import Auth
from vfolder_backends.transport.wire import Lost, NotSent, Wire

_LOG = logging.getLogger(__name__)
_ATTEMPT_SHARE: Final = 0.4  # of a call's deadline, for one sending: what hangs is tried once more

INSECURE: Final = (
    "tls.insecureSkipVerify is set: whoever answers at the endpoint gets our credentials"
)


class Channel:
    """The calls to one array; belongs to one event loop.

    Args:
        config: endpoint (several, separated by commas, are tried in turn when one cannot be
            reached), TLS, credentials to keep out of messages, deadline, concurrency.
        auth: how calls are authenticated.
        base: the path that all calls begin with.
        classify: reads the vendor's error bodies.
        retry: what is sent again.

    Raises:
        Misconfigured: the endpoint or the CA bundle cannot work.
    """

    def __init__(
        self,
        config: BackendConfig,
        auth: Auth,
        base: str = "",
        classify: Classify = refusals.by_status,
        retry: Retries | None = None,
    ) -> None:
        self.array = f"{config.type} {config.name!r}"
        self.warnings = (INSECURE,) if config.insecure_skip_verify else ()
        self._bases = [f"{address}{base}" for address in addresses(config.endpoint)]
        self._auth = auth
        self._classify = classify
        self._retry = retry or Retries()
        self._timeout = config.call_timeout
        self._attempt_timeout = config.attempt_timeout or self._timeout * _ATTEMPT_SHARE
        self._redactor = Redactor(
            value for key, value in config.credentials.items() if key != "username"
        )
        self._breaker = Breaker(self.array)
        self._places = asyncio.Semaphore(config.max_concurrent)
        trust = tls.context(config.ca_bundle, config.insecure_skip_verify)
        self._wire = Wire(trust, config.max_concurrent, f"vfolder/{_version()}")
        self._in_flight = self._calls = self._failures = 0
        self._closed = False

    @property
    def link(self) -> Link:
        """How the connection to the array does."""
        return Link(self._breaker.state, self._in_flight, self._calls, self._failures)

    def keep_secret(self, text: str) -> None:
        """Keep `text` out of every message from now on."""
        self._redactor.add(text)

    def clean(self, text: str) -> str:
        """Return `text` without any secret."""
        return self._redactor.clean(text)

    async def send(self, request: Request) -> Answer:
        """Send an authenticated call; a session that is over is renewed once on the way.

        Raises:
            AnswerLost: it may have been carried out, and cannot be repeated blindly.
            DeadlineExceeded: not finished in time; the same holds.
            Unavailable, PermissionDenied, Missing, Exists, ...: what the array says.
        """
        async with self._deadline(request):
            headers = await self._auth.headers(self)
            answer = await self._exchange(request, headers)
            if self._auth.rejected(answer):
                headers = await self._auth.headers(self, headers)
                answer = await self._exchange(request, headers)
            self._auth.observe(self, answer)
            return self._accepted(answer)

    async def knock(self, request: Request) -> Answer:
        """Send a call without a session: logins, and what is open to all."""
        async with self._deadline(request):
            return self._accepted(await self._exchange(request, {}))

    def _refusal(self, answer: Answer) -> Refusal | None:
        return self._classify(answer) or refusals.by_status(answer)

    def _accepted(self, answer: Answer) -> Answer:
        refusal = self._refusal(answer)
        if refusal is not None:
            raise refusal.kind(self.clean(refusals.message(refusal, answer, self.array)))
        return answer

    async def _exchange(self, request: Request, headers: Mapping[str, str]) -> Answer:
        """Send until there is an answer to be taken as it is."""
        attempt = 0
        while True:
            attempt += 1
            async with self._places:
                outcome = await self._attempt(request, headers)
            if isinstance(outcome, Answer):
                wait = self._retry.pause_after(request, outcome, attempt)
                if wait is None:
                    return outcome
            else:
                again = request.may_repeat or not isinstance(outcome, AnswerLost)
                if not again or attempt >= max(self._retry.attempts, len(self._bases)):
                    raise outcome
                wait = pause(attempt)
            await asyncio.sleep(wait)

    async def _attempt(self, request: Request, headers: Mapping[str, str]) -> Answer | Unavailable:
        """Send once; what leaves open whether to send again is returned, not raised."""
        if self._closed:
            raise Unavailable(f"{self.array} is closed")
        started, request_id = time.monotonic(), secrets.token_hex(6)
        sent = {"X-Request-ID": request_id, **headers}
        outcome: Answer | Unavailable | None = None
        self._calls += 1
        self._in_flight += 1
        try:
            with self._breaker.passage():
                try:
                    outcome = await self._wire.send(
                        self._bases[0], request, sent, self._attempt_timeout
                    )
                except NotSent as error:
                    self._bases.append(self._bases.pop(0))
                    outcome = Unavailable(self.clean(f"{self.array}: {error}"))
                except Lost as error:
                    lost = f"{self.array}: {request.call}: {error}; it may have been carried out"
                    outcome = AnswerLost(self.clean(lost))
                self._record(outcome)
        finally:
            self._in_flight -= 1
            self._log(request, request_id, outcome, time.monotonic() - started)
        return outcome

    def _record(self, outcome: Answer | Unavailable) -> None:
        if isinstance(outcome, Answer):
            # Vendors answer 500 to plain questions, too: only what it is classified as counts.
            refusal = self._refusal(outcome)
            if refusal is None or not issubclass(refusal.kind, Unavailable):
                self._breaker.succeeded()
                return
            cause = self.clean(refusals.message(refusal, outcome, self.array))
        else:
            cause = str(outcome)
        self._failures += 1
        self._breaker.failed(cause)

    def _log(
        self, request: Request, request_id: str, outcome: Answer | Unavailable | None, took: float
    ) -> None:
        if isinstance(outcome, Answer):
            result: int | str = outcome.status
        else:
            result = "left" if outcome is None else type(outcome).__name__
        _LOG.debug(
            "array call",
            extra={
                "array": self.array,
                "call": request.call,
                "result": result,
                "seconds": round(took, 4),
                "requestID": request_id,
            },
        )

    @asynccontextmanager
    async def _deadline(self, request: Request) -> AsyncIterator[None]:
        limit = asyncio.timeout(self._timeout)
        try:
            async with limit:
                yield
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise DeadlineExceeded(
                f"{self.array}: {request.call}: not finished within {self._timeout:g} s"
            ) from error

    async def close(self) -> None:
        """Take no more calls and close the connections."""
        self._closed = True
        await self._wire.close()


def addresses(endpoint: str) -> list[str]:
    """Return the addresses in an endpoint, without a slash at the end.

    Raises:
        Misconfigured: none, or one that is no https address of a host.
    """
    found = []
    for part in endpoint.replace(",", " ").split():
        try:
            parsed = urlsplit(part)
            host, _ = parsed.hostname, parsed.port
        except ValueError as error:
            raise Misconfigured(f"endpoint: {part!r}: {error}") from error
        if parsed.username or parsed.password:
            # Not shown: it holds a password.
            raise Misconfigured("endpoint: user names and passwords belong into the Secret")
        if parsed.scheme != "https" or not host or parsed.query or parsed.fragment:
            raise Misconfigured(f"endpoint: {part!r} is not of the form https://HOST[:PORT][/PATH]")
        found.append(part.rstrip("/"))
    if not found:
        raise Misconfigured(
            "endpoint: is empty; it is the https address of the management interface"
        )
    return found


def _version() -> str:
    try:
        return version("vfolder")
    except PackageNotFoundError:
        return "unknown"

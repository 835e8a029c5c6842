"""The only module that knows the HTTP library: httpx goes in here, and nothing of it comes out."""

import asyncio
import logging
import ssl
from collections.abc import Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Final

import httpx

from vfolder_backends.errors import Misconfigured
from vfolder_backends.transport.messages import Answer, Request

_MOST: Final = 64 << 20  # bytes of one answer
_CONNECT_SHARE: Final = 0.5

# They log addresses, and at DEBUG every header with its tokens; we have a line of our own per call.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)


class NotSent(Exception):
    """The array was not reached: the request was certainly not carried out."""


class Lost(Exception):
    """The request went out, and no whole answer came back: it may have been carried out."""


class Wire:
    """Connections to one array, kept alive between calls.

    Args:
        trust: which certificates are accepted.
        connections: how many there may be.
        agent: the User-Agent.
    """

    def __init__(self, trust: ssl.SSLContext, connections: int, agent: str) -> None:
        self._client = httpx.AsyncClient(
            verify=trust,
            headers={"User-Agent": agent, "Accept": "application/json"},
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            follow_redirects=False,
            trust_env=False,  # neither a proxy nor ~/.netrc stands between an array and us
        )
        # Cookies are session state, and sessions are ours.
        self._client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))

    async def send(
        self, base: str, request: Request, headers: Mapping[str, str], timeout: float
    ) -> Answer:
        """Send one request and read the whole answer, both within `timeout` seconds.

        Raises:
            NotSent: nothing can have happened.
            Lost: it may have.
            Misconfigured: the certificate is not trusted.
        """
        limits = httpx.Timeout(timeout, connect=timeout * _CONNECT_SHARE)
        try:
            async with (
                asyncio.timeout(timeout),
                self._client.stream(
                    request.method,
                    base + request.target,
                    json=request.json,
                    data=request.form,
                    headers={**request.headers, **headers},
                    timeout=limits,
                ) as response,
            ):
                body = bytearray()
                async for part in response.aiter_bytes():
                    body += part
                    if len(body) > _MOST:
                        raise Lost(f"the answer is larger than {_MOST} bytes")
                found = tuple(response.headers.multi_items())
                return Answer(request.call, response.status_code, found, bytes(body))
        except TimeoutError as error:
            raise Lost(f"no answer within {timeout:g} s") from error
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            refused = _certificate_error(error)
            if refused is not None:
                raise Misconfigured(
                    f"tls.caBundle: the certificate of {base} is not trusted:"
                    f" {refused.verify_message or refused}"
                ) from error
            raise NotSent(f"{base} cannot be reached: {_words(error)}") from error
        except httpx.TimeoutException as error:
            raise Lost(f"no answer within {timeout:g} s") from error
        except httpx.HTTPError as error:
            raise Lost(f"the connection broke: {_words(error)}") from error
        except httpx.InvalidURL as error:
            raise Misconfigured(f"endpoint: {base} is not an address: {error}") from error

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__


def _certificate_error(error: BaseException) -> ssl.SSLCertVerificationError | None:
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            return seen
        seen = seen.__cause__ or seen.__context__
    return None

"""Logging in, and staying logged in, for many callers at once.

An `Auth` gives the headers of each call. `SessionAuth` fits all that log in first: bearer tokens
with or without a refresh token, a header token, cookies with a CSRF header. A vendor only says how
one session is made, renewed and recognised as over. However many calls find their session over, one
of them makes the new one and all go on with it; and if that is refused, all are told, so that an
account is not locked by a crowd of logins.
"""

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from vfolder_backends.errors import PermissionDenied
from vfolder_backends.transport.messages import Answer, Request

_EARLY: Final = 30.0  # seconds before its end at which a session is renewed, at most half its life
_PATIENCE: Final = 3  # refused logins in a row before waiting
_FIRST_WAIT: Final = 10.0
_LONGEST_WAIT: Final = 300.0


class Door(Protocol):
    """What a login has to work with: calls without a session, and a place for new secrets."""

    async def knock(self, request: Request) -> Answer:
        """Send a request without a session; an answer that is not `ok` raises."""
        ...

    def keep_secret(self, text: str) -> None:
        """Keep `text` out of every message from now on."""
        ...


class Auth(Protocol):
    """How calls are authenticated."""

    async def headers(
        self, door: Door, stale: Mapping[str, str] | None = None
    ) -> Mapping[str, str]:
        """Return the headers of a call; those in `stale` were rejected."""
        ...

    def rejected(self, answer: Answer) -> bool:
        """Whether the answer says that the session is over, and a new one may help."""
        ...

    def observe(self, door: Door, answer: Answer) -> None:
        """Look at every answer; some arrays renew a session in passing."""
        ...


class NoAuth:
    """For calls that need none."""

    async def headers(
        self, door: Door, stale: Mapping[str, str] | None = None
    ) -> Mapping[str, str]:
        """None."""
        return {}

    def rejected(self, answer: Answer) -> bool:
        """Never: there is nothing to renew."""
        return False

    def observe(self, door: Door, answer: Answer) -> None:
        """Nothing to see."""


class BasicAuth(NoAuth):
    """User name and password with every call."""

    def __init__(self, username: str, password: str) -> None:
        self._value = "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()

    async def headers(
        self, door: Door, stale: Mapping[str, str] | None = None
    ) -> Mapping[str, str]:
        """Return the one header."""
        door.keep_secret(self._value.removeprefix("Basic "))
        return {"Authorization": self._value}


class HeaderAuth(NoAuth):
    """A token that never changes, in a header."""

    def __init__(self, name: str, value: str) -> None:
        self._header = {name: value}

    async def headers(
        self, door: Door, stale: Mapping[str, str] | None = None
    ) -> Mapping[str, str]:
        """Return the one header."""
        return self._header


@dataclass(frozen=True, slots=True)
class Session:
    """One login.

    Attributes:
        headers: sent with every call; their values are secrets.
        seconds: how long it lives, None where that is not known.
        renewal: what it is renewed with, such as a refresh token.
        made_at: in the monotonic clock's time.
    """

    headers: Mapping[str, str] = field(repr=False)
    seconds: float | None = None
    renewal: str = field(default="", repr=False)
    made_at: float = field(default_factory=time.monotonic)

    @property
    def ending(self) -> bool:
        """Whether it is over, or nearly."""
        if self.seconds is None:
            return False
        return time.monotonic() > self.made_at + self.seconds - min(_EARLY, self.seconds / 2)


Login = Callable[[Door], Awaitable[Session]]
Renew = Callable[[Door, Session], Awaitable[Session]]


def _is_401(answer: Answer) -> bool:
    return answer.status == 401


class SessionAuth:
    """One session for all calls to an array.

    Args:
        login: makes a session.
        renew: makes one from the last; refused, `login` is tried.
        rejected: reads an answer for "your session is over"; status 401 by default.
        replaced: reads an answer for a session that takes the place of the present one.
    """

    def __init__(
        self,
        login: Login,
        renew: Renew | None = None,
        rejected: Callable[[Answer], bool] = _is_401,
        replaced: Callable[[Session, Answer], Session | None] | None = None,
    ) -> None:
        self._login = login
        self._renew = renew
        self._rejected = rejected
        self._replaced = replaced
        self._session: Session | None = None
        self._flight: asyncio.Task[Session] | None = None
        self._refused = 0
        self._wait_until = 0.0
        self._refusal = ""

    async def headers(
        self, door: Door, stale: Mapping[str, str] | None = None
    ) -> Mapping[str, str]:
        """Return the session's headers; a session is made if there is none that will do."""
        session = self._session
        if session is None or session.ending or session.headers is stale:
            session = await self._join(door)
        return session.headers

    async def _join(self, door: Door) -> Session:
        if self._flight is None:
            self._flight = asyncio.create_task(self._fly(door), name="array login")
            self._flight.add_done_callback(self._landed)
        # Shielded: the one who began may leave at its deadline, the others still wait for it.
        return await asyncio.shield(self._flight)

    def _landed(self, flight: asyncio.Task[Session]) -> None:
        self._flight = None
        if not flight.cancelled():
            flight.exception()  # retrieved here, too, for the case that everybody left

    async def _fly(self, door: Door) -> Session:
        old, made = self._session, None
        if old is not None and self._renew is not None and old.renewal:
            try:
                made = await self._renew(door, old)
            except PermissionDenied:
                made = None  # the renewal is over as well
        if made is None:
            made = await self._log_in(door)
        self._keep(door, made)
        self._session = made
        return made

    async def _log_in(self, door: Door) -> Session:
        if time.monotonic() < self._wait_until:
            raise PermissionDenied(
                f"{self._refusal}; refused {self._refused} times, not tried again for a while, so"
                " that the account is not locked"
            )
        try:
            made = await self._login(door)
        except PermissionDenied as error:
            self._refused += 1
            self._refusal = str(error)
            if self._refused >= _PATIENCE:
                wait = min(_FIRST_WAIT * 2 ** (self._refused - _PATIENCE), _LONGEST_WAIT)
                self._wait_until = time.monotonic() + wait
            raise
        self._refused = 0
        return made

    def _keep(self, door: Door, session: Session) -> None:
        for value in (*session.headers.values(), session.renewal):
            for part in (value, value.rpartition(" ")[2], value.rpartition("=")[2]):
                door.keep_secret(part)

    def rejected(self, answer: Answer) -> bool:
        """See `Auth`."""
        return self._rejected(answer)

    def observe(self, door: Door, answer: Answer) -> None:
        """Take the session that the answer brings, if it brings one."""
        if self._replaced is None or self._session is None:
            return
        brought = self._replaced(self._session, answer)
        if brought is not None:
            self._keep(door, brought)
            self._session = brought

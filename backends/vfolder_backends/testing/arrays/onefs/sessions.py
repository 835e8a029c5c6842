"""Sessions of a simulated OneFS cluster: two cookies, a check against forged calls, one node."""

import secrets
import time
from dataclasses import dataclass
from http.cookies import SimpleCookie
from urllib.parse import urlsplit

from vfolder_backends.testing.arrays.calls import Call
from vfolder_backends.testing.arrays.tokens import Account, Tokens


@dataclass(frozen=True, slots=True)
class _Session:
    account: Account
    csrf: str
    node: int
    ends_at: float


class Sessions:
    """The sessions in use.

    Args:
        tokens: who may log in; keeps all cookies there ever were.
    """

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._live: dict[str, _Session] = {}

    def begin(self, account: Account, node: int, seconds: float) -> tuple[tuple[str, str], ...]:
        """Return the headers that give a new session."""
        cookie = self._tokens.give(account, seconds)
        csrf = secrets.token_urlsafe(24)
        self._tokens.ever.add(csrf)
        self._live[cookie] = _Session(account, csrf, node, time.monotonic() + seconds)
        shown = "path=/; HttpOnly; Secure"
        return (
            ("Set-Cookie", f"isisessid={cookie}; {shown}"),
            ("Set-Cookie", f"isicsrf={csrf}; path=/; Secure"),
        )

    def check(self, call: Call, node: int) -> Account | None:
        """Return whose session a call belongs to, None unless cookie, token, referer, node fit."""
        found = self._find(call)
        if found is None or found.node != node:
            return None
        referer = urlsplit(call.headers.get("referer", "")).netloc
        forged = call.headers.get("x-csrf-token") != found.csrf
        return None if forged or referer != call.headers.get("host") else found.account

    def seconds_left(self, call: Call) -> float | None:
        """Return how long the session of a call lives, None without one."""
        found = self._find(call)
        return found.ends_at - time.monotonic() if found else None

    def _find(self, call: Call) -> _Session | None:
        cookies: SimpleCookie = SimpleCookie(call.headers.get("cookie", ""))
        cookie = cookies["isisessid"].value if "isisessid" in cookies else ""
        return self._live.get(cookie) if self._tokens.check(cookie) else None

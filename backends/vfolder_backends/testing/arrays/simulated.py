"""The frame of a simulated array: routes, checks, faults and state; a vendor fills in the rest.

    class Weka(SimulatedArray[State]):
        kind = "weka"
        base = "/api/v2"

        def routes(self): return {"GET /fileSystems": self._list, ...}

A handler gets the state and the call and returns a `Reply`. All that a change can change is in the
state, one dataclass that can be copied: stale reads are answered from a copy.
"""

import copy
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from http.cookies import SimpleCookie
from typing import ClassVar, Final, Generic, TypeVar

from vfolder_backends.testing.arrays.calls import Call, Reply
from vfolder_backends.testing.arrays.disk import Disk, Limit
from vfolder_backends.testing.arrays.documents import Document
from vfolder_backends.testing.arrays.faults import JOB_FAULTS, STATUS, Faults, Kind
from vfolder_backends.testing.arrays.jobs import Jobs
from vfolder_backends.testing.arrays.tokens import Tokens

StateT = TypeVar("StateT")
Handler = Callable[[StateT, Call], Reply]

_CREDENTIALS: Final = ("authorization", "x-auth-token", "x-csrf-token", "api-token")
_STALE_READS: Final = 3
_CALM_CALLS: Final = 100


class SimulatedArray(ABC, Generic[StateT]):
    """One array; calls come one at a time, from any thread.

    Args:
        disk: its file system.
        state: how it begins.
        tokens: who may call.

    Attributes:
        violations: every word, in a request or in a reply, that the document does not have. A test
            run that ends with any has failed.
        served: how often each route was called.
        faults: what goes wrong.
        latency: seconds that each call takes.
        chatty: a field that no document has is in each reply: what the check must find.
    """

    kind: ClassVar[str]
    base: ClassVar[str] = ""
    shown_base: ClassVar[str] = ""  # what an operator writes behind host and port
    open_routes: ClassVar[frozenset[str]] = frozenset()
    fault_kinds: ClassVar[frozenset[Kind]] = frozenset(Kind) - JOB_FAULTS

    def __init__(self, disk: Disk, state: StateT, tokens: Tokens) -> None:
        self.disk = disk
        self.state = state
        self.tokens = tokens
        self.faults = Faults()
        self.jobs = Jobs()
        self.violations: list[str] = []
        self.served: Counter[str] = Counter()
        self.latency = 0.0
        self.chatty = False
        self.lock = threading.RLock()
        self.document = self.published()
        self._routes = self.routes()
        self._presented: set[str] = set()
        self._stale: StateT | None = None
        self._stale_reads = 0
        unknown = set(self._routes) - self.document.routes
        assert not unknown, f"handlers for calls that the document does not have: {unknown}"

    @abstractmethod
    def published(self) -> Document:
        """Return what the vendor published, amended where other sources tell more."""

    @abstractmethod
    def routes(self) -> Mapping[str, Handler[StateT]]:
        """Return the handler of each route; a call without one is not simulated."""

    @abstractmethod
    def authenticate(self, call: Call) -> Reply | None:
        """Return the refusal of a call that is not authenticated, None when it is."""

    @abstractmethod
    def refusal(self, status: int, text: str) -> Reply:
        """Return an error as this vendor words it."""

    @abstractmethod
    def limits(self) -> Mapping[str, Limit]:
        """Return every quota object by what it is on: what a test compares with what it wants."""

    @abstractmethod
    def tamper(self, name: str, limit: Limit) -> None:
        """Change the limits of the directory of that name, as somebody at the array would.

        Raises:
            KeyError: nothing limits a directory of that name.
        """

    def unauthorized(self) -> Reply:
        """Return what the vendor answers to a session that is over."""
        return self.refusal(401, "Unauthorized")

    def passed(self, calls: int = 1) -> None:
        """Let the time of some calls pass; vendors with slow states add them."""
        for _ in range(calls):
            self.jobs.tick()

    def calm(self) -> None:
        """Let nothing more go wrong, and enough time pass for all that was under way."""
        with self.lock:
            self.faults.clear()
            self._stale = None
            self.jobs.finish()
            self.passed(_CALM_CALLS)
            self.apply()

    @property
    def secrets(self) -> frozenset[str]:
        """Every password, token and cookie in use or used before, and what callers presented."""
        passwords = {account.password for account in self.tokens.accounts.values()}
        return frozenset(passwords | self.tokens.ever | self._presented)

    def find(self, method: str, path: str) -> tuple[str, Mapping[str, str]] | None:
        """Return route and path parameters of what a request asks for."""
        if not path.startswith(self.base):
            return None
        found = self.document.find(method, path.removeprefix(self.base))
        return (found[0].route, found[1]) if found else None

    def forget_sessions(self) -> None:
        """Let all sessions be over."""
        self.tokens.end_all()

    def fail(self, kind: Kind) -> Reply | None:
        """Return the reply of a fault that is one."""
        if kind is Kind.UNAUTHORIZED:
            self.forget_sessions()
            return self.unauthorized()
        status = STATUS.get(kind)
        if status is None:
            return None
        reply = self.refusal(status, f"fault: {kind}")
        busy = kind in (Kind.TOO_MANY, Kind.UNAVAILABLE)
        return replace(reply, headers=(("Retry-After", "0"),)) if busy else reply

    def serve(self, call: Call, kind: Kind | None = None) -> Reply:
        """Carry a call out and return the reply; checks both against the document."""
        with self.lock:
            self._presented |= presented(call.headers)
            self.passed()
            wrong = self.document.check_request(call)
            if wrong:
                self.violations += wrong
                return self.refusal(400, "; ".join(wrong))
            if call.route not in self.open_routes:
                refused = self.authenticate(call)
                if refused is not None:
                    return self._checked(call, refused)
            handler = self._routes.get(call.route)
            if handler is None:
                self.violations.append(f"{call.route} is not simulated")
                return self.refusal(404, "not simulated")
            if kind in JOB_FAULTS:
                self.jobs.fault = kind
            before = copy.deepcopy(self.state) if kind is Kind.STALE else None
            reply = handler(self._seen_by(call), call)
            self.jobs.fault = None
            if before is not None and call.method not in ("GET", "HEAD"):
                self._stale, self._stale_reads = before, _STALE_READS
            self.apply()
            return self._checked(call, reply)

    def apply(self) -> None:
        """Put the limits on the disk after a call; a vendor without real enforcement needs not."""

    def _seen_by(self, call: Call) -> StateT:
        if self._stale is None or call.method not in ("GET", "HEAD"):
            return self.state
        self._stale_reads -= 1
        seen = self._stale
        if self._stale_reads <= 0:
            self._stale = None
        return seen

    def _checked(self, call: Call, reply: Reply) -> Reply:
        if self.chatty and isinstance(reply.body, Mapping):
            reply = replace(reply, body={**reply.body, "colour": "blue"})
        self.violations += self.document.check_reply(call, reply)
        return reply


def presented(headers: Mapping[str, str]) -> set[str]:
    """Return the secrets in a call's headers, as they are written there."""
    found = {headers[name].rpartition(" ")[2] for name in _CREDENTIALS if name in headers}
    cookies: SimpleCookie = SimpleCookie(headers.get("cookie", ""))
    return found | {morsel.value for morsel in cookies.values()}

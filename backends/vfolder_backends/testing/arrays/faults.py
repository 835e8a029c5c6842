"""Misfortunes on demand: which call suffers, what happens to it, and how often."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """What happens to a call."""

    UNAUTHORIZED = "its session is over, and all others"
    FORBIDDEN = "403"
    NOT_FOUND = "404"
    CONFLICT = "409"
    TOO_MANY = "429"
    ERROR = "500"
    UNAVAILABLE = "503"
    HANG = "no answer, and nothing is done"
    LATE = "done, but only after the caller gave up"
    TRUNCATED = "done, and the answer is cut"
    RESET = "the connection is reset, and nothing is done"
    LOST = "done, and the connection is reset in place of the answer"
    STALE = "reads show for a while what was before this change"
    SLOW_JOB = "the job it starts takes long"
    LOST_JOB = "the job it starts never happens, and leaves no record"
    EXPIRED_JOB = "the job it starts leaves no record of having happened"


JOB_FAULTS: Final = frozenset({Kind.SLOW_JOB, Kind.LOST_JOB, Kind.EXPIRED_JOB})

STATUS: Final = {
    Kind.FORBIDDEN: 403,
    Kind.NOT_FOUND: 404,
    Kind.CONFLICT: 409,
    Kind.TOO_MANY: 429,
    Kind.ERROR: 500,
    Kind.UNAVAILABLE: 503,
}
"""Faults that are answers, given before the call does anything."""

BEFORE: Final = frozenset({*STATUS, Kind.UNAUTHORIZED, Kind.HANG, Kind.RESET})
"""Faults of calls that do nothing."""


@dataclass(slots=True)
class Fault:
    """One misfortune.

    Attributes:
        nth: which call from now on, counted from 1 over all calls or those of `route`; 0 is each.
        route: only calls of this route, `PUT /fileSystems/{uid}/quota/{inode_id}`.
        times: how many calls suffer, from that one on.
    """

    kind: Kind
    nth: int = 0
    route: str = ""
    times: int = 1
    seen: int = 0
    fired: int = 0


class Faults:
    """The faults in store."""

    def __init__(self) -> None:
        self._armed: list[Fault] = []

    def arm(self, *faults: Fault) -> None:
        """Add faults to those in store; counting begins now."""
        self._armed += faults

    def clear(self) -> None:
        """Let nothing more go wrong."""
        self._armed.clear()

    def take(self, route: str) -> Kind | None:
        """Return what the present call has to suffer; the first one armed wins."""
        hit: Fault | None = None
        for fault in self._armed:
            if fault.route not in ("", route):
                continue
            fault.seen += 1
            due = fault.seen >= max(fault.nth, 1) and fault.fired < fault.times
            if due and hit is None:
                hit = fault
                fault.fired += 1
        return hit.kind if hit else None


def matrix(kinds: Iterable[Kind], calls: int) -> list[Fault]:
    """Return each kind at each of the first `calls` calls."""
    return [Fault(kind, nth) for kind in kinds for nth in range(1, calls + 1)]

"""What may be sent again, and when."""

import email.utils
import random
import time
from dataclasses import dataclass
from typing import Final

from vfolder_backends.transport.messages import Answer, Request

ATTEMPTS: Final = 3
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 2.0
_BUSY: Final = frozenset({429, 503})
_TRANSIENT: Final = frozenset({500, 502, 504})


@dataclass(frozen=True, slots=True)
class Retries:
    """How often and after what.

    Attributes:
        attempts: how many sendings there may be in all.
        busy: statuses that say "not now, nothing was done": with Retry-After any call is repeated.
        transient: statuses after which a repeatable call is repeated.
    """

    attempts: int = ATTEMPTS
    busy: frozenset[int] = _BUSY
    transient: frozenset[int] = _TRANSIENT

    def pause_after(self, request: Request, answer: Answer, attempt: int) -> float | None:
        """Return the seconds to wait before sending it again, None to take the answer as it is."""
        if attempt >= self.attempts:
            return None
        told = _retry_after(answer)
        if answer.status in self.busy and (told is not None or request.may_repeat):
            return told if told is not None else pause(attempt)
        if answer.status in self.transient and request.may_repeat:
            return pause(attempt)
        return None


def pause(attempt: int) -> float:
    """Return seconds that grow with each attempt and differ between callers."""
    longest = min(_FIRST_PAUSE * (1 << attempt), _LONGEST_PAUSE)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - spreads callers, hides nothing


def _retry_after(answer: Answer) -> float | None:
    """Read seconds or a date; None where there is none that can be read."""
    value = answer.header("retry-after")
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return None

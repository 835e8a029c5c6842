"""What an array's answer means in our errors.

A vendor gives a `Classify` that reads its own error bodies. `Missing` and `Exists` are for drivers,
which know what is missing: a bare 404 never becomes the port's `NotFound`, which would say that a
scope is gone.
"""

from collections.abc import Callable
from dataclasses import dataclass

from vfolder_backends.errors import (
    BackendError,
    NoSpace,
    PermissionDenied,
    Unavailable,
    Unsupported,
)
from vfolder_backends.transport.messages import Answer


class Missing(BackendError):
    """The array knows no such object."""


class Exists(BackendError):
    """The array has such an object already, or its state does not allow the call."""


class Invalid(BackendError):
    """The array did not understand the call, or refuses a value in it."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a vendor's body says: the class of it, the vendor's own code and words."""

    kind: type[BackendError]
    code: str = ""
    text: str = ""


Classify = Callable[[Answer], Refusal | None]
"""Reads an answer; None leaves it to the status. Gets answers that are not `ok`, and those that
are, for vendors who tell of errors with status 200."""

_BY_STATUS = {
    400: Invalid,
    401: PermissionDenied,
    403: PermissionDenied,
    404: Missing,
    405: Unsupported,
    408: Unavailable,
    409: Exists,
    422: Invalid,
    429: Unavailable,
    501: Unsupported,
    507: NoSpace,
}


def kind_of_status(status: int) -> type[BackendError]:
    """Return the class that a status alone stands for."""
    return _BY_STATUS.get(status, Unavailable if status >= 500 else BackendError)


def by_status(answer: Answer) -> Refusal | None:
    """Read nothing but the status, and show the beginning of the body."""
    if answer.ok:
        return None
    return Refusal(kind_of_status(answer.status), "", answer.text())


def message(refusal: Refusal, answer: Answer, array: str) -> str:
    """Return what to tell of a refusal; not redacted yet."""
    words = ": ".join(part for part in (refusal.code, refusal.text) if part)
    return f"{array}: {answer.call}: status {answer.status}{words and ', ' + words}"

"""ONTAP's error codes, in our errors.

The codes come as texts in refusals and as numbers in jobs. Those of quotas say what was done in
spite of the error. From the REST reference: the generic codes, `/storage/quota/rules`, and
`DELETE /storage/qtrees`.
"""

from collections.abc import Mapping
from typing import Final

from vfolder_backends.errors import BackendError, NoSpace, PermissionDenied, Unavailable
from vfolder_backends.transport.messages import Answer
from vfolder_backends.transport.refusals import Exists, Invalid, Missing, Refusal, kind_of_status


class Busy(BackendError):
    """Nothing was done: there is too much going on."""


class ResizeFailed(BackendError):
    """The rule is as asked; whether it is in force is seen in the report."""


class NotInForce(BackendError):
    """The rule is as asked, and what is enforced is not, until quotas are turned off and on."""


class Pending(Unavailable):
    """A job that is not over; the message has its id."""


_KINDS: Final[Mapping[str, type[BackendError]]] = {
    "1": Exists,
    "2": Invalid,
    "4": Missing,
    "6": PermissionDenied,
    "7": NoSpace,  # as many qtrees as there can be
    "8": Busy,
    "262160": Busy,
    "262179": Invalid,
    "262185": Invalid,
    "262197": Invalid,
    "65541": Unavailable,
    "65552": Unavailable,
    "65562": Unavailable,
    "393271": Unavailable,
    "918235": Missing,
    "5242895": Missing,
    "5242925": Busy,
    "5242927": Missing,
    "5308507": Exists,
    "5308545": Missing,
    "5308561": Busy,
    "5308567": ResizeFailed,
    "5308568": ResizeFailed,
    "5308569": ResizeFailed,
    "5308571": NotInForce,
    "5308572": NotInForce,
}


def kind_of_code(code: str) -> type[BackendError]:
    """Return the class of a job's code."""
    return _KINDS.get(code, BackendError)


def classify(answer: Answer) -> Refusal | None:
    """Read `{"error": {"code": text, "message": text}}`."""
    if answer.ok:
        return None
    try:
        body = answer.json()
    except ValueError:
        return None
    error = body.get("error") if isinstance(body, Mapping) else None
    if not isinstance(error, Mapping):
        return None
    code, text = str(error.get("code", "")), str(error.get("message", ""))
    kind = _KINDS.get(code) or kind_of_status(answer.status)
    if kind is PermissionDenied and answer.status == 403:
        text = (
            f"{text} (the role needs /api/storage/qtrees, /api/storage/quota/rules,"
            " /api/storage/quota/reports, /api/storage/volumes and /api/cluster/jobs)"
        )
    return Refusal(kind, code, text)

"""Status conditions: set by type, the time of a change kept, nothing rewritten without need."""

from dataclasses import dataclass
from datetime import UTC, datetime

from vfolder_operator.kube import Body


@dataclass(frozen=True, slots=True)
class Condition:
    """One observation to be shown; `status` None is shown as Unknown."""

    type: str
    status: bool | None
    reason: str
    message: str = ""


def timestamp(seconds: float | None = None) -> str:
    """RFC 3339 in whole seconds, as Kubernetes prints it; default now."""
    moment = datetime.now(UTC) if seconds is None else datetime.fromtimestamp(seconds, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_timestamp(text: str) -> float:
    """Seconds since 1970 of a time as `timestamp` prints it."""
    return datetime.fromisoformat(text).timestamp()


def merge(old: list[Body], new: list[Condition], generation: int) -> list[Body]:
    """Return the conditions to write: those of `new`, with the old times where nothing flipped.

    Conditions that `new` does not name are gone: each reconcile tells the whole truth.
    """
    before = {c["type"]: c for c in old}
    merged = []
    for condition in new:
        status = "Unknown" if condition.status is None else str(condition.status)
        previous = before.get(condition.type, {})
        since = previous.get("lastTransitionTime") if previous.get("status") == status else None
        merged.append(
            {
                "type": condition.type,
                "status": status,
                "reason": condition.reason,
                "message": condition.message,
                "lastTransitionTime": since or timestamp(),
                "observedGeneration": generation,
            }
        )
    return merged


def find(conditions: list[Body] | None, type_: str) -> Body | None:
    """The condition of a type, if it is there."""
    return next((c for c in conditions or [] if c["type"] == type_), None)


def is_true(body: Body, type_: str) -> bool:
    """Whether an object says so."""
    condition = find(body.get("status", {}).get("conditions"), type_)
    return condition is not None and condition["status"] == "True"


def flips(old: list[Body], new: list[Body]) -> list[Body]:
    """The conditions of `new` whose status or reason is another one than in `old`."""
    before = {c["type"]: (c["status"], c["reason"]) for c in old}
    return [c for c in new if before.get(c["type"]) != (c["status"], c["reason"])]

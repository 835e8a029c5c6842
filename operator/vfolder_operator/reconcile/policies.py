"""Small pure decisions, tested as tables: may a scope be here, which limit to set, what to tell."""

from dataclasses import dataclass
from enum import Enum

from vfolder_backends.facts import Capabilities, Level
from vfolder_backends.port import Limits, ScopeState, Usage
from vfolder_backends.sizes import format_bytes, parse_limit, round_up
from vfolder_operator.conditions import Condition
from vfolder_operator.crds.backend import StorageBackendSpec
from vfolder_operator.crds.scope import QuotaScopeSpec, UsageStatus


@dataclass(frozen=True, slots=True)
class Violation:
    """Why something may not be; names the field, the value and what is allowed."""

    reason: str
    message: str


def wanted_limits(spec: QuotaScopeSpec) -> Limits:
    """The limits a scope asks for."""
    return Limits(parse_limit(spec.limits.bytes), spec.limits.files)


def storable(limits: Limits, capabilities: Capabilities) -> Limits:
    """What the storage will show when these limits are set: rounded up, without what it lacks."""
    enforcement = capabilities.enforcement
    size = limits.bytes if enforcement.bytes is not Level.NONE else None
    files = limits.files if enforcement.files is not Level.NONE else None
    return Limits(None if size is None else round_up(size, capabilities.granularity_bytes), files)


def admission(
    spec: QuotaScopeSpec,
    backend: StorageBackendSpec,
    namespace: str,
    labels: dict[str, str],
    capabilities: Capabilities,
) -> Violation | None:
    """Whether a scope of that namespace may be on that backend as it is."""
    return (
        _namespace_allowed(backend, namespace, labels)
        or _below_maximum(spec, backend)
        or _enforced_enough(spec, capabilities)
    )


def _namespace_allowed(
    backend: StorageBackendSpec, namespace: str, labels: dict[str, str]
) -> Violation | None:
    if backend.allowed_namespaces is None:
        return Violation(
            "NamespaceNotAllowed",
            "the backend's spec.allowedNamespaces is not set, so nobody may have scopes there",
        )
    if not backend.allowed_namespaces.matches(labels):
        return Violation(
            "NamespaceNotAllowed",
            f"namespace {namespace!r} is not selected by the backend's spec.allowedNamespaces",
        )
    return None


def _below_maximum(spec: QuotaScopeSpec, backend: StorageBackendSpec) -> Violation | None:
    limits, maximum = wanted_limits(spec), backend.max_limits
    most = None if maximum.bytes is None else parse_limit(maximum.bytes)
    if most is not None and (limits.bytes is None or limits.bytes > most):
        return Violation(
            "LimitAboveMaximum",
            f"spec.limits.bytes {spec.limits.bytes} is above the backend's {format_bytes(most)}",
        )
    if maximum.files is not None and (limits.files is None or limits.files > maximum.files):
        asked = "unlimited" if limits.files is None else limits.files
        return Violation(
            "LimitAboveMaximum",
            f"spec.limits.files {asked} is above the backend's {maximum.files}",
        )
    return None


def _enforced_enough(spec: QuotaScopeSpec, capabilities: Capabilities) -> Violation | None:
    limits, least = wanted_limits(spec), Level(spec.min_enforcement)
    levels = (
        ("bytes", limits.bytes, capabilities.enforcement.bytes),
        ("files", limits.files, capabilities.enforcement.files),
    )
    for name, limit, level in levels:
        if limit is not None and not level.at_least(least):
            return Violation(
                "EnforcementTooWeak",
                f"spec.limits.{name} would be {level} on this storage, and spec.minEnforcement "
                f"asks for {least}; allowed here: {_weaker(level)}",
            )
    return None


def _weaker(level: Level) -> str:
    return ", ".join(one for one in Level if level.at_least(one))


IN_SYNC = Condition("Drifted", False, "InSync", "the storage shows the limits last set")


class LimitAction(Enum):
    """What to do about the limits on the storage."""

    KEEP = "keep"
    SET = "set"  # the team asked for another limit
    REFUSE = "refuse"  # it asked for one below what is used
    REPAIR = "repair"  # somebody changed it behind our back
    REPORT = "report"  # the same, and it is only told


@dataclass(frozen=True, slots=True)
class LimitDecision:
    """The action, and for all but KEEP and SET why."""

    action: LimitAction
    message: str = ""


def decide_limits(
    wanted: Limits,
    present: Limits,
    last: Limits | None,
    usage: Usage | None,
    *,
    allow_shrink: bool,
    repair: bool,
) -> LimitDecision:
    """Compare what is wanted with what the storage shows.

    Args:
        wanted: what the storage should show, rounded.
        present: what it shows.
        last: what we last set, None for never. A difference from `present` is drift; a difference
            from `wanted` is a wish.
        usage: what is used.
        allow_shrink: the scope's shrink policy.
        repair: the backend's drift policy.
    """
    if present == wanted:
        return LimitDecision(LimitAction.KEEP)
    below = _below_usage(wanted, present, usage)
    if last is None or last != wanted:
        if below and not allow_shrink:
            return LimitDecision(
                LimitAction.REFUSE, f"{below}; free some, or set spec.shrinkPolicy to Allow"
            )
        return LimitDecision(LimitAction.SET)
    drift = f"the storage shows {describe_limits(present)}, wanted is {describe_limits(wanted)}"
    if not repair:
        return LimitDecision(LimitAction.REPORT, drift)
    if below:
        return LimitDecision(LimitAction.REPORT, f"{drift}; not repaired, as {below}")
    return LimitDecision(LimitAction.REPAIR, drift)


def _below_usage(wanted: Limits, present: Limits, usage: Usage | None) -> str:
    """Name the limit that would go down below usage."""
    if usage is None:
        return ""
    rows = (
        ("bytes", wanted.bytes, present.bytes, usage.bytes),
        ("files", wanted.files, present.files, usage.files),
    )
    for name, new, old, used in rows:
        lowered = new is not None and (old is None or new < old)
        if lowered and used is not None and new is not None and new < used:
            return f"the limit of {new} {name} is below the {used} in use"
    return ""


def describe_limits(limits: Limits) -> str:
    """Limits in words."""
    size = "unlimited bytes" if limits.bytes is None else f"{format_bytes(limits.bytes)} bytes"
    files = "unlimited files" if limits.files is None else f"{limits.files} files"
    return f"{size}, {files}"


def percent(usage: Usage | None, limits: Limits) -> int | None:
    """The fuller of the two limits in whole percent, None where nothing can be said."""
    if usage is None:
        return None
    pairs = ((usage.bytes, limits.bytes), (usage.files, limits.files))
    shares = [100 * used // limit for used, limit in pairs if used is not None and limit]
    return max(shares, default=None)


def is_full(state: ScopeState, share: int) -> bool:
    """Whether a scope has reached that many percent of one of its limits."""
    reached = percent(state.usage, state.limits)
    return reached is not None and reached >= share


def crossed(thresholds: list[int], share: int | None) -> int | None:
    """The highest threshold that is reached, None for none."""
    if share is None:
        return None
    return max((t for t in thresholds if share >= t), default=None)


RETELL_SECONDS = 3600.0


def worth_telling(
    old: UsageStatus | None,
    new: UsageStatus,
    limits: Limits,
    thresholds: list[int],
    age: float,
) -> bool:
    """Whether new usage is worth a write: it moved 1 %, crossed a threshold, or an hour went by."""
    if old is None or age >= RETELL_SECONDS:
        return True
    if crossed(thresholds, old.percent) != crossed(thresholds, new.percent):
        return True
    pairs = (
        (old.bytes, new.bytes, limits.bytes),
        (old.files, new.files, limits.files),
        (old.trash_bytes, new.trash_bytes, limits.bytes),
    )
    return any(_moved(before, now, limit) for before, now, limit in pairs)


def _moved(before: int | None, now: int | None, limit: int | None) -> bool:
    if before is None or now is None:
        return before is not now
    whole = limit or max(before, now)
    return before != now and 100 * abs(now - before) >= whole

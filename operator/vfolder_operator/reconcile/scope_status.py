"""What a QuotaScope's status says, from what the storage showed."""

from dataclasses import dataclass
from typing import Literal

from vfolder_backends.facts import Level
from vfolder_backends.ids import QuotaScopeID, ScopeHex
from vfolder_backends.port import Limits, ScopeState, Usage
from vfolder_backends.sizes import UNLIMITED, format_bytes
from vfolder_operator.conditions import Condition, parse_timestamp, timestamp
from vfolder_operator.crds.common import parse_duration
from vfolder_operator.crds.scope import (
    DisplayStatus,
    EnforcementStatus,
    LimitsStatus,
    QuotaScopeSpec,
    QuotaScopeStatus,
    TrashEntryStatus,
    UsageStatus,
)
from vfolder_operator.display import human_bytes
from vfolder_operator.kube import Body
from vfolder_operator.reconcile import policies
from vfolder_operator.reconcile.context import Context
from vfolder_operator.reconcile.hold import Hold
from vfolder_operator.reconcile.reconciler import conditions, describe_progress
from vfolder_operator.store import Key

WALK = "Walk"
"""The source of usage that a walk over all files found; it is as old as that walk."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a scope now.

    Attributes:
        applied: the limits that we last set.
        drift: the Drifted condition.
    """

    scope: QuotaScopeID
    ref: dict[str, str]
    state: ScopeState
    applied: LimitsStatus | None
    drift: Condition


def scope_status(
    ctx: Context, key: Key, body: Body, spec: QuotaScopeSpec, seen: Seen, problem: Hold | None
) -> QuotaScopeStatus:
    """The whole status of a scope that is there; `problem` says why it is not as it should be."""
    state = seen.state
    old = QuotaScopeStatus.model_validate(body.get("status") or {})
    usage = _usage(ctx, body, spec, state, old)
    ready = Condition("Ready", True, "Ready", "the storage shows this scope and its limits")
    if problem is not None:
        ready = Condition("Ready", False, problem.reason, problem.message)
    enforcement, limit = state.enforcement, state.limits.bytes
    backend, scope = spec.backend, state.scope
    return QuotaScopeStatus(
        phase=_phase(state, problem),
        observed_generation=body["metadata"]["generation"],
        scope_id=str(seen.scope),
        path=state.path,
        backend_ref=seen.ref or None,
        limits=limits_status(state.limits),
        applied_limits=seen.applied,
        usage=usage,
        enforcement=EnforcementStatus(
            bytes=enforcement.bytes,
            files=enforcement.files,
            root_bypass=enforcement.root_bypass,
        ),
        folders=len(ctx.store.folders_of(key)),
        trash=_trash(ctx, backend, scope, old),
        audit=ctx.audits.status(backend, scope, old.audit),
        display=DisplayStatus(
            used=human_bytes(usage.bytes if usage else None),
            limit=UNLIMITED if limit is None else format_bytes(limit),
        ),
        conditions=conditions(
            body,
            [
                ready,
                quota_enforced(spec, state),
                *pressure(spec, usage.percent if usage is not None else None),
                seen.drift,
                ctx.audits.condition(backend, scope, body),
            ],
        ),
    )


def _phase(state: ScopeState, problem: Hold | None) -> Literal["Pending", "Ready", "Degraded"]:
    if state.progress is not None:
        return "Pending"
    return "Ready" if problem is None else "Degraded"


def _trash(
    ctx: Context, backend: str, scope: ScopeHex, old: QuotaScopeStatus
) -> list[TrashEntryStatus] | None:
    """What can come back; as it was shown while nobody looked."""
    attached = ctx.fleet.get(backend)
    if attached is None:
        return old.trash
    retention = parse_duration(attached.spec.trash.retention)
    entries = ctx.trash.entries(backend, scope, retention)
    return old.trash if entries is None else entries or None


def limits_status(limits: Limits) -> LimitsStatus:
    """Limits as they are shown."""
    return LimitsStatus(bytes=limits.bytes, files=limits.files)


def _usage(
    ctx: Context, body: Body, spec: QuotaScopeSpec, state: ScopeState, old: QuotaScopeStatus
) -> UsageStatus | None:
    """The usage to show: the new one where it is worth a write, else the one that is shown."""
    usage = state.usage
    if usage is None:
        survey = ctx.audits.get(spec.backend, state.scope)
        usage = survey.scope_usage if survey is not None else None
    if usage is None:
        walked = old.usage is not None and old.usage.source == WALK
        return old.usage if walked else None
    new = usage_status(usage, state.limits)
    age = usage.observed_at - parse_timestamp(old.usage.observed_at) if old.usage else 0.0
    marks = [*spec.thresholds, 100]
    same = old.limits == limits_status(state.limits)
    if same and not policies.worth_telling(old.usage, new, state.limits, marks, age):
        return old.usage
    before = policies.crossed(spec.thresholds, old.usage.percent if old.usage else None)
    now = policies.crossed(spec.thresholds, new.percent)
    if now is not None and now != before and (before is None or now > before):
        ctx.recorder.warning(
            body, "ThresholdReached", f"{new.percent} % of the budget is used (warned at {now})"
        )
    return new


def usage_status(usage: Usage, limits: Limits) -> UsageStatus:
    """Usage as it is shown."""
    return UsageStatus(
        bytes=usage.bytes,
        files=usage.files,
        trash_bytes=usage.trash_bytes,
        percent=policies.percent(usage, limits),
        observed_at=timestamp(usage.observed_at),
        source=usage.source,
    )


def quota_enforced(spec: QuotaScopeSpec, state: ScopeState) -> Condition:
    """Whether the limits that were asked for hold, and how far."""
    wanted = policies.wanted_limits(spec)
    enforcement, shown = state.enforcement, state.limits
    rows = (
        ("bytes", wanted.bytes, shown.bytes, enforcement.bytes),
        ("files", wanted.files, shown.files, enforcement.files),
    )
    levels = [level for _, limit, _, level in rows if limit is not None]
    if not levels:
        return Condition("QuotaEnforced", True, "Unlimited", "no limit is asked for")
    if state.progress is not None:
        return Condition(
            "QuotaEnforced", False, state.progress.reason, describe_progress(state.progress)
        )
    for name, limit, present, level in rows:
        if limit is not None and present is None and level is not Level.NONE:
            missing = f"the storage shows no limit on {name}"
            return Condition("QuotaEnforced", False, "LimitMissing", missing)
    weakest = max(levels, key=list(Level).index)
    holds = weakest.at_least(Level.COOPERATIVE)
    return Condition("QuotaEnforced", holds, str(weakest), state.enforcement.message)


def pressure(spec: QuotaScopeSpec, share: int | None) -> list[Condition]:
    """NearLimit and Exceeded."""
    if share is None:
        unknown = ("UsageUnknown", "the storage does not count usage")
        return [Condition("NearLimit", None, *unknown), Condition("Exceeded", None, *unknown)]
    reached = policies.crossed(spec.thresholds, share)
    near = Condition("NearLimit", False, "BelowThresholds", "usage is below all thresholds")
    if reached is not None:
        near = Condition("NearLimit", True, "ThresholdReached", f"usage passed {reached} %")
    full = Condition("Exceeded", False, "BelowLimit", "usage is below the limits")
    if share >= 100:
        full = Condition("Exceeded", True, "LimitReached", "writes fail until some is freed")
    return [near, full]

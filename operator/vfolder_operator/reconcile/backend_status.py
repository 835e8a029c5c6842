"""What a StorageBackend's status says, from what probe, sweep and chores showed."""

from dataclasses import dataclass

from vfolder_backends.facts import Capabilities, Health
from vfolder_operator.conditions import Condition, timestamp
from vfolder_operator.crds.backend import (
    BackendDisplay,
    CapabilitiesStatus,
    CapacityStatus,
    LinkStatus,
    StorageBackendSpec,
    StorageBackendStatus,
)
from vfolder_operator.display import human_bytes
from vfolder_operator.fleet import Attached
from vfolder_operator.kube import Body
from vfolder_operator.reconcile.context import Context
from vfolder_operator.reconcile.reconciler import conditions
from vfolder_operator.store import Key

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Findings:
    """What is known beyond the last probe.

    Attributes:
        orphans: marked scopes and folders without an object, None before the first sweep.
        sweep: what went wrong with single scopes in the last one.
        trash: what resists its removal.
        warnings: what the configuration cannot promise.
    """

    orphans: int | None
    sweep: list[str]
    trash: list[str]
    warnings: list[str]


def backend_status(
    ctx: Context,
    key: Key,
    body: Body,
    attached: Attached,
    findings: Findings,
    blocked: Condition | None,
) -> StorageBackendStatus:
    """The whole status of a storage that was probed well."""
    health = attached.health
    assert health is not None  # noqa: S101 - only called after a good probe
    ready = Condition("Ready", True, "Ready", "attached; scopes can be made")
    if blocked is not None:
        ready = Condition("Ready", False, "Deleting", "the object is being deleted")
    told = [ready, _healthy(health, findings), *tls_verified(attached.spec)]
    told += [blocked] if blocked else []
    scopes = ctx.store.scopes_of(key.name)
    return StorageBackendStatus(
        observed_generation=body["metadata"]["generation"],
        scopes=len(scopes),
        orphans=findings.orphans,
        capabilities=capabilities_status(health.capabilities),
        capacity=_capacity(ctx, body, health, scopes),
        trash=ctx.trash.status(key.name),
        link=link_status(attached),
        display=None
        if health.capacity is None
        else BackendDisplay(
            used=human_bytes(health.capacity.used_bytes),
            total=human_bytes(health.capacity.total_bytes),
        ),
        conditions=conditions(body, told),
    )


def link_status(attached: Attached | None) -> LinkStatus | None:
    """The connection to the management interface, None where there is none."""
    link = attached.port.link if attached is not None else None
    return LinkStatus(circuit=link.circuit) if link is not None else None


def tls_verified(spec: StorageBackendSpec) -> list[Condition]:
    """Whether the one who gets the credentials has to prove who it is."""
    if not spec.endpoint:
        return []
    if spec.tls.insecure_skip_verify:
        text = "spec.tls.insecureSkipVerify is set: anybody in between can read the credentials"
        return [Condition("TLSVerified", False, "InsecureSkipVerify", text)]
    return [Condition("TLSVerified", True, "Verified", "certificates of the endpoint are checked")]


def _healthy(health: Health, findings: Findings) -> Condition:
    if findings.sweep:
        text = "; ".join(findings.sweep[:_SHOWN])
        return Condition("Healthy", False, "SweepFailed", f"{len(findings.sweep)} scopes: {text}")
    if findings.trash:
        return Condition("Healthy", False, "TrashStuck", "; ".join(findings.trash[:_SHOWN]))
    warnings = [*health.warnings, *findings.warnings]
    if warnings:
        return Condition("Healthy", False, "Warnings", "; ".join(warnings))
    return Condition("Healthy", True, "Healthy", "the last probe found nothing wrong")


def _capacity(ctx: Context, body: Body, health: Health, scopes: list[Key]) -> CapacityStatus | None:
    """Capacity to show: as it is shown already unless it moved by a percent."""
    if health.capacity is None:
        return None
    given = [
        ((ctx.store.get(scope) or {}).get("status") or {}).get("limits") or {} for scope in scopes
    ]
    new = CapacityStatus(
        total_bytes=health.capacity.total_bytes,
        used_bytes=health.capacity.used_bytes,
        committed_bytes=sum(int(limits.get("bytes") or 0) for limits in given),
        observed_at=timestamp(health.capacity.observed_at),
    )
    shown = (body.get("status") or {}).get("capacity")
    if shown is None:
        return new
    old = CapacityStatus.model_validate(shown)
    moved = 100 * abs(new.used_bytes - old.used_bytes) >= new.total_bytes
    same = (new.total_bytes, new.committed_bytes) == (old.total_bytes, old.committed_bytes)
    return old if same and not moved else new


def capabilities_status(capabilities: Capabilities) -> CapabilitiesStatus:
    """Capabilities as they are shown."""
    enforcement = capabilities.enforcement
    return CapabilitiesStatus(
        enforcement=enforcement.bytes,
        files_enforcement=enforcement.files,
        root_bypass=enforcement.root_bypass,
        over_limit_errno=capabilities.over_limit_errno,
        error_at=capabilities.error_at,
        file_limit=enforcement.files != "None",
        accounting=capabilities.accounting,
        df_shows=capabilities.df_shows,
        isolation=capabilities.isolation,
        granularity_bytes=capabilities.granularity_bytes,
        usage_lag_seconds=capabilities.usage_lag_seconds,
        fast_usage=capabilities.fast_usage,
        clone=capabilities.clone,
        snapshot=capabilities.snapshot,
        mount_strategy=capabilities.mount_strategy,
    )

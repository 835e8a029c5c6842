"""StorageBackend: build it, attach its root, probe it, and tell what was found."""

import base64

from pydantic import ValidationError

from vfolder_backends.config import BackendConfig
from vfolder_backends.errors import BackendError, Misconfigured, RootLost, RootMissing
from vfolder_backends.port import Capabilities, Health
from vfolder_operator.conditions import Condition, merge, timestamp
from vfolder_operator.crds.backend import (
    BackendDisplay,
    CapabilitiesStatus,
    CapacityStatus,
    StorageBackendSpec,
    StorageBackendStatus,
)
from vfolder_operator.crds.common import Condition as ConditionStatus
from vfolder_operator.display import human_bytes
from vfolder_operator.fleet import Attached
from vfolder_operator.kube import Body, Kinds, Refused
from vfolder_operator.names import ANNOTATION_FORGET, ANNOTATION_ROOT_ID, FINALIZER
from vfolder_operator.reconcile.context import Context
from vfolder_operator.reconcile.hold import Hold
from vfolder_operator.reconcile.sweep import Sweep
from vfolder_operator.store import Key
from vfolder_operator.workqueue import Retry


class BackendReconciler:
    """Converges one StorageBackend and, from time to time, compares all that lies on it."""

    def __init__(self, context: Context, sweep: Sweep) -> None:
        self._ctx = context
        self._sweep = sweep

    async def __call__(self, key: Key) -> float | None:
        """Look at the object once; returns when to come again."""
        body = self._ctx.store.get(key)
        if body is None:
            self._ctx.metrics.backend_gone(key.name)
            await self._ctx.fleet.drop(key.name)
            return None
        if body["metadata"].get("deletionTimestamp"):
            return await self._delete(key, body)
        before = self._offer(key)
        try:
            attached = await self._attach(key, body)
        except (BackendError, Hold) as error:
            hold = Hold.of(error) if isinstance(error, BackendError) else error
            self._mark(key, error)
            self._ctx.metrics.backend(key.name, ready=False, orphans=None)
            if before is not None:
                self._wake_scopes(key)
            return await self._hold(key, hold)
        body = self._ctx.store.get(key) or body
        await self._ctx.tell(key, body, self._report(key, body, attached))
        if self._offer(key) != before:
            self._wake_scopes(key)
        await self._sweep.run(attached)
        orphans = self._sweep.orphans.get(key.name)
        self._ctx.metrics.backend(key.name, ready=True, orphans=orphans)
        return self._ctx.settings.refresh_seconds

    def _offer(self, key: Key) -> Capabilities | None:
        """What scopes can count on now; None while the storage must not be used."""
        attached = self._ctx.fleet.get(key.name)
        if attached is None or attached.health is None or attached.problem is not None:
            return None
        return attached.health.capabilities

    def _mark(self, key: Key, error: BackendError | Hold) -> None:
        """Keep everybody off a storage that cannot be trusted now."""
        attached = self._ctx.fleet.get(key.name)
        if attached is not None:
            attached.problem = (
                error if isinstance(error, BackendError) else Misconfigured(str(error))
            )

    def _wake_scopes(self, key: Key) -> None:
        for scope in self._ctx.store.scopes_of(key.name):
            self._ctx.enqueue(scope)
            for folder in self._ctx.store.folders_of(scope):
                self._ctx.enqueue(folder)

    async def _attach(self, key: Key, body: Body) -> Attached:
        """Build, attach and probe; raises what is wrong."""
        spec = parse_spec(body)
        body = await self._ctx.protect(key, body, {})
        config = await self._config(key, spec)
        attached = await self._ctx.fleet.open(config, spec)
        noted = (body["metadata"].get("annotations") or {}).get(ANNOTATION_ROOT_ID)
        attached.root_id = await attached.port.attach(noted or None)
        if not noted:
            await self._ctx.protect(key, body, {ANNOTATION_ROOT_ID: attached.root_id})
        attached.health = await attached.port.probe()
        attached.problem = None
        return attached

    async def _config(self, key: Key, spec: StorageBackendSpec) -> BackendConfig:
        settings = self._ctx.settings
        return BackendConfig(
            name=key.name,
            type=spec.type,
            root=spec.operator_path or f"/backends/{key.name}",
            parameters=spec.parameters,
            endpoint=spec.endpoint,
            credentials=await self._credentials(spec),
            ca_bundle=spec.tls.ca_bundle,
            insecure_skip_verify=spec.tls.insecure_skip_verify,
            max_concurrent=spec.limits.max_concurrent,
            call_timeout=settings.call_seconds,
        )

    async def _credentials(self, spec: StorageBackendSpec) -> dict[str, str]:
        """The values of the Secret; read anew each time, so a change is seen within a refresh."""
        if spec.credentials_secret_ref is None:
            return {}
        name, namespace = spec.credentials_secret_ref.name, self._ctx.settings.namespace
        where = f"Secret {name!r} in namespace {namespace!r} (spec.credentialsSecretRef)"
        try:
            secret = await self._ctx.kube.find(Kinds.SECRET, name, namespace)
        except Refused as error:
            raise Hold(
                "CredentialsMissing",
                f"{where} may not be read; add it to the chart's operator.secretNames",
            ) from error
        if secret is None:
            raise Hold("CredentialsMissing", f"{where} does not exist")
        data: dict[str, str] = secret.get("data") or {}
        return {name: base64.b64decode(value).decode() for name, value in data.items()}

    def _report(self, key: Key, body: Body, attached: Attached) -> StorageBackendStatus:
        health = attached.health
        assert health is not None  # noqa: S101 - only called after a good probe
        warnings = [*health.warnings]
        if attached.config.insecure_skip_verify:
            warnings.append("spec.tls.insecureSkipVerify is set: certificates are not checked")
        conditions = [
            Condition("Ready", True, "Ready", "attached; scopes can be made"),
            Condition("Healthy", False, "Warnings", "; ".join(warnings))
            if warnings
            else Condition("Healthy", True, "Healthy", "the last probe found nothing wrong"),
        ]
        scopes = self._ctx.store.scopes_of(key.name)
        return StorageBackendStatus(
            observed_generation=body["metadata"]["generation"],
            scopes=len(scopes),
            orphans=self._sweep.orphans.get(key.name),
            capabilities=capabilities_status(health.capabilities),
            capacity=self._capacity(body, health, scopes),
            display=None
            if health.capacity is None
            else BackendDisplay(
                used=human_bytes(health.capacity.used_bytes),
                total=human_bytes(health.capacity.total_bytes),
            ),
            conditions=_conditions(body, conditions),
        )

    def _capacity(self, body: Body, health: Health, scopes: list[Key]) -> CapacityStatus | None:
        """Capacity to show: as it is shown already unless it moved by a percent."""
        if health.capacity is None:
            return None
        given = [
            ((self._ctx.store.get(scope) or {}).get("status") or {}).get("limits") or {}
            for scope in scopes
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

    async def _hold(self, key: Key, hold: Hold) -> float | None:
        """Tell what is wrong, keep all else that is known, and come again."""
        body = self._ctx.store.get(key)
        if body is None:
            return None
        old = StorageBackendStatus.model_validate(body.get("status") or {})
        message = hold.message
        if hold.reason == RootMissing.reason:
            message += (
                f"; mount the storage into the operator with the chart value "
                f"backends.{key.name}.operatorVolume"
            )
        lost = (
            " Nothing is changed there until it is back." if hold.reason == RootLost.reason else ""
        )
        conditions = [
            Condition("Ready", False, hold.reason, message + lost),
            Condition("Healthy", False, hold.reason, message),
        ]
        status = old.model_copy(
            update={
                "observed_generation": body["metadata"]["generation"],
                "conditions": _conditions(body, conditions),
            }
        )
        again = await self._ctx.tell(key, body, status, quiet=hold.quiet)
        if again:
            return again
        raise Retry(hold.reason)

    async def _delete(self, key: Key, body: Body) -> float | None:
        """Let the object go once no scope is on it; what lies on the storage stays."""
        meta = body["metadata"]
        if FINALIZER not in (meta.get("finalizers") or []):
            return None
        names = [
            f"{scope['metadata']['namespace']}/{scope['metadata']['name']}"
            async for scope in self._ctx.kube.list(Kinds.SCOPE)
            if scope["spec"]["backend"] == key.name
        ]
        if names and (meta.get("annotations") or {}).get(ANNOTATION_FORGET) != "true":
            shown = ", ".join(sorted(names)[:10]) + (", ..." if len(names) > 10 else "")
            message = f"{len(names)} QuotaScopes are on this storage: {shown}"
            status = StorageBackendStatus.model_validate(body.get("status") or {}).model_copy(
                update={
                    "conditions": _conditions(
                        body,
                        [
                            Condition("Ready", True, "Deleting", "still in use"),
                            Condition("Deleting", True, "ScopesRemain", message),
                        ],
                    )
                }
            )
            await self._ctx.tell(key, body, status)
            raise Retry("ScopesRemain")
        await self._ctx.release(key, body)
        await self._ctx.fleet.drop(key.name)
        return None


def parse_spec(body: Body) -> StorageBackendSpec:
    """The spec as a model (`Hold` where the API server let something through that we do not)."""
    try:
        return StorageBackendSpec.model_validate(body["spec"])
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Hold(
            "InvalidSpec", f"spec.{where}: {first['msg']} (got {first['input']!r})"
        ) from error


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


def _conditions(body: Body, conditions: list[Condition]) -> list[ConditionStatus]:
    old = (body.get("status") or {}).get("conditions") or []
    merged = merge(old, conditions, body["metadata"]["generation"])
    return [ConditionStatus.model_validate(c) for c in merged]

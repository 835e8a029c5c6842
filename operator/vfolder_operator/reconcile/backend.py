"""StorageBackend: build it, attach its root, probe it, and tell what was found."""

import base64

from vfolder_backends.config import BackendConfig
from vfolder_backends.errors import BackendError, Misconfigured, RootLost, RootMissing
from vfolder_backends.facts import Capabilities, Health
from vfolder_operator.conditions import Condition, timestamp
from vfolder_operator.crds.backend import (
    BackendDisplay,
    CapabilitiesStatus,
    CapacityStatus,
    StorageBackendSpec,
    StorageBackendStatus,
)
from vfolder_operator.display import human_bytes
from vfolder_operator.fleet import Attached
from vfolder_operator.kube import Body, Kinds, Refused
from vfolder_operator.names import ANNOTATION_FORGET, ANNOTATION_ROOT_ID, FINALIZER
from vfolder_operator.reconcile.context import Context
from vfolder_operator.reconcile.hold import Hold
from vfolder_operator.reconcile.reconciler import conditions, parse_spec
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
        blocked = None
        if body["metadata"].get("deletionTimestamp"):
            # Those who are on it need it to go: it stays attached until they are gone.
            blocked = await self._delete(key, body)
            if blocked is None:
                return None
        before = self._offer(key)
        try:
            attached = await self._attach(key, body)
        except (BackendError, Hold) as error:
            self._mark(key, error)
            self._ctx.metrics.backend(key.name, ready=False, orphans=None)
            if before is not None:
                self._wake_scopes(key)
            return await self._held(key, Hold.of(error), blocked)
        body = self._ctx.store.get(key) or body
        await self._ctx.tell(key, body, self._report(key, body, attached, blocked))
        if self._offer(key) != before:
            self._wake_scopes(key)
        try:
            await self._sweep.run(attached)
        except BackendError as error:
            return await self._held(key, Hold.of(error), blocked)
        orphans = self._sweep.orphans.get(key.name)
        self._ctx.metrics.backend(key.name, ready=True, orphans=orphans)
        return self._ctx.settings.refresh_seconds

    def _offer(self, key: Key) -> tuple[StorageBackendSpec, Capabilities] | None:
        """What scopes can count on now; None while the storage must not be used."""
        attached = self._ctx.fleet.get(key.name)
        if attached is None or attached.health is None or attached.problem is not None:
            return None
        return attached.spec, attached.health.capabilities

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
        spec = parse_spec(StorageBackendSpec, body)
        body = await self._ctx.protect(key, body, {})
        config = await self._config(key, spec)
        attached = await self._ctx.fleet.open(config, spec)
        noted = (body["metadata"].get("annotations") or {}).get(ANNOTATION_ROOT_ID)
        made = [scope for scope in self._ctx.store.scopes_of(key.name) if self._was_made(scope)]
        wanted = noted or attached.root_id or None
        # A root on which scopes were made is never marked anew: it would be a wrong, empty one.
        attached.root_id = await attached.port.attach(wanted, initialise=not made)
        if not noted:
            await self._ctx.protect(key, body, {ANNOTATION_ROOT_ID: attached.root_id})
        attached.health = await attached.port.probe()
        attached.problem = None
        return attached

    def _was_made(self, scope: Key) -> bool:
        body = self._ctx.store.get(scope) or {}
        return bool((body.get("status") or {}).get("path"))

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
            node_fs_type=spec.mount.fs_type if spec.mount is not None else "",
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
        return {name: _decoded(name, value, where) for name, value in data.items()}

    def _report(
        self, key: Key, body: Body, attached: Attached, blocked: Condition | None
    ) -> StorageBackendStatus:
        health = attached.health
        assert health is not None  # noqa: S101 - only called after a good probe
        warnings = [*health.warnings]
        if attached.config.insecure_skip_verify:
            warnings.append("spec.tls.insecureSkipVerify is set: certificates are not checked")
        problems = self._sweep.problems.get(key.name) or []
        healthy = Condition("Healthy", True, "Healthy", "the last probe found nothing wrong")
        if problems:
            text = "; ".join(problems[:5])
            healthy = Condition("Healthy", False, "SweepFailed", f"{len(problems)} scopes: {text}")
        elif warnings:
            healthy = Condition("Healthy", False, "Warnings", "; ".join(warnings))
        ready = Condition("Ready", True, "Ready", "attached; scopes can be made")
        if blocked is not None:
            ready = Condition("Ready", False, "Deleting", "the object is being deleted")
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
            conditions=conditions(body, [ready, healthy, *([blocked] if blocked else [])]),
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

    async def _held(self, key: Key, hold: Hold, blocked: Condition | None) -> float | None:
        """Tell what is wrong, keep all else that is known, and come again."""
        body = self._ctx.store.get(key)
        if body is None:
            return None
        message = hold.message
        if hold.reason == RootMissing.reason:
            message += (
                f"; mount the storage into the operator with the chart value "
                f"backends.{key.name}.operatorVolume"
            )
        lost = (
            " Nothing is changed there until it is back." if hold.reason == RootLost.reason else ""
        )
        told = [
            Condition("Ready", False, hold.reason, message + lost),
            Condition("Healthy", False, hold.reason, message),
        ]
        old = StorageBackendStatus.model_validate(body.get("status") or {})
        status = old.model_copy(
            update={
                "observed_generation": body["metadata"]["generation"],
                "conditions": conditions(body, [*told, *([blocked] if blocked else [])]),
            }
        )
        again = await self._ctx.tell(key, body, status, quiet=hold.quiet)
        if again:
            return again
        raise Retry(hold.reason)

    async def _delete(self, key: Key, body: Body) -> Condition | None:
        """Let the object go once no scope is on it, else return what to tell.

        What lies on the storage stays.
        """
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
            return Condition("Deleting", True, "ScopesRemain", message)
        await self._ctx.release(key, body)
        await self._ctx.fleet.drop(key.name)
        return None


def _decoded(name: str, value: str, where: str) -> str:
    try:
        return base64.b64decode(value).decode()
    except ValueError as error:  # never with the value in the message
        raise Hold("CredentialsInvalid", f"{where}: the key {name!r} is not UTF-8 text") from error


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

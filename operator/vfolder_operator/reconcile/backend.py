"""StorageBackend: build it, attach its root, probe it, and tell what was found."""

import logging

from vfolder_backends.errors import BackendError, Misconfigured, RootLost, RootMissing
from vfolder_backends.facts import Capabilities
from vfolder_operator.conditions import Condition
from vfolder_operator.crds.backend import StorageBackendSpec, StorageBackendStatus
from vfolder_operator.fleet import Attached
from vfolder_operator.kube import Body, Kinds
from vfolder_operator.names import ANNOTATION_FORGET, ANNOTATION_ROOT_ID, FINALIZER
from vfolder_operator.reconcile.backend_config import BackendConfigs
from vfolder_operator.reconcile.backend_status import (
    Findings,
    backend_status,
    link_status,
    tls_verified,
)
from vfolder_operator.reconcile.context import Context
from vfolder_operator.reconcile.hold import Hold
from vfolder_operator.reconcile.reconciler import conditions, parse_spec
from vfolder_operator.reconcile.sweep import Sweep
from vfolder_operator.reconcile.trash import TrashKeeper
from vfolder_operator.store import Key
from vfolder_operator.workqueue import Retry

log = logging.getLogger(__name__)


class BackendReconciler:
    """Converges one StorageBackend and, from time to time, compares all that lies on it."""

    def __init__(
        self, context: Context, sweep: Sweep, keeper: TrashKeeper, configs: BackendConfigs
    ) -> None:
        self._ctx = context
        self._sweep = sweep
        self._keeper = keeper
        self._configs = configs

    async def __call__(self, key: Key) -> float | None:
        """Look at the object once; returns when to come again."""
        body = self._ctx.store.get(key)
        if body is None:
            self._ctx.metrics.backend_gone(key.name)
            self._keeper.gone(key.name)
            self._ctx.audits.forget(key.name)
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
        status = backend_status(self._ctx, key, body, attached, self._findings(key), blocked)
        await self._ctx.tell(key, body, status)
        if self._offer(key) != before:
            self._wake_scopes(key)
        try:
            await self._sweep.run(attached)
        except BackendError as error:
            return await self._held(key, Hold.of(error), blocked)
        orphans = self._sweep.orphans.get(key.name)
        self._ctx.metrics.backend(key.name, ready=True, orphans=orphans)
        await self._measure(attached)
        return self._ctx.settings.refresh_seconds

    async def _measure(self, attached: Attached) -> None:
        """Show the rates of the whole storage; that they cannot be read holds up nothing."""
        try:
            seen = await attached.port.metrics()
        except BackendError as error:
            log.warning(
                "performance not read", extra={"backend": attached.name, "error": str(error)}
            )
            seen = None
        self._ctx.metrics.performance(attached.name, seen)

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
        config = await self._configs.make(key, spec)
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

    def _findings(self, key: Key) -> Findings:
        """What is known beyond the last probe."""
        return Findings(
            orphans=self._sweep.orphans.get(key.name),
            sweep=self._sweep.problems.get(key.name) or [],
            trash=self._keeper.told(key.name),
            warnings=self._configs.warnings(key.name),
        )

    def _was_made(self, scope: Key) -> bool:
        body = self._ctx.store.get(scope) or {}
        return bool((body.get("status") or {}).get("path"))

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
        attached = self._ctx.fleet.get(key.name)
        told += tls_verified(attached.spec) if attached is not None else []
        old = StorageBackendStatus.model_validate(body.get("status") or {})
        status = old.model_copy(
            update={
                "observed_generation": body["metadata"]["generation"],
                "link": link_status(attached),
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

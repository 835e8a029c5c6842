"""QuotaScope: from a budget in an object to limits on a storage, and back to what is true there."""

from pydantic import ValidationError

from vfolder_backends.errors import BackendError, DataMissing
from vfolder_backends.ids import QuotaScopeID, ScopeHex
from vfolder_backends.port import Adoption, Limits, Owner, ScopeRequest, ScopeState
from vfolder_operator.conditions import Condition, find, merge
from vfolder_operator.crds.common import Condition as ConditionStatus
from vfolder_operator.crds.scope import (
    LimitsStatus,
    QuotaScopeSpec,
    QuotaScopeStatus,
)
from vfolder_operator.fleet import Attached
from vfolder_operator.kube import Body, Kinds
from vfolder_operator.names import (
    ANNOTATION_FORGET,
    ANNOTATION_ID,
    ANNOTATION_START_EMPTY,
    FINALIZER,
)
from vfolder_operator.reconcile import policies
from vfolder_operator.reconcile.context import Context
from vfolder_operator.reconcile.hold import Hold
from vfolder_operator.reconcile.policies import LimitAction
from vfolder_operator.reconcile.scope_status import scope_status
from vfolder_operator.store import Key
from vfolder_operator.workqueue import Retry


class ScopeReconciler:
    """Converges one QuotaScope."""

    def __init__(self, context: Context) -> None:
        self._ctx = context

    async def __call__(self, key: Key) -> float | None:
        """Look at the object once; returns when to come again."""
        body = self._ctx.store.get(key)
        if body is None:
            return None
        if body["metadata"].get("deletionTimestamp"):
            return await self._delete(key, body)
        try:
            status = await self._converge(key, body)
        except BackendError as error:
            return await self._hold(key, Hold.of(error))
        except Hold as hold:
            return await self._hold(key, hold)
        return await self._ctx.tell(key, self._latest(key, body), status) or None

    def _latest(self, key: Key, body: Body) -> Body:
        return self._ctx.store.get(key) or body

    async def _hold(self, key: Key, hold: Hold) -> float | None:
        """Tell why it does not go on, keep all else that is known, and come again."""
        body = self._ctx.store.get(key)
        if body is None:
            return None
        old = QuotaScopeStatus.model_validate(body.get("status") or {})
        made = old.scope_id is not None and old.limits is not None
        kept = [c for c in (body.get("status") or {}).get("conditions", []) if c["type"] != "Ready"]
        generation = body["metadata"]["generation"]
        ready = merge(
            (body.get("status") or {}).get("conditions", []),
            [Condition("Ready", False, hold.reason, hold.message)],
            generation,
        )
        status = old.model_copy(
            update={
                "phase": "Degraded" if made else "Pending",
                "observed_generation": generation,
                "folders": len(self._ctx.store.folders_of(key)),
                "conditions": [ConditionStatus.model_validate(c) for c in [*ready, *kept]],
            }
        )
        again = await self._ctx.tell(key, body, status, quiet=hold.quiet, warn=hold.warn)
        if again:
            return again
        if hold.retry:
            raise Retry(hold.reason)
        return None

    async def _converge(self, key: Key, body: Body) -> QuotaScopeStatus:
        spec = parse_spec(body)
        backend = self._ctx.backend(spec.backend)
        assert backend.health is not None  # noqa: S101 - usable backends were probed
        namespace = await self._ctx.kube.get(Kinds.NAMESPACE, key.namespace)
        labels = namespace["metadata"].get("labels") or {}
        violation = policies.admission(
            spec, backend.spec, key.namespace, labels, backend.health.capabilities
        )
        if violation is not None:
            raise Hold(violation.reason, violation.message)

        owner = self._ctx.owner(key)
        scope = await self._identity(body, spec, owner, backend)
        body = await self._ctx.protect(key, body, {ANNOTATION_ID: str(scope)})
        old = QuotaScopeStatus.model_validate(body.get("status") or {})
        ref = old.backend_ref or {}
        if not ref:
            ref = {k: str(v) for k, v in (await backend.port.prepare_scope(scope.hex)).items()}
            if ref:  # ids that were reserved are recorded before they are used
                early = old.model_copy(update={"scope_id": str(scope), "backend_ref": ref})
                await self._ctx.tell(key, body, early)
                body = self._latest(key, body)

        wanted = policies.storable(policies.wanted_limits(spec), backend.health.capabilities)
        start_empty = (body["metadata"].get("annotations") or {}).get(ANNOTATION_START_EMPTY)
        recreate = start_empty == str(scope)
        request = ScopeRequest(
            scope.hex,
            owner,
            wanted,
            ref=ref,
            adoption=find_adoption(backend, scope, owner),
            recreate=recreate,
        )
        try:
            state = await backend.port.ensure_scope(request)
        except DataMissing as error:
            raise Hold(
                "DataMissing",
                f"{error}; bring it back, or annotate {ANNOTATION_START_EMPTY}={scope} to get an "
                "empty scope in its place",
            ) from error
        if recreate:
            body = await self._ctx.annotate(key, body, {ANNOTATION_START_EMPTY: None})
        last = None if old.limits is None else Limits(old.limits.bytes, old.limits.files)
        state, drift = await self._limit(body, spec, backend, owner, state, wanted, last)
        return scope_status(self._ctx, key, body, spec, scope, ref, state, drift)

    async def _identity(
        self, body: Body, spec: QuotaScopeSpec, owner: Owner, backend: Attached
    ) -> QuotaScopeID:
        """Which scope this object stands for; a new id only where no former data is forgotten."""
        meta, status = body["metadata"], body.get("status") or {}
        annotations = meta.get("annotations") or {}
        if known := status.get("scopeID"):
            return QuotaScopeID.parse(known)
        default = QuotaScopeID.parse(spec.scope_id or f"project:{meta['uid']}")
        if noted := annotations.get(ANNOTATION_ID):
            try:
                scope = QuotaScopeID.parse(noted)
            except ValueError as error:
                raise Hold("InvalidID", f"annotation {ANNOTATION_ID}: {error}") from error
            if scope.hex != default.hex:
                # A restored object: honoured only if the storage says that it is this object's.
                await self._prove(backend, scope.hex, owner)
            return scope
        former = await backend.port.find_scope(owner)
        if former is not None and former != default.hex:
            named = f"project:{former.uuid}"
            if annotations.get(ANNOTATION_START_EMPTY) not in (named, former.uuid):
                raise Hold(
                    "FormerDataFound",
                    f"an earlier QuotaScope of this name left scope {former.uuid}; to take it, "
                    f"annotate {ANNOTATION_ID}={named}; to leave it and start empty, "
                    f"annotate {ANNOTATION_START_EMPTY}={named}",
                )
        return default

    async def _prove(self, backend: Attached, scope: ScopeHex, owner: Owner) -> None:
        state = await backend.port.describe_scope(scope)
        if state.owner != owner:
            whose = f"belongs to {state.owner}" if state.owner else "carries no owner mark"
            raise Hold("NotOurs", f"annotation {ANNOTATION_ID} names scope {scope}, which {whose}")

    async def _limit(
        self,
        body: Body,
        spec: QuotaScopeSpec,
        backend: Attached,
        owner: Owner,
        state: ScopeState,
        wanted: Limits,
        last: Limits | None,
    ) -> tuple[ScopeState, Condition]:
        """Set, repair or leave the limits; returns what then is, and the Drifted condition."""
        decision = policies.decide_limits(
            wanted,
            state.limits,
            last,
            state.usage,
            allow_shrink=spec.shrink_policy == "Allow",
            repair=backend.spec.drift.policy == "Repair",
        )
        none = Condition("Drifted", False, "InSync", "the storage shows the limits last set")
        match decision.action:
            case LimitAction.KEEP:
                return state, none
            case LimitAction.REFUSE:
                raise Hold("ShrinkRefused", decision.message)
            case LimitAction.REPORT:
                self._ctx.recorder.warning(body, "LimitDrifted", decision.message)
                return state, Condition("Drifted", True, "LimitDrifted", decision.message)
            case LimitAction.REPAIR:
                state = await backend.port.set_limits(state.scope, owner, wanted)
                self._ctx.recorder.warning(body, "DriftRepaired", decision.message)
                return state, none
            case LimitAction.SET:
                state = await backend.port.set_limits(state.scope, owner, wanted)
                return state, none

    async def observe(self, key: Key, state: ScopeState) -> None:
        """Take over what a bulk read saw, without a call to the storage for this scope.

        A difference that needs action puts the key into the queue.
        """
        body = self._ctx.store.get(key)
        if body is None or body["metadata"].get("deletionTimestamp"):
            return
        raw = body.get("status") or {}
        old = QuotaScopeStatus.model_validate(raw)
        ready = find(raw.get("conditions"), "Ready")
        drift = find(raw.get("conditions"), "Drifted")
        shown = LimitsStatus(bytes=state.limits.bytes, files=state.limits.files)
        settled = ready is not None and ready["status"] == "True" and old.scope_id is not None
        if not settled or shown != old.limits or drift is None or drift["status"] == "True":
            self._ctx.enqueue(key)
            return
        scope = QuotaScopeID.parse(old.scope_id or "")
        same = Condition("Drifted", False, drift["reason"], drift["message"])
        status = scope_status(
            self._ctx, key, body, parse_spec(body), scope, old.backend_ref or {}, state, same
        )
        await self._ctx.tell(key, body, status)

    async def _delete(self, key: Key, body: Body) -> float | None:
        """Let the object go once nothing depends on it."""
        if FINALIZER not in (body["metadata"].get("finalizers") or []):
            return None
        try:
            await self._may_go(key, body)
        except BackendError as error:
            return await self._blocked(key, Hold.of(error))
        except Hold as hold:
            return await self._blocked(key, hold)
        await self._ctx.release(key, body)
        self._ctx.metrics.scope_gone(body["spec"]["backend"], key)
        self._ctx.enqueue(Key(Kinds.BACKEND, "", body["spec"]["backend"]))
        return None

    async def _may_go(self, key: Key, body: Body) -> None:
        spec, status = parse_spec(body), body.get("status") or {}
        names = [
            folder["metadata"]["name"]
            async for folder in self._ctx.kube.list(Kinds.FOLDER, key.namespace)
            if folder["spec"]["quotaScope"] == key.name
        ]
        if names:
            shown = ", ".join(sorted(names)[:10]) + (", ..." if len(names) > 10 else "")
            raise Hold("FoldersRemain", f"{len(names)} VFolders are in this scope: {shown}")
        annotations = body["metadata"].get("annotations") or {}
        if annotations.get(ANNOTATION_FORGET) == "true":
            self._ctx.recorder.warning(
                body, "Forgotten", f"let go by annotation; scope {status.get('scopeID')} is left"
            )
            return
        known = status.get("scopeID") or annotations.get(ANNOTATION_ID)
        if known is None or spec.reclaim_policy == "Retain":
            return
        backend = self._ctx.backend(spec.backend)
        scope = QuotaScopeID.parse(known).hex
        trash = [f async for f in backend.port.list_folders(scope)]
        if trash:
            # Never holds up the end of a namespace: the sweep removes it when its time has come.
            self._ctx.recorder.normal(
                body, "TrashLeft", f"{len(trash)} folders are left on the storage, still marked"
            )
            return
        await backend.port.delete_scope(scope, self._ctx.owner(key))

    async def _blocked(self, key: Key, hold: Hold) -> float | None:
        """Tell what blocks the deletion, and come again."""
        body = self._ctx.store.get(key)
        if body is None:
            return None
        raw = body.get("status") or {}
        generation = body["metadata"]["generation"]
        conditions = merge(
            raw.get("conditions") or [],
            [
                Condition("Ready", False, "Deleting", "the object is being deleted"),
                Condition("Deleting", True, hold.reason, hold.message),
            ],
            generation,
        )
        status = QuotaScopeStatus.model_validate(raw).model_copy(
            update={
                "phase": "Deleting",
                "observed_generation": generation,
                "conditions": [ConditionStatus.model_validate(c) for c in conditions],
            }
        )
        again = await self._ctx.tell(key, body, status, quiet=1.0, warn=False)
        if again:
            return again
        raise Retry(hold.reason)


def parse_spec(body: Body) -> QuotaScopeSpec:
    """The spec as a model (`Hold` where the API server let something through that we do not)."""
    try:
        return QuotaScopeSpec.model_validate(body["spec"])
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Hold(
            "InvalidSpec", f"spec.{where}: {first['msg']} (got {first['input']!r})"
        ) from error


def find_adoption(backend: Attached, scope: QuotaScopeID, owner: Owner) -> Adoption | None:
    """Leave given in the backend's `adoptions` for this object to take that scope."""
    for entry in backend.spec.adoptions:
        same = QuotaScopeID.parse(entry.scope_id).hex == scope.hex and entry.folder_id is None
        if same and (entry.namespace, entry.name) == (owner.namespace, owner.name):
            return Adoption()
    return None

"""QuotaScope: from a budget in an object to limits on a storage, and back to what is true there."""

from dataclasses import replace

from vfolder_backends.errors import DataMissing
from vfolder_backends.ids import QuotaScopeID, ScopeHex
from vfolder_backends.port import (
    FolderPhase,
    Limits,
    Owner,
    ScopeRequest,
    ScopeState,
)
from vfolder_operator.conditions import Condition, find, is_true
from vfolder_operator.crds.scope import QuotaScopeSpec, QuotaScopeStatus
from vfolder_operator.fleet import Attached
from vfolder_operator.kube import Body, Kinds
from vfolder_operator.names import ANNOTATION_ID, ANNOTATION_START_EMPTY
from vfolder_operator.reconcile import policies
from vfolder_operator.reconcile.adoptions import find_scope_adoption, owners_of_name
from vfolder_operator.reconcile.chores import Chore, Work
from vfolder_operator.reconcile.hold import Hold
from vfolder_operator.reconcile.policies import LimitAction
from vfolder_operator.reconcile.reconciler import (
    CONTINUE_SECONDS,
    Reconciler,
    describe_progress,
    parse_spec,
)
from vfolder_operator.reconcile.scope_status import Seen, limits_status, scope_status
from vfolder_operator.store import Key


class ScopeReconciler(Reconciler[QuotaScopeStatus]):
    """Converges one QuotaScope."""

    status_type = QuotaScopeStatus

    def unread(self, old: QuotaScopeStatus, hold: Hold) -> list[Condition]:
        """What was true of the limits is not known while the storage is not read."""
        why = (hold.reason, f"not read: {hold.message}")
        kinds = ("QuotaEnforced", "NearLimit", "Exceeded", "Drifted", "Escaped")
        return [Condition(kind, None, *why) for kind in kinds]

    def released(self, key: Key, body: Body) -> None:
        """A backend may have waited for it."""
        self._ctx.metrics.scope_gone(body["spec"]["backend"], key)
        self._ctx.enqueue(Key(Kinds.BACKEND, "", body["spec"]["backend"]))

    async def converge(self, key: Key, body: Body) -> tuple[QuotaScopeStatus, float | None]:
        """Make the scope and its limits, or read those of one that may not be changed now."""
        spec, old = parse_spec(QuotaScopeSpec, body), self.old_status(body)
        backend = self._ctx.backend(spec.backend)
        assert backend.health is not None  # noqa: S101 - usable backends were probed
        labels = await self._ctx.namespace_labels(key.namespace)
        offered = backend.health.capabilities
        violation = policies.admission(spec, backend.spec, key.namespace, labels, offered)
        problem = None if violation is None else Hold(violation.reason, violation.message)
        made = old.path is not None
        if problem is not None and not made:
            raise problem

        owner = self._ctx.owner(key)
        scope = await self._identity(body, spec, owner, backend)
        body = await self._ctx.protect(key, body, {ANNOTATION_ID: str(scope)})
        ref = await self._reserve(key, body, scope, backend, old)
        body = self._ctx.store.get(key) or body
        wanted = policies.storable(policies.wanted_limits(spec), offered)
        start_empty = (body["metadata"].get("annotations") or {}).get(ANNOTATION_START_EMPTY)
        recreate = start_empty == str(scope)
        request = ScopeRequest(
            scope.hex,
            owner,
            wanted,
            ref=ref,
            adoption=find_scope_adoption(backend, scope, owner),
            recreate=recreate,
            must_exist=made,
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
        ref |= {name: str(value) for name, value in state.ref.items()}
        seen = Seen(scope, ref, state, old.applied_limits, policies.IN_SYNC)
        if state.progress is not None:
            self.goes_on(key, body, state.progress)
            problem = Hold(state.progress.reason, describe_progress(state.progress))
            return scope_status(self._ctx, key, body, spec, seen, problem), CONTINUE_SECONDS
        self.went(key, body)
        if problem is None:
            seen, problem = await self._limit(body, spec, backend, owner, seen, wanted)
        return scope_status(self._ctx, key, body, spec, seen, problem), None

    async def _reserve(
        self, key: Key, body: Body, scope: QuotaScopeID, backend: Attached, old: QuotaScopeStatus
    ) -> dict[str, str]:
        """The storage's own ids for the scope; recorded before they are used."""
        known = old.backend_ref or {}
        if old.path is not None:
            return dict(known)
        prepared = await backend.port.prepare_scope(scope.hex, known)
        ref = {name: str(value) for name, value in prepared.items()}
        if ref != known:
            early = old.model_copy(update={"scope_id": str(scope), "backend_ref": ref})
            await self._ctx.tell(key, body, early)
        return ref

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
                await self._prove(backend, scope, owner)
            return scope
        former = await self._former(backend, owner)
        if former is not None and former != default.hex:
            named = f"project:{former.uuid}"
            if annotations.get(ANNOTATION_START_EMPTY) not in (named, former.uuid):
                raise Hold(
                    "FormerDataFound",
                    f"an earlier QuotaScope of this name left scope {former.uuid}; to take it, "
                    f"annotate {ANNOTATION_ID}={named}; to leave it and start empty, "
                    f"annotate {ANNOTATION_START_EMPTY}={named}",
                )
        await self._tell_retired(body, owner, backend)
        return default

    async def _tell_retired(self, body: Body, owner: Owner, backend: Attached) -> None:
        """Name scopes of earlier objects of this name that only wait for their trash to end."""
        for scope, former in (await backend.port.list_retired()).items():
            if former == owner:
                self._ctx.recorder.normal(
                    body,
                    "RestorableFound",
                    f"scope {scope.uuid} of an earlier QuotaScope of this name still has folders "
                    "in its trash; to have them back, delete this one, and make it again with the "
                    f"annotation {ANNOTATION_ID}=project:{scope.uuid}",
                )

    async def _former(self, backend: Attached, owner: Owner) -> ScopeHex | None:
        """The scope that an object of that name had, here or in a lost cluster we stand in for."""
        for one in owners_of_name(backend, owner):
            former = await backend.port.find_scope(one)
            if former is not None:
                return former
        return None

    async def _prove(self, backend: Attached, scope_id: QuotaScopeID, owner: Owner) -> None:
        scope = scope_id.hex
        state = await backend.port.describe_scope(scope)
        leave = find_scope_adoption(backend, scope_id, owner)
        if leave is not None and leave.previous in (None, state.owner):
            return
        if state.owner != owner:
            whose = f"belongs to {state.owner}" if state.owner else "carries no owner mark"
            raise Hold("NotOurs", f"annotation {ANNOTATION_ID} names scope {scope}, which {whose}")

    async def _limit(
        self,
        body: Body,
        spec: QuotaScopeSpec,
        backend: Attached,
        owner: Owner,
        seen: Seen,
        wanted: Limits,
    ) -> tuple[Seen, Hold | None]:
        """Set, repair or leave the limits; returns what then is, and why it is not as asked."""
        state, last = seen.state, seen.applied
        decision = policies.decide_limits(
            wanted,
            state.limits,
            None if last is None else Limits(last.bytes, last.files),
            state.usage,
            allow_shrink=spec.shrink_policy == "Allow",
            repair=backend.spec.drift.policy == "Repair",
        )
        match decision.action:
            case LimitAction.REFUSE:
                return seen, Hold("ShrinkRefused", decision.message)
            case LimitAction.REPORT:
                self._ctx.recorder.warning(body, "LimitDrifted", decision.message)
                drifted = Condition("Drifted", True, "LimitDrifted", decision.message)
                return replace(seen, drift=drifted), None
            case LimitAction.REPAIR:
                self._ctx.recorder.warning(body, "DriftRepaired", decision.message)
                state = await backend.port.set_limits(state.scope, owner, wanted)
            case LimitAction.SET:
                state = await backend.port.set_limits(state.scope, owner, wanted)
            case LimitAction.KEEP:
                pass
        return replace(seen, state=state, applied=limits_status(state.limits)), None

    async def observe(self, key: Key, state: ScopeState) -> None:
        """Take over what a bulk read saw, without a call to the storage for this scope.

        A difference that needs action puts the key into the queue.
        """
        body = self._ctx.store.get(key)
        if body is None or body["metadata"].get("deletionTimestamp"):
            return
        old = self.old_status(body)
        drift = find((body.get("status") or {}).get("conditions"), "Drifted")
        settled = is_true(body, "Ready") and drift is not None and drift["status"] == "False"
        settled = settled and old.observed_generation == body["metadata"]["generation"]
        if not settled or limits_status(state.limits) != old.limits or old.scope_id is None:
            self._ctx.enqueue(key)
            return
        scope = QuotaScopeID.parse(old.scope_id)
        seen = Seen(scope, old.backend_ref or {}, state, old.applied_limits, policies.IN_SYNC)
        spec = parse_spec(QuotaScopeSpec, body)
        status = scope_status(self._ctx, key, body, spec, seen, None)
        await self._ctx.tell(key, body, status, aside=True)

    async def forget(self, key: Key, body: Body) -> str:
        """Leave all that is on the storage."""
        await self._no_folders(key)
        return f"scope {(body.get('status') or {}).get('scopeID')} is left on the storage"

    async def take_down(self, key: Key, body: Body) -> None:
        """Wait for the folders; remove the empty scope if the object says so."""
        await self._no_folders(key)
        spec, status = parse_spec(QuotaScopeSpec, body), self.old_status(body)
        known = status.scope_id or (body["metadata"].get("annotations") or {}).get(ANNOTATION_ID)
        if known is None or spec.reclaim_policy == "Retain":
            return
        backend, scope = self._ctx.backend(spec.backend), QuotaScopeID.parse(known).hex
        owner = self._ctx.owner(key)
        folders = [f async for f in backend.port.list_folders(scope)]
        kept = [f for f in folders if f.phase not in (FolderPhase.TRASHED, FolderPhase.PURGING)]
        if kept:
            message = f"{len(kept)} folders are left on the storage, still marked: so is the scope"
            self._ctx.recorder.normal(body, "FoldersLeft", message, "Delete")
        elif folders:
            # Never holds up the end of a namespace: what is noted on the storage outlives us.
            await backend.port.retire_scope(scope, owner)
            message = f"{len(folders)} folders are in the trash; the scope is removed after them"
            self._ctx.recorder.normal(body, "TrashLeft", message, "Delete")
            self._ctx.chore(Chore(Work.TRASH, spec.backend))
        else:
            await backend.port.delete_scope(scope, owner)

    async def _no_folders(self, key: Key) -> None:
        names = [
            folder["metadata"]["name"]
            async for folder in self._ctx.kube.list(Kinds.FOLDER, key.namespace)
            if folder["spec"]["quotaScope"] == key.name
        ]
        if names:
            shown = ", ".join(sorted(names)[:10]) + (", ..." if len(names) > 10 else "")
            raise Hold("FoldersRemain", f"{len(names)} VFolders are in this scope: {shown}")

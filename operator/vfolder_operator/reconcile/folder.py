"""VFolder: from a wish to a directory on the storage and a bound claim, and back to the trash."""

from pydantic import ValidationError

from vfolder_backends.errors import BackendError, DataMissing, NotFound, NotOurs
from vfolder_backends.ids import FolderHex, QuotaScopeID, ScopeHex, VolumeHandle
from vfolder_backends.port import (
    Adoption,
    FolderAttributes,
    FolderPhase,
    FolderRequest,
    FolderState,
    Limits,
)
from vfolder_operator.conditions import Condition, find, is_true, merge, parse_timestamp
from vfolder_operator.crds.common import Condition as ConditionStatus
from vfolder_operator.crds.folder import VFolderSpec, VFolderStatus
from vfolder_operator.display import human_bytes
from vfolder_operator.fleet import Attached
from vfolder_operator.kube import Body
from vfolder_operator.names import (
    ANNOTATION_FORGET,
    ANNOTATION_ID,
    ANNOTATION_START_EMPTY,
    FINALIZER,
)
from vfolder_operator.reconcile import policies
from vfolder_operator.reconcile.claims import (
    ClaimRequest,
    Claims,
    claim_name,
    nominal_size,
    volume_name,
)
from vfolder_operator.reconcile.context import Context
from vfolder_operator.reconcile.hold import Hold
from vfolder_operator.reconcile.scope_status import usage_status
from vfolder_operator.store import Key, scope_key
from vfolder_operator.workqueue import Retry


class FolderReconciler:
    """Converges one VFolder."""

    def __init__(self, context: Context) -> None:
        self._ctx = context
        self._claims = Claims(context.kube, context.store)

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
        return await self._ctx.tell(key, self._ctx.store.get(key) or body, status) or None

    async def _hold(self, key: Key, hold: Hold) -> float | None:
        """Tell why it does not go on, keep all else that is known, and come again."""
        body = self._ctx.store.get(key)
        if body is None:
            return None
        old = VFolderStatus.model_validate(body.get("status") or {})
        generation = body["metadata"]["generation"]
        status = old.model_copy(
            update={
                "phase": "Degraded" if old.folder_id else "Pending",
                "observed_generation": generation,
                "conditions": _conditions(
                    body, [Condition("Ready", False, hold.reason, hold.message)]
                ),
            }
        )
        again = await self._ctx.tell(key, body, status, quiet=hold.quiet, warn=hold.warn)
        if again:
            return again
        if hold.retry:
            raise Retry(hold.reason)
        return None

    async def _converge(self, key: Key, body: Body) -> VFolderStatus:
        spec = parse_spec(body)
        scope_body, scope = self._scope(key, body)
        backend = self._ctx.backend(scope_body["spec"]["backend"])
        folder, must_exist = await self._identity(key, body, spec, scope, backend)
        body = await self._ctx.protect(key, body, {ANNOTATION_ID: folder.uuid})
        annotations = body["metadata"].get("annotations") or {}
        recreate = annotations.get(ANNOTATION_START_EMPTY) == folder.uuid
        try:
            state = await backend.port.ensure_folder(
                FolderRequest(
                    scope,
                    folder,
                    self._ctx.owner(key),
                    attributes=attributes(spec),
                    must_exist=must_exist and not recreate,
                    adoption=self._adoption(key, spec, scope, folder, backend),
                    recreate=recreate,
                )
            )
        except DataMissing as error:
            raise _data_missing(folder, error) from error
        except NotFound as error:
            if (body.get("status") or {}).get("folderID"):
                raise _data_missing(folder, error) from error
            raise Hold("FolderNotFound", str(error)) from error
        if recreate:
            body = await self._ctx.annotate(key, body, {ANNOTATION_START_EMPTY: None})
        limit = scope_body.get("status", {}).get("limits", {}).get("bytes")
        handle = VolumeHandle(backend.name, scope, folder)
        claim = None
        if spec.claim.create:
            request = ClaimRequest(
                key,
                body["metadata"]["uid"],
                spec,
                handle,
                nominal_size(spec.claim, limit),
                self._ctx.settings.namespace,
            )
            await self._claims.ensure(request, backend)
            claim = request.claim_key.name
        return self._report(self._ctx.store.get(key) or body, state, handle, claim)

    def _scope(self, key: Key, body: Body) -> tuple[Body, ScopeHex]:
        """The scope's object and id; a folder that was made goes on though its scope is ill."""
        where = scope_key(body)
        scope = self._ctx.store.get(where)
        if scope is None:
            raise Hold(
                "ScopeNotFound",
                f"QuotaScope {where.name!r} does not exist in namespace {where.namespace!r}",
                quiet=1.0,
                warn=False,
            )
        status = scope.get("status") or {}
        made = (body.get("status") or {}).get("folderID")
        if not made and (not is_true(scope, "Ready") or scope["metadata"].get("deletionTimestamp")):
            ready = find(status.get("conditions"), "Ready") or {}
            why = f": {ready['reason']}: {ready['message']}" if ready else " yet"
            raise Hold(
                "ScopeNotReady",
                f"QuotaScope {where.name!r} is not ready{why}",
                quiet=1.0,
                warn=False,
            )
        if not status.get("scopeID"):
            raise Hold("ScopeNotReady", f"QuotaScope {where.name!r} has no id yet", quiet=1.0)
        return scope, QuotaScopeID.parse(status["scopeID"]).hex

    async def _identity(
        self, key: Key, body: Body, spec: VFolderSpec, scope: ScopeHex, backend: Attached
    ) -> tuple[FolderHex, bool]:
        """Which folder this object stands for, and whether it must be there already."""
        meta, status = body["metadata"], body.get("status") or {}
        annotations = meta.get("annotations") or {}
        if known := status.get("folderID"):
            return FolderHex.from_uuid(known), True
        if spec.folder_id is not None:
            return FolderHex.from_uuid(spec.folder_id), True
        own = FolderHex.from_uuid(meta["uid"])
        if noted := annotations.get(ANNOTATION_ID):
            try:
                folder = FolderHex.from_uuid(noted)
            except ValueError as error:
                raise Hold("InvalidID", f"annotation {ANNOTATION_ID}: {error}") from error
            # A restored object keeps its old id; the owner mark then has to be ours.
            return folder, folder != own
        former = await backend.port.find_folder(self._ctx.owner(key))
        if former is not None and former[1] != own:
            where = "" if former[0] == scope else f" in scope {former[0].uuid}"
            old = former[1].uuid
            if annotations.get(ANNOTATION_START_EMPTY) != old:
                raise Hold(
                    "FormerDataFound",
                    f"an earlier VFolder of this name left folder {old}{where}; to take it, "
                    f"annotate {ANNOTATION_ID}={old}; to leave it and start empty, annotate "
                    f"{ANNOTATION_START_EMPTY}={old}",
                )
        return own, False

    def _adoption(
        self, key: Key, spec: VFolderSpec, scope: ScopeHex, folder: FolderHex, backend: Attached
    ) -> Adoption | None:
        """Leave to take over: given by the admin, or for unmarked data in the team's own scope."""
        for entry in backend.spec.adoptions:
            if (
                entry.folder_id == folder.uuid
                and QuotaScopeID.parse(entry.scope_id).hex == scope
                and (entry.namespace, entry.name) == (key.namespace, key.name)
            ):
                return Adoption()
        if spec.folder_id is not None:
            return Adoption(marked=False)
        return None

    def _report(
        self, body: Body, state: FolderState, handle: VolumeHandle, claim: str | None
    ) -> VFolderStatus:
        """The whole status of a folder that works."""
        old = VFolderStatus.model_validate(body.get("status") or {})
        usage = old.usage
        if state.usage is not None:
            new = usage_status(state.usage, Limits())
            age = state.usage.observed_at - parse_timestamp(usage.observed_at) if usage else 0.0
            if policies.worth_telling(usage, new, Limits(), [], age):
                usage = new
        return VFolderStatus(
            phase="Ready",
            observed_generation=body["metadata"]["generation"],
            folder_id=state.folder.uuid,
            path=state.path,
            volume_handle=str(handle),
            claim=claim,
            usage=usage,
            used=human_bytes(usage.bytes) if usage is not None else None,
            conditions=_conditions(
                body, [Condition("Ready", True, "Ready", "the folder is there and can be mounted")]
            ),
        )

    async def observe(self, key: Key, state: FolderState) -> None:
        """Take over what a bulk read saw; what needs action goes into the queue."""
        body = self._ctx.store.get(key)
        if body is None or body["metadata"].get("deletionTimestamp"):
            return
        status = body.get("status") or {}
        if state.phase is not FolderPhase.LIVE or not is_true(body, "Ready"):
            self._ctx.enqueue(key)
            return
        handle = VolumeHandle.parse(status["volumeHandle"])
        await self._ctx.tell(key, body, self._report(body, state, handle, status.get("claim")))

    async def _delete(self, key: Key, body: Body) -> float | None:
        """Claim, volume, data, object: in this order, each gone before the next is touched."""
        if FINALIZER not in (body["metadata"].get("finalizers") or []):
            return None
        try:
            await self._take_down(key, body)
        except BackendError as error:
            return await self._blocked(key, Hold.of(error))
        except Hold as hold:
            return await self._blocked(key, hold)
        where = scope_key(body)
        await self._ctx.release(key, body)
        self._ctx.enqueue(where)
        return None

    async def _take_down(self, key: Key, body: Body) -> None:
        spec, meta = parse_spec(body), body["metadata"]
        status = VFolderStatus.model_validate(body.get("status") or {})
        annotations = meta.get("annotations") or {}
        if spec.claim.create:
            name = claim_name(spec, key.name)
            await self._claims.remove(key.namespace, name, meta["uid"])
        known = status.folder_id or annotations.get(ANNOTATION_ID)
        if known is None:
            return
        folder = FolderHex.from_uuid(known)
        handle = self._handle(body, status, folder)
        if handle is not None:
            await self._claims.remove_volume(volume_name(handle), meta["uid"])
        if annotations.get(ANNOTATION_FORGET) == "true":
            self._ctx.recorder.warning(
                body, "Forgotten", f"let go by annotation; folder {known} is left on the storage"
            )
            return
        if spec.reclaim_policy == "Retain" or handle is None:
            return
        backend = self._ctx.backend(handle.backend)
        try:
            await backend.port.trash_folder(handle.scope, folder, self._ctx.owner(key))
        except NotOurs:
            if status.folder_id is not None:
                raise
            # The object only named somebody else's folder and never had one of its own.

    def _handle(self, body: Body, status: VFolderStatus, folder: FolderHex) -> VolumeHandle | None:
        """Where the folder is; None if it was never made, because its scope never was."""
        if status.volume_handle:
            return VolumeHandle.parse(status.volume_handle)
        scope = self._ctx.store.get(scope_key(body))
        scope_id = (scope or {}).get("status", {}).get("scopeID")
        if scope is None:
            raise Hold(
                "ScopeNotFound",
                "the QuotaScope is gone, so the folder's place is not known; annotate "
                f"{ANNOTATION_FORGET}=true to let the object go and leave what is there",
            )
        if scope_id is None:
            return None
        return VolumeHandle(scope["spec"]["backend"], QuotaScopeID.parse(scope_id).hex, folder)

    async def _blocked(self, key: Key, hold: Hold) -> float | None:
        """Tell what blocks the deletion, and come again."""
        body = self._ctx.store.get(key)
        if body is None:
            return None
        status = VFolderStatus.model_validate(body.get("status") or {}).model_copy(
            update={
                "phase": "Deleting",
                "observed_generation": body["metadata"]["generation"],
                "conditions": _conditions(
                    body,
                    [
                        Condition("Ready", False, "Deleting", "the object is being deleted"),
                        Condition("Deleting", True, hold.reason, hold.message),
                    ],
                ),
            }
        )
        again = await self._ctx.tell(key, body, status, quiet=max(hold.quiet, 1.0), warn=False)
        if again:
            return again
        raise Retry(hold.reason)


def parse_spec(body: Body) -> VFolderSpec:
    """The spec as a model (`Hold` where the API server let something through that we do not)."""
    try:
        return VFolderSpec.model_validate(body["spec"])
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Hold(
            "InvalidSpec", f"spec.{where}: {first['msg']} (got {first['input']!r})"
        ) from error


def _data_missing(folder: FolderHex, error: BackendError) -> Hold:
    return Hold(
        "DataMissing",
        f"{error}; bring it back, or annotate {ANNOTATION_START_EMPTY}={folder.uuid} to get an "
        "empty folder in its place",
    )


def attributes(spec: VFolderSpec) -> FolderAttributes:
    """Owner and mode as the storage takes them."""
    return FolderAttributes(
        uid=spec.owner.uid if spec.owner else None,
        gid=spec.owner.gid if spec.owner else None,
        mode=int(spec.mode, 8) if spec.mode else None,
    )


def _conditions(body: Body, conditions: list[Condition]) -> list[ConditionStatus]:
    old = (body.get("status") or {}).get("conditions") or []
    merged = merge(old, conditions, body["metadata"]["generation"])
    return [ConditionStatus.model_validate(c) for c in merged]

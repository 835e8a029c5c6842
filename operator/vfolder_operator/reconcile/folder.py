"""VFolder: from a wish to a directory on the storage and a bound claim, and back to the trash."""

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
from vfolder_operator.conditions import Condition, find, is_true, parse_timestamp
from vfolder_operator.crds.folder import VFolderSpec, VFolderStatus
from vfolder_operator.display import human_bytes
from vfolder_operator.fleet import Attached
from vfolder_operator.kube import Body
from vfolder_operator.names import (
    ANNOTATION_FORGET,
    ANNOTATION_ID,
    ANNOTATION_START_EMPTY,
)
from vfolder_operator.reconcile import policies
from vfolder_operator.reconcile.claims import ClaimRequest, Claims, nominal_size
from vfolder_operator.reconcile.context import Context
from vfolder_operator.reconcile.hold import Hold
from vfolder_operator.reconcile.reconciler import Reconciler, conditions, parse_spec
from vfolder_operator.reconcile.scope_status import usage_status
from vfolder_operator.store import Key, scope_key


class FolderReconciler(Reconciler[VFolderStatus]):
    """Converges one VFolder."""

    status_type = VFolderStatus

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._claims = Claims(context.kube, context.store)

    def released(self, key: Key, body: Body) -> None:
        """A scope may have waited for it."""
        self._ctx.enqueue(scope_key(body))

    async def converge(self, key: Key, body: Body) -> tuple[VFolderStatus, float | None]:
        """Make the folder and its claim."""
        spec = parse_spec(VFolderSpec, body)
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
            request = self._claim_request(key, body, spec, handle, limit)
            await self._claims.ensure(request, backend)
            claim = request.claim_key.name
        return self._report(self._ctx.store.get(key) or body, state, handle, claim), None

    def _claim_request(
        self, key: Key, body: Body, spec: VFolderSpec, handle: VolumeHandle, limit: int | None
    ) -> ClaimRequest:
        size, namespace = nominal_size(spec.claim, limit), self._ctx.settings.namespace
        return ClaimRequest(key, body["metadata"]["uid"], spec, handle, size, namespace)

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
        usage = self.old_status(body).usage
        if state.usage is not None:
            shown = (self._ctx.store.get(scope_key(body)) or {}).get("status", {}).get("limits")
            limits = Limits(**{k: v for k, v in (shown or {}).items() if k in ("bytes", "files")})
            new = usage_status(state.usage, Limits())
            age = state.usage.observed_at - parse_timestamp(usage.observed_at) if usage else 0.0
            if policies.worth_telling(usage, new, limits, [], age):
                usage = new
        return VFolderStatus(
            phase="Ready",
            observed_generation=body["metadata"]["generation"],
            folder_id=handle.folder.uuid,
            path=state.path,
            volume_handle=str(handle),
            claim=claim,
            usage=usage,
            used=human_bytes(usage.bytes) if usage is not None else None,
            conditions=conditions(
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

    async def take_down(self, key: Key, body: Body) -> None:
        """Claim, volume, data: in this order, each gone before the next is touched."""
        status = self.old_status(body)
        known = self._known(body, status)
        if known is None:
            return
        handle = self._handle(body, status, known)
        if handle is None:
            return
        spec = parse_spec(VFolderSpec, body)
        await self._claims.remove(self._claim_request(key, body, spec, handle, None))
        if spec.reclaim_policy == "Retain":
            return
        backend = self._ctx.backend(handle.backend)
        try:
            await backend.port.trash_folder(handle.scope, known, self._ctx.owner(key))
        except NotOurs:
            if status.folder_id is not None:
                raise
            # The object only named somebody else's folder and never had one of its own.

    async def forget(self, key: Key, body: Body) -> str:
        """Remove claim and volume where they are known; leave the data."""
        status = self.old_status(body)
        if status.volume_handle:
            handle = VolumeHandle.parse(status.volume_handle)
            spec = parse_spec(VFolderSpec, body)
            await self._claims.remove(self._claim_request(key, body, spec, handle, None))
        return f"folder {status.folder_id} is left on the storage"

    def _known(self, body: Body, status: VFolderStatus) -> FolderHex | None:
        """The folder's id, if the object ever got one."""
        noted = (body["metadata"].get("annotations") or {}).get(ANNOTATION_ID)
        text = status.folder_id or noted
        try:
            return None if text is None else FolderHex.from_uuid(text)
        except ValueError:
            return None  # a note that was never honoured

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

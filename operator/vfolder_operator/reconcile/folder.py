"""VFolder: from a wish to a directory on the storage and a bound claim, and back to the trash."""

from vfolder_backends.errors import BackendError, DataMissing, NotFound
from vfolder_backends.ids import FolderHex, QuotaScopeID, ScopeHex, VolumeHandle
from vfolder_backends.port import (
    FolderAttributes,
    FolderPhase,
    FolderRequest,
    FolderSource,
    FolderState,
    Limits,
    Progress,
)
from vfolder_operator.conditions import Condition, find, is_true, parse_timestamp
from vfolder_operator.crds.folder import VFolderSpec, VFolderStatus
from vfolder_operator.display import human_bytes
from vfolder_operator.fleet import Attached
from vfolder_operator.kube import Body
from vfolder_operator.names import ANNOTATION_ID, ANNOTATION_START_EMPTY
from vfolder_operator.reconcile import policies
from vfolder_operator.reconcile.adoptions import find_folder_adoption
from vfolder_operator.reconcile.claims import Claims
from vfolder_operator.reconcile.cloning import find_source
from vfolder_operator.reconcile.context import Context
from vfolder_operator.reconcile.folder_identity import (
    FolderIdentities,
    restore_refused,
)
from vfolder_operator.reconcile.folder_removal import FolderRemoval, claim_request
from vfolder_operator.reconcile.hold import Hold
from vfolder_operator.reconcile.reconciler import (
    CONTINUE_SECONDS,
    Reconciler,
    conditions,
    describe_progress,
    parse_spec,
)
from vfolder_operator.reconcile.scope_status import usage_status
from vfolder_operator.store import Key, scope_key


class FolderReconciler(Reconciler[VFolderStatus]):
    """Converges one VFolder."""

    status_type = VFolderStatus

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._claims = Claims(context.kube, context.store)
        self._identities = FolderIdentities(context)
        self._removal = FolderRemoval(context, self._claims)

    def released(self, key: Key, body: Body) -> None:
        """A scope may have waited for it."""
        self._ctx.enqueue(scope_key(body))

    async def converge(self, key: Key, body: Body) -> tuple[VFolderStatus, float | None]:
        """Make the folder and its claim."""
        spec = parse_spec(VFolderSpec, body)
        scope_body, scope = self._scope(key, body)
        backend = self._ctx.backend(scope_body["spec"]["backend"])
        body = await self._identities.restore(key, body, scope, backend)
        folder, must_exist = await self._identities.find(key, body, spec, scope, backend)
        body = await self._ctx.protect(key, body, {ANNOTATION_ID: folder.uuid})
        annotations = body["metadata"].get("annotations") or {}
        recreate = annotations.get(ANNOTATION_START_EMPTY) == folder.uuid
        source = None
        if spec.source is not None and not must_exist:
            source = await self._source(key, spec, scope, folder, backend)
        request = FolderRequest(
            scope,
            folder,
            self._ctx.owner(key),
            attributes=attributes(spec),
            must_exist=must_exist and not recreate,
            adoption=find_folder_adoption(self._ctx.owner(key), spec, scope, folder, backend),
            recreate=recreate,
            source=source,
        )
        state = await self._ensure(body, request, backend)
        if recreate:
            body = await self._ctx.annotate(key, body, {ANNOTATION_START_EMPTY: None})
        if state.phase is FolderPhase.FILLING:
            return self._filling(key, body, state), CONTINUE_SECONDS
        self.went(key, body)
        limit = scope_body.get("status", {}).get("limits", {}).get("bytes")
        handle = VolumeHandle(backend.name, scope, folder)
        claim = None
        if spec.claim.create:
            wanted = claim_request(self._ctx, key, body, spec, handle, limit)
            await self._claims.ensure(wanted, backend)
            claim = wanted.claim_key.name
        return self._report(self._ctx.store.get(key) or body, state, handle, claim), None

    async def _source(
        self, key: Key, spec: VFolderSpec, scope: ScopeHex, folder: FolderHex, backend: Attached
    ) -> FolderSource | None:
        """What to copy; None once the copy is complete, whatever became of the source then."""
        try:
            return find_source(self._ctx, key, spec, backend)
        except Hold:
            try:
                state = await backend.port.describe_folder(scope, folder)
            except NotFound:
                state = None
            if state is None or state.phase is not FolderPhase.LIVE:
                raise
            return None

    async def _ensure(self, body: Body, request: FolderRequest, backend: Attached) -> FolderState:
        folder = request.folder
        try:
            return await backend.port.ensure_folder(request)
        except DataMissing as error:
            raise _data_missing(folder, error) from error
        except NotFound as error:
            if (body.get("status") or {}).get("folderID"):
                raise _data_missing(folder, error) from error
            if request.source is not None:
                raise Hold("SourceNotFound", str(error)) from error
            raise Hold("FolderNotFound", str(error)) from error

    def _filling(self, key: Key, body: Body, state: FolderState) -> VFolderStatus:
        """The status while the copy goes on: no claim, so no pod sees half of it."""
        progress = state.progress or Progress("Copying", "the copy goes on")
        self.goes_on(key, body, progress)
        cloning = Condition("Ready", False, "Cloning", describe_progress(progress))
        return VFolderStatus(
            phase="Pending",
            observed_generation=body["metadata"]["generation"],
            conditions=conditions(body, [cloning]),
        )

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

    def _report(
        self, body: Body, state: FolderState, handle: VolumeHandle, claim: str | None
    ) -> VFolderStatus:
        """The whole status of a folder that works."""
        usage = self.old_status(body).usage
        counted = state.usage or self._ctx.audits.folder_usage(
            handle.backend, handle.scope, handle.folder
        )
        if counted is not None:
            shown = (self._ctx.store.get(scope_key(body)) or {}).get("status", {}).get("limits")
            limits = Limits(**{k: v for k, v in (shown or {}).items() if k in ("bytes", "files")})
            new = usage_status(counted, Limits())
            age = counted.observed_at - parse_timestamp(usage.observed_at) if usage else 0.0
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
                body,
                [
                    Condition("Ready", True, "Ready", "the folder is there and can be mounted"),
                    *restore_refused(body),
                ],
            ),
        )

    async def observe(self, key: Key, state: FolderState) -> None:
        """Take over what a bulk read saw; what needs action goes into the queue."""
        body = self._ctx.store.get(key)
        if body is None or body["metadata"].get("deletionTimestamp"):
            return
        status = body.get("status") or {}
        seen = status.get("observedGeneration") == body["metadata"]["generation"]
        if not seen or state.phase is not FolderPhase.LIVE or not is_true(body, "Ready"):
            self._ctx.enqueue(key)
            return
        handle = VolumeHandle.parse(status["volumeHandle"])
        report = self._report(body, state, handle, status.get("claim"))
        await self._ctx.tell(key, body, report, aside=True)

    async def take_down(self, key: Key, body: Body) -> None:
        """Claim, volume, data: in this order, each gone before the next is touched."""
        await self._removal.take_down(key, body)

    async def forget(self, key: Key, body: Body) -> str:
        """Remove claim and volume where they are known; leave the data."""
        return await self._removal.forget(key, body)


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

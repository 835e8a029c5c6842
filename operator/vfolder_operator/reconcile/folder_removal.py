"""What the deletion of a VFolder does: claim, volume, and the data to the trash."""

import time

from vfolder_backends.errors import NotOurs
from vfolder_backends.ids import FolderHex, QuotaScopeID, VolumeHandle
from vfolder_backends.layout import folder_path
from vfolder_backends.port import FolderPhase, FolderState
from vfolder_operator.conditions import timestamp
from vfolder_operator.crds.common import parse_duration
from vfolder_operator.crds.folder import VFolderSpec, VFolderStatus
from vfolder_operator.kube import Body
from vfolder_operator.names import ANNOTATION_FORGET, ANNOTATION_ID, ANNOTATION_RESTORE
from vfolder_operator.reconcile.chores import Chore, Work
from vfolder_operator.reconcile.claims import ClaimRequest, Claims, nominal_size
from vfolder_operator.reconcile.context import Context
from vfolder_operator.reconcile.hold import Hold
from vfolder_operator.reconcile.reconciler import parse_spec
from vfolder_operator.reconcile.trash_book import expiry
from vfolder_operator.store import Key, scope_key


class FolderRemoval:
    """Takes a VFolder down, or lets it go."""

    def __init__(self, context: Context, claims: Claims) -> None:
        self._ctx = context
        self._claims = claims

    async def take_down(self, key: Key, body: Body) -> None:
        """Claim, volume, data: in this order, each gone before the next is touched."""
        status = VFolderStatus.model_validate(body.get("status") or {})
        known = _known(body, status)
        if known is None:
            return
        handle = self._handle(body, status, known)
        if handle is None:
            return
        spec = parse_spec(VFolderSpec, body)
        await self._claims.remove(claim_request(self._ctx, key, body, spec, handle, None))
        if spec.reclaim_policy == "Retain":
            return
        try:
            await self._trash(key, body, spec, handle)
        except NotOurs:
            if status.folder_id is not None:
                raise
            # The object only named somebody else's folder and never had one of its own.

    async def _trash(self, key: Key, body: Body, spec: VFolderSpec, handle: VolumeHandle) -> None:
        backend, owner = self._ctx.backend(handle.backend), self._ctx.owner(key)
        keep = None if spec.trash_retention is None else parse_duration(spec.trash_retention)
        await backend.port.trash_folder(handle.scope, handle.folder, owner, keep)
        if not (body.get("status") or {}).get("folderID"):
            return  # perhaps never made, and nobody's loss
        now = float(int(time.time()))  # as the storage keeps it: no write for a fraction
        folder = FolderState(
            handle.scope,
            handle.folder,
            owner,
            FolderPhase.TRASHED,
            folder_path(handle.scope, handle.folder),
            since=now,
            expires=None if keep is None else now + keep,
        )
        self._ctx.trash.note(backend.name, folder)
        self._ctx.chore(Chore(Work.TRASH, backend.name))
        until = timestamp(expiry(folder, parse_duration(backend.spec.trash.retention)))
        self._ctx.recorder.normal(
            body,
            "Trashed",
            f"folder {handle.folder.uuid} can be restored until {until}, unless its scope fills up "
            f"before: make a VFolder {key.name} in the same scope with the annotation "
            f"{ANNOTATION_RESTORE}={handle.folder.uuid}",
            "Delete",
        )

    async def forget(self, key: Key, body: Body) -> str:
        """Remove claim and volume where they are known; leave the data."""
        status = VFolderStatus.model_validate(body.get("status") or {})
        if status.volume_handle:
            handle = VolumeHandle.parse(status.volume_handle)
            spec = parse_spec(VFolderSpec, body)
            await self._claims.remove(claim_request(self._ctx, key, body, spec, handle, None))
        return f"folder {status.folder_id} is left on the storage"

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


def _known(body: Body, status: VFolderStatus) -> FolderHex | None:
    """The folder's id, if the object ever got one, or a folder may have come back for it."""
    annotations = body["metadata"].get("annotations") or {}
    noted = annotations.get(ANNOTATION_ID) or annotations.get(ANNOTATION_RESTORE)
    text = status.folder_id or noted
    try:
        return None if text is None else FolderHex.from_uuid(text)
    except ValueError:
        return None  # a note that was never honoured


def claim_request(
    ctx: Context, key: Key, body: Body, spec: VFolderSpec, handle: VolumeHandle, limit: int | None
) -> ClaimRequest:
    """The claim of a VFolder; `limit` is its scope's, in bytes."""
    size, namespace = nominal_size(spec.claim, limit), ctx.settings.namespace
    return ClaimRequest(key, body["metadata"]["uid"], spec, handle, size, namespace)

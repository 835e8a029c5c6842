"""Which folder on the storage a VFolder stands for: its own, a former one, one from the trash."""

from vfolder_backends.errors import NotFound
from vfolder_backends.ids import FolderHex, ScopeHex
from vfolder_backends.port import FolderState, Owner
from vfolder_operator.conditions import Condition, timestamp
from vfolder_operator.crds.common import parse_duration
from vfolder_operator.crds.folder import VFolderSpec
from vfolder_operator.fleet import Attached
from vfolder_operator.kube import Body
from vfolder_operator.names import ANNOTATION_ID, ANNOTATION_RESTORE, ANNOTATION_START_EMPTY
from vfolder_operator.reconcile.adoptions import owners_of_name
from vfolder_operator.reconcile.context import Context
from vfolder_operator.reconcile.hold import Hold
from vfolder_operator.reconcile.trash_book import expiry
from vfolder_operator.store import Key


class FolderIdentities:
    """Finds the folder of a VFolder, and brings it back where that is asked for."""

    def __init__(self, context: Context) -> None:
        self._ctx = context

    async def find(
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
            # A restored object keeps its old id; the owner mark then has to be ours.
            folder = _parse(ANNOTATION_ID, noted)
            return folder, folder != own
        owner = self._ctx.owner(key)
        former = await self._former(backend, owner)
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
        trash = None if former is not None else await backend.port.find_trash(owner)
        if trash is not None:
            self._tell_restorable(body, trash, backend)
        return own, False

    async def _former(self, backend: Attached, owner: Owner) -> tuple[ScopeHex, FolderHex] | None:
        """The folder that an object of that name had, here or in a lost cluster's stead."""
        for one in owners_of_name(backend, owner):
            former = await backend.port.find_folder(one)
            if former is not None:
                return former
        return None

    def _tell_restorable(self, body: Body, trash: FolderState, backend: Attached) -> None:
        """Name an earlier one in the trash; it holds nothing up: a new object is a new folder."""
        until = timestamp(expiry(trash, parse_duration(backend.spec.trash.retention)))
        self._ctx.recorder.normal(
            body,
            "RestorableFound",
            f"folder {trash.folder.uuid} of an earlier VFolder of this name can be restored until "
            f"{until}: delete this one, and make it again with the annotation "
            f"{ANNOTATION_RESTORE}={trash.folder.uuid}",
        )

    async def restore(self, key: Key, body: Body, scope: ScopeHex, backend: Attached) -> Body:
        """Bring back from the trash what the object asks for; returns the object as it then is.

        The finalizer comes first, then the folder, then its id in place of the wish: killed in
        between, the next one finds the folder live and ours, and goes on.
        """
        wanted = (body["metadata"].get("annotations") or {}).get(ANNOTATION_RESTORE)
        if wanted is None or restore_refused(body):
            return body
        folder = _parse(ANNOTATION_RESTORE, wanted)
        body = await self._ctx.protect(key, body, {})
        try:
            await backend.port.restore_folder(scope, folder, self._ctx.owner(key))
        except NotFound as error:
            raise Hold(
                "NothingToRestore",
                f"{error}: it was removed for good, or was never in scope {scope.uuid}; remove "
                f"the annotation {ANNOTATION_RESTORE} to get an empty folder",
            ) from error
        self._ctx.trash.drop(backend.name, scope, folder)
        changes = {ANNOTATION_ID: folder.uuid, ANNOTATION_RESTORE: None}
        body = await self._ctx.annotate(key, body, changes)
        self._ctx.recorder.normal(body, "Restored", f"folder {folder.uuid} is back", "Restore")
        return body


def restore_refused(body: Body) -> list[Condition]:
    """Why a wish to restore is not granted: the object has a folder, which must not be lost."""
    annotations = body["metadata"].get("annotations") or {}
    wanted = annotations.get(ANNOTATION_RESTORE)
    has = (body.get("status") or {}).get("folderID") or annotations.get(ANNOTATION_ID)
    if wanted is None or has in (None, wanted):
        return []
    return [
        Condition(
            "Restored",
            False,
            "RestoreRefused",
            f"this VFolder has folder {has} already; delete it, and make it again with the "
            f"annotation {ANNOTATION_RESTORE}={wanted}",
        )
    ]


def _parse(annotation: str, text: str) -> FolderHex:
    try:
        return FolderHex.from_uuid(text)
    except ValueError as error:
        raise Hold("InvalidID", f"annotation {annotation}: {error}") from error

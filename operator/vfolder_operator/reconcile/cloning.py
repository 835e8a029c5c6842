"""What a VFolder that names a source is a copy of."""

from vfolder_backends.ids import VolumeHandle
from vfolder_backends.port import FolderSource
from vfolder_operator.conditions import find, is_true
from vfolder_operator.crds.folder import VFolderSpec
from vfolder_operator.fleet import Attached
from vfolder_operator.kube import Kinds
from vfolder_operator.reconcile.context import Context
from vfolder_operator.reconcile.hold import Hold
from vfolder_operator.store import Key


def find_source(
    ctx: Context, key: Key, spec: VFolderSpec, backend: Attached
) -> FolderSource | None:
    """The folder to copy, None where nothing is to be copied (`Hold` where it cannot be)."""
    if spec.source is None:
        return None
    name = spec.source.vfolder
    where = f"VFolder {name!r} (spec.source)"
    if backend.health is None or backend.health.capabilities.clone == "None":
        why = (
            f"StorageBackend {backend.name!r} cannot copy folders (status.capabilities.clone is"
            " None; a mount without locks, such as nolock on NFS, is one cause)"
        )
        raise Hold("CloneUnsupported", why)
    body = ctx.store.get(Key(Kinds.FOLDER, key.namespace, name))
    if body is None:
        raise Hold("SourceNotFound", f"{where} does not exist in namespace {key.namespace!r}")
    text = (body.get("status") or {}).get("volumeHandle")
    if text is None or not is_true(body, "Ready") or body["metadata"].get("deletionTimestamp"):
        ready = find((body.get("status") or {}).get("conditions"), "Ready") or {}
        why = f": {ready['reason']}" if ready else ""
        raise Hold("SourceNotReady", f"{where} is not ready{why}", warn=False)
    handle = VolumeHandle.parse(text)
    if handle.backend != backend.name:
        raise Hold(
            "SourceElsewhere",
            f"{where} is on StorageBackend {handle.backend!r}, and this VFolder on "
            f"{backend.name!r}; a copy can be made on one storage only",
        )
    return FolderSource(handle.scope, handle.folder)

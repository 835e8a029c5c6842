"""Leave to take over what is not marked as ours: the entries of a StorageBackend's `adoptions`."""

from vfolder_backends.ids import FolderHex, QuotaScopeID, ScopeHex
from vfolder_backends.port import Adoption, Owner
from vfolder_operator.crds.backend import AdoptionSpec
from vfolder_operator.crds.folder import VFolderSpec
from vfolder_operator.fleet import Attached


def find_scope_adoption(backend: Attached, scope: QuotaScopeID, owner: Owner) -> Adoption | None:
    """Leave for that owner to take that scope."""
    for entry in backend.spec.adoptions:
        same = QuotaScopeID.parse(entry.scope_id).hex == scope.hex and entry.folder_id is None
        if same and (entry.namespace, entry.name) == (owner.namespace, owner.name):
            former = _former_owner(entry, owner)
            return Adoption() if former is None else Adoption(previous=former)
    return None


def find_folder_adoption(
    owner: Owner, spec: VFolderSpec, scope: ScopeHex, folder: FolderHex, backend: Attached
) -> Adoption | None:
    """Leave to take over: given by the admin, or for unmarked data in the team's own scope."""
    for entry in backend.spec.adoptions:
        if QuotaScopeID.parse(entry.scope_id).hex != scope:
            continue
        named = (entry.namespace, entry.name) == (owner.namespace, owner.name)
        former = _former_owner(entry, owner)
        if entry.folder_id == folder.uuid and named:
            return Adoption() if former is None else Adoption(previous=former)
        if entry.folder_id is None and former is not None:
            # A lost cluster's scope: each of its folders goes to the object of its own name.
            return Adoption(previous=former)
    if spec.folder_id is not None:
        return Adoption(marked=False)
    return None


def owners_of_name(backend: Attached, owner: Owner) -> list[Owner]:
    """The owner, and whom marks name for an object of that name in clusters we stand in for."""
    lost = {_former_owner(entry, owner) for entry in backend.spec.adoptions} - {owner}
    return [owner, *(one for one in lost if one is not None)]


def _former_owner(entry: AdoptionSpec, owner: Owner) -> Owner | None:
    """Whom the mark of this very object named in the lost cluster that an entry tells of."""
    if entry.previous_cluster is None:
        return None
    return Owner(entry.previous_cluster, owner.namespace, owner.name)

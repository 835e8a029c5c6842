"""Reads objects back from owner marks, the index of names and the storage's limits.

What is left when a whole cluster is lost: the marks tell which object each scope and folder
belonged to, the index which of several had the name last, the storage its limits.
"""

from collections.abc import AsyncIterator, Set

from vfolder_backends.adoption.failures import Refused
from vfolder_backends.adoption.found import (
    MIGRATION_CLUSTER,
    FoundFolder,
    FoundScope,
    Oddity,
    Tick,
)
from vfolder_backends.adoption.pacing import Pace
from vfolder_backends.adoption.scan import Scan
from vfolder_backends.adoption.verdicts import FolderObject, Outcome, ScopeObject, Verdict
from vfolder_backends.errors import BackendError
from vfolder_backends.ids import QuotaScopeID, ScopeHex, ScopeKind
from vfolder_backends.layout import CONTROL_DIR, NAMES_DIR
from vfolder_backends.port import FolderPhase, Owner, StorageBackend
from vfolder_backends.tree import files, names
from vfolder_backends.tree.names import Kind
from vfolder_backends.tree.places import target


def choose_cluster(root: int, asked: str) -> str:
    """Return the uid of the cluster whose marks are read.

    Raises:
        Refused: there are none, or several and nobody said which.
    """
    place = f"{CONTROL_DIR}/{NAMES_DIR}"
    found = sorted(
        name
        for name in files.list_names(root, place)
        # What a migration marked, and nobody adopted since, never was in a cluster.
        if name != MIGRATION_CLUSTER and files.list_names(root, f"{place}/{name}")
    )
    if asked:
        if asked not in found:
            known = ", ".join(found) or "none"
            raise Refused(f"--cluster {asked}: no marks of that cluster; there are: {known}")
        return asked
    if not found:
        raise Refused("there are no marks of any cluster; for a tree of another system: adopt")
    if len(found) > 1:
        raise Refused(f"marks of several clusters; say which with --cluster: {', '.join(found)}")
    return found[0]


async def rebuild(
    pace: Pace,
    root: int,
    backend: StorageBackend,
    cluster: str,
    only: Set[ScopeHex] = frozenset(),
) -> AsyncIterator[Verdict | Tick]:
    """Yield a verdict on all that is marked for `cluster`, each scope's before its folders'."""
    present: ScopeObject | None = None
    async for item in pace.each(Scan(root, sizes=False, only=only).items()):
        if isinstance(item, Tick):
            yield item
        elif isinstance(item, FoundScope):
            present = None
            if item.owner is None or item.owner.cluster == cluster:
                verdict = await _scope(pace, root, backend, item)
                present = verdict.made if isinstance(verdict.made, ScopeObject) else None
                yield verdict
        elif isinstance(item, FoundFolder):
            if item.owner is None or item.owner.cluster == cluster:
                yield await _folder(pace, root, item, present)
        elif isinstance(item, Oddity):
            yield Verdict(Outcome.UNKNOWN, item.path, item.odd, item.message)


async def _scope(pace: Pace, root: int, backend: StorageBackend, item: FoundScope) -> Verdict:
    def no(outcome: Outcome, reason: str, message: str) -> Verdict:
        return Verdict(outcome, item.path, reason, message, item.scope)

    owner = item.owner
    if owner is None:
        return no(Outcome.REFUSED, "NoMark", "it carries no owner mark; adopt can take it")
    named = await pace.run(names.recall, root, Kind.SCOPES, owner)
    if named not in (None, item.scope.value):
        message = f"it was {_named(owner)}'s before scope {named}; bring it back by its id"
        return no(Outcome.FORMER, "FormerData", message)
    try:
        state = await backend.describe_scope(item.scope)
    except BackendError as error:
        return no(Outcome.REFUSED, "LimitsUnreadable", f"{error.reason}: {error}")
    # The type is not on disk, and nothing depends on it: an id is found by its digits.
    id_ = QuotaScopeID(ScopeKind.PROJECT, item.scope)
    made = ScopeObject(id_, owner.namespace, owner.name, state.limits, state.enforcement, owner)
    return Verdict(Outcome.ADOPT, item.path, "", "", item.scope, None, made)


async def _folder(pace: Pace, root: int, item: FoundFolder, scope: ScopeObject | None) -> Verdict:
    def no(outcome: Outcome, reason: str, message: str) -> Verdict:
        return Verdict(outcome, item.path, reason, message, item.scope, item.folder)

    owner = item.owner
    if item.phase is not FolderPhase.LIVE:
        whose = f" of {_named(owner)}" if owner else ""
        return no(Outcome.TRASH, item.phase, f"trash{whose}, since {item.since}")
    if item.scope is None:
        return no(Outcome.LAYOUT_2, "Layout2", "it lies in no scope, so it never was ours")
    if owner is None:
        return no(Outcome.REFUSED, "NoMark", "it carries no owner mark; adopt can take it")
    if scope is None:
        return no(Outcome.REFUSED, "ScopeRefused", "its scope cannot be rebuilt; see there")
    if owner.namespace != scope.namespace:
        message = f"it is of {_named(owner)}, its scope of namespace {scope.namespace!r}"
        return no(Outcome.REFUSED, "OtherNamespace", message)
    named = await pace.run(names.recall, root, Kind.FOLDERS, owner)
    if named not in (None, target(item.scope, item.folder)):
        message = f"it was {_named(owner)}'s before {named}; bring it back by its id"
        return no(Outcome.FORMER, "FormerData", message)
    made = FolderObject(scope, item.folder, owner.name)
    return Verdict(Outcome.ADOPT, item.path, "", "", item.scope, item.folder, made)


def _named(owner: Owner) -> str:
    return f"{owner.namespace}/{owner.name}"

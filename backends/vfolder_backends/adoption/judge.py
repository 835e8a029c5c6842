"""Decides for each scope and folder on disk whether an object may stand for it, and why not.

Nothing is changed. What is refused is what cannot be proven: whose it is, what it is called, what
its limits are.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Set
from dataclasses import dataclass
from typing import Protocol

from vfolder_backends.adoption.found import (
    MIGRATION_CLUSTER,
    FoundFolder,
    FoundScope,
    Odd,
    Oddity,
    Tick,
)
from vfolder_backends.adoption.mapping import MappedFolder, MappedScope
from vfolder_backends.adoption.pacing import Pace
from vfolder_backends.adoption.scan import Scan
from vfolder_backends.adoption.verdicts import FolderObject, Outcome, ScopeObject, Verdict
from vfolder_backends.errors import BackendError
from vfolder_backends.ids import FolderHex, ScopeHex
from vfolder_backends.layout import folder_path
from vfolder_backends.port import FolderPhase, Owner, ScopeState, StorageBackend


class Names(Protocol):
    """What scopes and folders are called: a mapping, or its stand-in."""

    def scope(self, scope: ScopeHex) -> MappedScope | None:
        """What is said of a scope."""
        ...

    def folder_in(self, scope: ScopeHex, folder: FolderHex) -> MappedFolder | None:
        """What is said of a folder that lies in `scope`."""
        ...

    def rivals(self, folder: FolderHex) -> list[int]:
        """Lines of others that would get its name."""
        ...

    def see(self, folder: FolderHex, layout: int) -> None:
        """It is on disk."""
        ...

    def unseen(self) -> Iterator[MappedFolder]:
        """What is expected and was not seen."""
        ...


@dataclass(frozen=True, slots=True)
class Court:
    """What is judged by.

    Attributes:
        backend: reads limits; attached, if only to look.
        cluster: uid of the kube-system namespace the objects go to; empty when not known.
        admit: why the storage's object would not take such a scope, None if it would.
    """

    pace: Pace
    root: int
    names: Names
    backend: StorageBackend
    cluster: str
    admit: Callable[[MappedScope, ScopeState], str | None]
    only: Set[ScopeHex] = frozenset()


async def judge(court: Court) -> AsyncIterator[Verdict | Tick]:
    """Yield a verdict on all that lies below the root, each scope's before its folders'."""
    present: ScopeObject | None = None
    async for item in court.pace.each(Scan(court.root, sizes=False, only=court.only).items()):
        if isinstance(item, Tick):
            yield item
        elif isinstance(item, FoundScope):
            verdict = await _scope(court, item)
            present = verdict.made if isinstance(verdict.made, ScopeObject) else None
            yield verdict
        elif isinstance(item, FoundFolder):
            yield _folder(court, item, present)
        elif isinstance(item, Oddity):
            outcome = Outcome.UNKNOWN
            if item.odd in (Odd.LINK, Odd.FILE, Odd.MOUNT, Odd.DAMAGED, Odd.UNREADABLE):
                outcome = Outcome.REFUSED
            yield Verdict(outcome, item.path, item.odd, item.message)
    if court.only:
        return
    for row in court.names.unseen():
        yield Verdict(
            Outcome.NOT_ON_DISK,
            folder_path(row.scope, row.folder),
            "NotOnDisk",
            f"line {row.line} of the mapping: the folder is in neither layout",
            row.scope,
            row.folder,
        )


async def _scope(court: Court, item: FoundScope) -> Verdict:
    def no(outcome: Outcome, reason: str, message: str) -> Verdict:
        return Verdict(outcome, item.path, reason, message, item.scope)

    said = court.names.scope(item.scope)
    if said is None:
        return no(Outcome.NOT_IN_MAPPING, "NotInMapping", "no line of the mapping is about it")
    outcome, reason, why = taken(item.owner, court.cluster, said.namespace, said.name)
    if outcome is Outcome.REFUSED:
        return no(outcome, reason, why)
    try:
        state = await court.backend.describe_scope(item.scope)
    except BackendError as error:
        return no(Outcome.REFUSED, "LimitsUnreadable", f"{error.reason}: {error}")
    against = court.admit(said, state)
    if against is not None:
        return no(Outcome.REFUSED, "NotAdmitted", against)
    previous = item.owner if outcome is Outcome.ADOPT else None
    made = ScopeObject(
        said.id, said.namespace, said.name, state.limits, state.enforcement, previous
    )
    return Verdict(outcome, item.path, reason, why, item.scope, None, made)


def _folder(court: Court, item: FoundFolder, scope: ScopeObject | None) -> Verdict:
    def no(outcome: Outcome, reason: str, message: str) -> Verdict:
        return Verdict(outcome, item.path, reason, message, item.scope, item.folder)

    if item.phase is not FolderPhase.LIVE:
        return no(Outcome.TRASH, item.phase, "it is in the trash")
    court.names.see(item.folder, item.layout)
    if item.scope is None:
        return no(
            Outcome.LAYOUT_2, "Layout2", "it lies in no scope; move it first: vfolder-adm migrate"
        )
    if scope is None:
        return no(Outcome.REFUSED, "ScopeRefused", "its scope is not adopted; see there")
    said = court.names.folder_in(item.scope, item.folder)
    if said is None:
        return no(Outcome.NOT_IN_MAPPING, "NotInMapping", "no line of the mapping is about it")
    if said.deleted:
        message = f"line {said.line} of the mapping says {said.deleted!r}"
        return no(Outcome.SKIPPED, "Deleted", message)
    if said.scope != item.scope:
        message = f"line {said.line} of the mapping says scope {said.scope.uuid}"
        return no(Outcome.REFUSED, "ScopeDiffers", message)
    if not said.name:
        message = (
            f"{said.given_name[:80]!r} cannot be an object's name; fill the column vfolder, or use"
            " --adapt-names"
        )
        return no(Outcome.REFUSED, "InvalidName", message)
    rivals = court.names.rivals(item.folder)
    if rivals:
        lines = ", ".join(map(str, rivals))
        message = f"lines {lines} of the mapping would be {scope.namespace}/{said.name}, too"
        return no(Outcome.REFUSED, "NameTaken", f"{message}; fill the column vfolder")
    outcome, reason, why = taken(item.owner, court.cluster, scope.namespace, said.name)
    if outcome is Outcome.REFUSED:
        return no(outcome, reason, why)
    made = FolderObject(scope, item.folder, said.name, said.given_name)
    return Verdict(outcome, item.path, reason, why, item.scope, item.folder, made)


def taken(
    holder: Owner | None, cluster: str, namespace: str, name: str
) -> tuple[Outcome, str, str]:
    """Whether data with that mark may be taken by an object: outcome, reason, message."""
    if holder is None or holder.cluster == MIGRATION_CLUSTER:
        return Outcome.ADOPT, "", ""
    if holder == Owner(cluster, namespace, name):
        return Outcome.ALREADY, "", ""
    if not cluster and (holder.namespace, holder.name) == (namespace, name):
        message = f"it is marked for {holder}; say with --cluster-uid or --kubeconfig which we are"
        return Outcome.REFUSED, "ClusterUnknown", message
    return Outcome.REFUSED, "NotOurs", f"it is marked for {holder}"

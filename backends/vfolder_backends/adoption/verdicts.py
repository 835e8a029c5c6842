"""What `adopt` and `rebuild` decide about each thing they find, with the reason."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from vfolder_backends.adoption.columns import KEEP, default_scope_name
from vfolder_backends.adoption.mapping import MappedFolder, MappedScope
from vfolder_backends.facts import Enforcement
from vfolder_backends.ids import FolderHex, QuotaScopeID, ScopeHex, ScopeKind
from vfolder_backends.port import Limits, Owner


class Outcome(StrEnum):
    """What becomes of a scope, a folder, or whatever else lies there."""

    ADOPT = "adopt"  # an object will stand for it
    ALREADY = "already"  # one does, or did: the mark is ours
    REFUSED = "refused"  # it cannot be proven that it may be taken
    NOT_IN_MAPPING = "not-in-mapping"
    NOT_ON_DISK = "not-on-disk"
    LAYOUT_2 = "layout-2"  # to be migrated first
    SKIPPED = "skipped"  # deleted, as the mapping says
    TRASH = "trash"
    FORMER = "former"  # marked for a name that has other data now
    UNKNOWN = "unknown"

    @property
    def good(self) -> bool:
        """Whether nobody has to do anything about it."""
        return self in (Outcome.ADOPT, Outcome.ALREADY, Outcome.SKIPPED, Outcome.TRASH)


@dataclass(frozen=True, slots=True)
class ScopeObject:
    """A QuotaScope to be.

    Attributes:
        previous: whom the mark names, where that is not the object itself.
    """

    id: QuotaScopeID
    namespace: str
    name: str
    limits: Limits
    enforcement: Enforcement
    previous: Owner | None = None


@dataclass(frozen=True, slots=True)
class FolderObject:
    """A VFolder to be."""

    scope: ScopeObject
    folder: FolderHex
    name: str
    given_name: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One decision; `made` is the object it leads to, for ADOPT and ALREADY."""

    outcome: Outcome
    path: str
    reason: str = ""
    message: str = ""
    scope: ScopeHex | None = None
    folder: FolderHex | None = None
    made: ScopeObject | FolderObject | None = None


class DefaultNames:
    """Stands in for a mapping: everything belongs to one namespace and is called by its id.

    Args:
        kind: whose scopes they are; the disk does not tell.
        namespace: where the objects go.
    """

    def __init__(self, kind: ScopeKind, namespace: str) -> None:
        self._kind = kind
        self._namespace = namespace

    def scope(self, scope: ScopeHex) -> MappedScope | None:
        """A scope by its id."""
        id_ = QuotaScopeID(self._kind, scope)
        return MappedScope(id_, self._namespace, default_scope_name(id_), KEEP, KEEP, 0)

    def folder_in(self, scope: ScopeHex, folder: FolderHex) -> MappedFolder | None:
        """A folder by its id."""
        return MappedFolder(folder, scope, folder.uuid, folder.uuid, None, "", 0, 0)

    def rivals(self, folder: FolderHex) -> list[int]:
        """Ids are unique."""
        return []

    def see(self, folder: FolderHex, layout: int) -> None:
        """Nothing is expected, so nothing is noted."""

    def unseen(self) -> Iterator[MappedFolder]:
        """Nothing is expected."""
        return iter(())

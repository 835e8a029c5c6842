"""What can lie below a root, as plain values."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from vfolder_backends.ids import FolderHex, ScopeHex
from vfolder_backends.port import FolderPhase, Owner

MIGRATION_CLUSTER: Final = "vfolder-adm"
"""Stands for the cluster in marks that a migration made; an adoption may take what they mark."""

_MOST_OWNERS: Final = 1000
OTHERS: Final = (-1, -1)
"""Where owners are counted once there are too many to tell apart."""


@dataclass(slots=True)
class Tally:
    """Sums over a tree.

    Attributes:
        allocated: bytes of blocks in use, as `du` counts them.
        apparent: bytes in files and links; directories have sizes that mean nothing.
        inodes: files, directories and all else, hard links once.
        owners: inodes by (uid, gid).
        mounts: mount points inside, which are not looked into; of many at least the first few.
        unreadable: directories that could not be read, likewise.
        digest: sum of a hash over each name and its metadata; None where none was asked for.
    """

    allocated: int = 0
    apparent: int = 0
    inodes: int = 0
    owners: Counter[tuple[int, int]] = field(default_factory=Counter)
    mounts: int = 0
    unreadable: int = 0
    digest: int | None = None

    def count_owner(self, uid: int, gid: int, times: int = 1) -> None:
        """Count inodes of one owner."""
        key = (uid, gid)
        if key not in self.owners and len(self.owners) >= _MOST_OWNERS:
            key = OTHERS
        self.owners[key] += times

    def add(self, other: "Tally") -> None:
        """Add the sums of another tree; digests are not added."""
        self.allocated += other.allocated
        self.apparent += other.apparent
        self.inodes += other.inodes
        self.mounts += other.mounts
        self.unreadable += other.unreadable
        for (uid, gid), times in other.owners.items():
            self.count_owner(uid, gid, times)


@dataclass(frozen=True, slots=True)
class Tick:
    """A sign of life between two finds: how many entries were looked at since the last one."""

    entries: int = 1


@dataclass(frozen=True, slots=True)
class FoundVersion:
    """The text in `version.txt`, stripped."""

    text: str


@dataclass(frozen=True, slots=True)
class FoundScope:
    """A scope's directory; it comes before its folders.

    Attributes:
        owner: whom its mark names.
        vendor_ids: texts of the files in which other systems keep a storage's id, by name.
    """

    scope: ScopeHex
    owner: Owner | None
    uid: int
    gid: int
    mode: int
    vendor_ids: Mapping[str, str] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """Its directory, relative to the root."""
        return self.scope.value


@dataclass(frozen=True, slots=True)
class ScopeEnd:
    """After a scope's folders: their number and, where sizes were asked for, their sums."""

    scope: ScopeHex
    folders: int
    trashed: int
    tally: Tally | None


@dataclass(frozen=True, slots=True)
class FoundFolder:
    """A folder's directory; without a scope it lies in layout 2."""

    scope: ScopeHex | None
    folder: FolderHex
    path: str
    phase: FolderPhase
    owner: Owner | None
    uid: int
    gid: int
    mode: int
    tally: Tally | None = None
    since: int | None = None  # when it went to the trash, seconds since 1970

    @property
    def layout(self) -> int:
        """2 or 3."""
        return 2 if self.scope is None else 3


class Odd(StrEnum):
    """What is wrong with an `Oddity`; the words are also the reasons in reports."""

    LINK = "Link"  # where a directory belongs
    FILE = "File"  # where a directory belongs
    MOUNT = "Mount"  # another file system begins where a directory of this one belongs
    UNKNOWN = "UnknownName"  # none of our names, and none that we know
    FOREIGN = "Foreign"  # beside the scopes, of some other system
    UNREADABLE = "Unreadable"
    DAMAGED = "DamagedMark"
    MISSING = "Missing"  # marked, and not there
    VERSION = "UnknownVersion"


@dataclass(frozen=True, slots=True)
class Oddity:
    """Something that is not as it should be; `layout` is that of the tree it lies in, 0 outside."""

    odd: Odd
    path: str
    message: str
    layout: int = 0


Item = Tick | FoundVersion | FoundScope | ScopeEnd | FoundFolder | Oddity

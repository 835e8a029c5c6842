"""The port: what the operator asks of a storage, be it a kernel quota, a REST array or a CLI.

Rules for every implementation, checked by `vfolder_backends.testing.conformance`:

* **Idempotent and convergent.** A call that is repeated, after an error, a lost answer or a crash
  at any point, ends in the same state. `ensure_*` never refuses because a thing is half there.
* **Read back.** What is returned was read from the storage after the change, never echoed.
* **Guarded.** Each change compares the root mark through the directory descriptor it then works
  with, and the owner mark of what it changes. `RootLost` and `NotOurs` mean that nothing was
  touched.
* **Bounded.** Each call ends within the deadline the backend was built with (`DeadlineExceeded`).
* Only `BackendError` and its subclasses come out.

Sizes are bytes, times are seconds since 1970 (UTC), counts of files include directories where the
storage counts them (`Capabilities.files_count_directories`).
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from vfolder_backends.facts import Enforcement, Health, Link, PerformanceMetrics
from vfolder_backends.ids import FolderHex, ScopeHex
from vfolder_backends.trash import PurgePolicy as PurgePolicy
from vfolder_backends.trash import PurgeResult as PurgeResult


@dataclass(frozen=True, slots=True)
class Limits:
    """Hard limits of a scope; None is unlimited. Zero does not exist.

    `files` limits what the storage itself counts: with `Capabilities.files_count_directories` that
    includes directories, the scope's own and the two levels above each folder among them.
    """

    bytes: int | None = None
    files: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("bytes", self.bytes), ("files", self.files)):
            if value is not None and value < 1:
                raise ValueError(f"limit {name}={value} is below 1; None means unlimited")


@dataclass(frozen=True, slots=True)
class Usage:
    """What the storage counted; None is unknown, never -1.

    `trash_bytes` is the part of a scope's bytes that lies in its trash.
    """

    bytes: int | None
    files: int | None
    observed_at: float
    source: str = "QuotaCounter"
    trash_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Owner:
    """Which Kubernetes object a scope or folder belongs to; the content of an owner mark.

    `cluster` is the uid of the kube-system namespace.
    """

    cluster: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name} of cluster {self.cluster}"


@dataclass(frozen=True, slots=True)
class Adoption:
    """Leave to take over what is not marked as ours.

    Without it only what this system made for the same owner is touched.

    Attributes:
        previous: narrows the leave to data marked for that owner; None also takes unmarked data.
        marked: whether data marked for somebody else may be taken at all.
    """

    previous: Owner | None = None
    marked: bool = True


BackendRef = Mapping[str, str | int]
"""Vendor ids of a scope (project id, fileset name, operation id), kept in the object's status."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Work that takes longer than one call; the same call again goes on with it.

    Attributes:
        reason: CamelCase word for a condition, such as Tagging or Copying.
        message: what is going on.
        done: how many entries are done.
        total: how many there are, None when that is not known.
    """

    reason: str
    message: str
    done: int = 0
    total: int | None = None


@dataclass(frozen=True, slots=True)
class ScopeRequest:
    """A scope as it is wanted.

    Attributes:
        ref: what `prepare_scope` gave last, as recorded in the object's status.
        adoption: leave to take over existing data that is not marked for `owner`.
        recreate: the owner asked for an empty one in place of what is missing.
        must_exist: it was made once: a missing one is not made again, its mark gone or not.
    """

    scope: ScopeHex
    owner: Owner
    limits: Limits
    ref: BackendRef = field(default_factory=dict)
    adoption: Adoption | None = None
    recreate: bool = False
    must_exist: bool = False


@dataclass(frozen=True, slots=True)
class ScopeState:
    """A scope as the storage shows it; its limits hold once there is no `progress` any more."""

    scope: ScopeHex
    owner: Owner | None
    path: str  # relative to the root
    limits: Limits
    usage: Usage | None
    enforcement: Enforcement
    ref: BackendRef = field(default_factory=dict)
    progress: Progress | None = None


class FolderPhase(StrEnum):
    """Where a folder is in its life."""

    LIVE = "Live"
    FILLING = "Filling"  # a clone whose copy is not complete; nobody can use it yet
    TRASHED = "Trashed"  # can be restored
    PURGING = "Purging"  # past the point of no return
    MISSING = "Missing"  # marked, and not there


@dataclass(frozen=True, slots=True)
class FolderAttributes:
    """Owner and mode of a folder's root directory; None leaves it as it is."""

    uid: int | None = None
    gid: int | None = None
    mode: int | None = None


@dataclass(frozen=True, slots=True)
class FolderSource:
    """The live folder that a clone is made of, on the same storage."""

    scope: ScopeHex
    folder: FolderHex


@dataclass(frozen=True, slots=True)
class FolderRequest:
    """A folder as it is wanted; the fields mean what they mean in `ScopeRequest`.

    `source` makes a new folder a clone; one that is live already is never filled again.
    """

    scope: ScopeHex
    folder: FolderHex
    owner: Owner
    attributes: FolderAttributes = FolderAttributes()
    must_exist: bool = False  # never make it: it was Ready once, or is named to be adopted
    adoption: Adoption | None = None
    recreate: bool = False
    source: FolderSource | None = None


@dataclass(frozen=True, slots=True)
class FolderState:
    """A folder as the storage shows it.

    Attributes:
        since: when it went to the trash.
        expires: until when it can come back from there, where it was trashed with a time of its
            own; None where the storage's own retention counts.
    """

    scope: ScopeHex
    folder: FolderHex
    owner: Owner | None
    phase: FolderPhase
    path: str
    attributes: FolderAttributes = FolderAttributes()
    usage: Usage | None = None
    since: float | None = None
    expires: float | None = None
    progress: Progress | None = None


@dataclass(frozen=True, slots=True)
class Survey:
    """What a walk over a scope has found so far; nothing is changed by it.

    An entry is escaped when it is charged to another project than its scope's, or to none: it was
    moved in, or its owner changed its project id.

    Attributes:
        complete: whether the walk is through; the next call begins a new one then.
        entries: how many entries were looked at.
        escaped: how many of them are charged elsewhere.
        examples: the paths of the first of those, relative to the root.
        usage: by folder, where the storage counts nothing itself; empty until the walk is complete.
        observed_at: when the walk ended, or when it was left off.
        scope_usage: of the scope as a whole, what lies outside its folders and in its trash, too.
    """

    complete: bool
    entries: int
    escaped: int
    examples: tuple[str, ...]
    usage: Mapping[FolderHex, Usage]
    observed_at: float
    scope_usage: Usage | None = None


class StorageBackend(Protocol):
    """One storage, as the operator works with it. See the module's rules."""

    async def attach(self, root_id: str | None, *, initialise: bool = True) -> str:
        """Open the root and return its id.

        With None, an existing root mark is taken; a missing one is written, once, or is `RootLost`
        where it may not be initialised. With an id, the mark must be that one (`RootLost`); nothing
        is written then.
        """
        ...

    @property
    def link(self) -> Link | None:
        """How the connection to the management interface does, None where there is none."""
        ...

    async def close(self) -> None:
        """Let go of descriptors, threads and connections; never blocks on a dead storage."""
        ...

    async def probe(self) -> Health:
        """Look whether the storage works and what it can do; changes nothing."""
        ...

    async def metrics(self) -> PerformanceMetrics | None:
        """Rates of the whole storage, None where it has none to tell."""
        ...

    async def prepare_scope(self, scope: ScopeHex, ref: BackendRef) -> BackendRef:
        """Reserve vendor ids for a new scope, or confirm those in `ref`, recorded before.

        What is returned is recorded in the scope's status before `ensure_scope` uses it.
        """
        ...

    async def ensure_scope(self, request: ScopeRequest) -> ScopeState:
        """Make the scope with its limits, or return the one that is there, its limits untouched.

        What it needs before limits hold may take many calls: see `ScopeState.progress`.

        Raises:
            NotOurs: it is there for somebody else, or unmarked, and no adoption allows it.
            DataMissing: it was made once, is gone, and `recreate` is not set.
        """
        ...

    async def describe_scope(self, scope: ScopeHex) -> ScopeState:
        """Read one scope (`NotFound`)."""
        ...

    async def set_limits(self, scope: ScopeHex, owner: Owner, limits: Limits) -> ScopeState:
        """Set both limits (None removes one) and return what the storage then reports."""
        ...

    async def delete_scope(self, scope: ScopeHex, owner: Owner) -> None:
        """Remove an empty scope, its limits and its marks (`NotEmpty`); absent is success."""
        ...

    async def retire_scope(self, scope: ScopeHex, owner: Owner) -> None:
        """Note that the scope shall be removed once its trash is gone; absent is success.

        `ensure_scope` revokes it, for whoever may have the scope.
        """
        ...

    async def list_retired(self) -> Mapping[ScopeHex, Owner]:
        """Read which scopes are retired, and whose they were; half removed ones, too."""
        ...

    async def delete_retired(self, scope: ScopeHex, owner: Owner) -> bool:
        """Remove a retired scope, as `delete_scope` does; `NotEmpty` leaves it retired.

        Returns:
            False if it is not retired any more: somebody has it again.
        """
        ...

    def list_scopes(self) -> AsyncIterator[ScopeState]:
        """Read all scopes in bulk: limits and usage for drift, marks for orphans."""
        ...

    async def survey_scope(self, scope: ScopeHex) -> Survey | None:
        """Walk over a scope for what escaped its limits, and for usage that nothing else counts.

        Works for at most about half of a call's deadline; while `Survey.complete` is False the next
        call goes on where this one stopped.

        Returns:
            None where there is nothing to find by walking: the storage itself keeps entries to
            their scope, and counts them.

        Raises:
            NotFound: the scope is not there.
        """
        ...

    async def find_scope(self, owner: Owner) -> ScopeHex | None:
        """Ask the index of names for a scope of that owner that is there and not retired."""
        ...

    async def find_folder(self, owner: Owner) -> tuple[ScopeHex, FolderHex] | None:
        """Ask the index of names for a live folder of that owner."""
        ...

    async def find_trash(self, owner: Owner) -> FolderState | None:
        """Ask the index of names whether the last folder of that owner can be restored."""
        ...

    async def ensure_folder(self, request: FolderRequest) -> FolderState:
        """Make the folder, or return the one that is there with its attributes set as asked.

        A clone may take many calls: it is FILLING, with its progress, until the copy is complete.

        Raises:
            NotFound: the scope is not there, or `must_exist` and there is no such folder.
            NotOurs: it is there for somebody else, or unmarked, and no adoption allows it.
            DataMissing: it was made once, is gone, and `recreate` is not set.
            PathConflict: a link or a file lies where it belongs.
        """
        ...

    async def describe_folder(self, scope: ScopeHex, folder: FolderHex) -> FolderState:
        """Read one folder (`NotFound` when there is neither a mark nor a directory)."""
        ...

    async def trash_folder(
        self,
        scope: ScopeHex,
        folder: FolderHex,
        owner: Owner,
        keep_seconds: float | None = None,
    ) -> None:
        """Move the folder to the trash by one rename; absent or already there is success.

        With `keep_seconds` its mark says for how long it can come back, else the storage's own
        retention counts.
        """
        ...

    async def restore_folder(self, scope: ScopeHex, folder: FolderHex, owner: Owner) -> FolderState:
        """Bring a folder back from the trash (`NotFound` once its purge has begun)."""
        ...

    def list_folders(self, scope: ScopeHex) -> AsyncIterator[FolderState]:
        """List the marked folders of a scope, those in the trash included."""
        ...

    async def purge(self, scope: ScopeHex, policy: PurgePolicy) -> PurgeResult:
        """Remove trash for good, oldest first; may be stopped at any point and called again."""
        ...

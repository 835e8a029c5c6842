"""The storage behind the in-memory backend: dictionaries, and every misfortune on demand."""

import asyncio
import secrets
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from vfolder_backends.errors import BackendError
from vfolder_backends.facts import (
    Capabilities,
    Capacity,
    Enforcement,
    Level,
    Link,
    PerformanceMetrics,
    Tristate,
)
from vfolder_backends.ids import FolderHex, ScopeHex
from vfolder_backends.port import FolderAttributes, FolderPhase, Limits, Owner, Survey

ENFORCED: Final = Capabilities(
    Enforcement(Level.ENFORCED, Level.ENFORCED, Tristate.NO, "kept in memory"),
    over_limit_errno="ENOSPC",
    accounting="Allocated",
    df_shows="Scope",
    clone="Server",
    granularity_bytes=4096,
    fast_usage=True,
    folder_usage=True,
)
"""The default capabilities; limits are rounded up to 4 KiB, as real file systems do."""


@dataclass(slots=True)
class Life:
    """One directory of a folder; an id has a second one when it was made anew after the trash.

    Attributes:
        source: what it is a clone of, while entries of that are left to copy.
        copied: how many are copied.
    """

    attributes: FolderAttributes
    bytes: int = 0
    files: int = 0
    since: float | None = None
    doomed: bool = False
    source: "Life | None" = None
    copied: int = 0

    @property
    def phase(self) -> FolderPhase:
        """Where it is in its life."""
        if self.since is None:
            return FolderPhase.LIVE if self.source is None else FolderPhase.FILLING
        return FolderPhase.PURGING if self.doomed else FolderPhase.TRASHED


@dataclass(slots=True)
class Folder:
    """A folder's mark and its directories; the live one or the newest comes last."""

    owner: Owner | None
    lives: list[Life] = field(default_factory=list)
    keep: float | None = None

    @property
    def live(self) -> Life | None:
        """The directory in use."""
        return next((life for life in self.lives if life.since is None), None)

    @property
    def trashed(self) -> Life | None:
        """The newest one that can come back."""
        return next((x for x in reversed(self.lives) if x.phase is FolderPhase.TRASHED), None)


@dataclass(slots=True)
class Scope:
    """A scope's mark, limits and content."""

    owner: Owner | None
    limits: Limits
    present: bool = True
    loose_bytes: int = 0
    loose_files: int = 0
    retired: bool = False
    folders: dict[FolderHex, Folder] = field(default_factory=dict)


@dataclass(slots=True)
class Tree:
    """What a root directory shows, and whether the storage counts the usage of folders."""

    root_id: str | None = None
    counts_folders: bool = True
    scopes: dict[ScopeHex, Scope] = field(default_factory=dict)


@dataclass(slots=True)
class Fault:
    """What the next `times` calls of a method raise, before or after they act."""

    error: BackendError
    times: int
    after: bool


class MemoryStorage:
    """What several backends share, and what a test does behind their backs.

    Attributes:
        capabilities: what probes report; `Level.NONE` keeps no limit and counts nothing.
        capacity: what probes report.
        warnings: what probes report.
        performance: what `metrics` reports.
        link: what `link` reports.
        latency: seconds that each call takes; beyond a backend's deadline it acts all the same.
        gates: methods whose calls wait, within their deadline, until the event is set.
        surveys: what a survey of a scope reports; None for the others.
        exists: whether there is a root directory at all.
        settling: how many more calls of `ensure_scope` report that work goes on.
        copy_files: how many files one call of `ensure_folder` copies into a clone.
        calls: how often each method of the port was called.
    """

    def __init__(self, capabilities: Capabilities = ENFORCED) -> None:
        self.capabilities = capabilities
        self.capacity: Capacity | None = Capacity(1 << 40, 0, time.time())
        self.warnings: tuple[str, ...] = ()
        self.performance: PerformanceMetrics | None = None
        self.surveys: dict[ScopeHex, Survey] = {}
        self.link: Link | None = None
        self.latency = 0.0
        self.gates: dict[str, asyncio.Event] = {}
        self.exists = True
        self.settling = 0
        self.copy_files = 100_000
        self.calls: Counter[str] = Counter()
        self._faults: dict[str, Fault] = {}
        self._mounted = self.tree = Tree()

    def fail(self, method: str, error: BackendError, times: int = 1, after: bool = False) -> None:
        """Let the next calls of a method raise; with `after` they act first (a lost answer)."""
        self._faults[method] = Fault(error, times, after)

    def heal(self) -> None:
        """Let no call fail any more."""
        self._faults.clear()

    def take_fault(self, method: str) -> Fault | None:
        """Return the fault that the present call of a method has to suffer."""
        fault = self._faults.get(method)
        if fault is None:
            return None
        fault.times -= 1
        if fault.times <= 0:
            del self._faults[method]
        return fault

    def unmount(self) -> None:
        """Show an empty directory in place of the storage, as a lost mount does."""
        self.tree = Tree()

    def mount(self) -> None:
        """Show the storage again."""
        self.tree = self._mounted

    def mount_another(self) -> None:
        """Show another storage, which has a root mark of its own."""
        self.tree = Tree(secrets.token_hex(16))

    def tamper(self, scope: ScopeHex, limits: Limits) -> None:
        """Change the limits of a scope as somebody on the storage would."""
        self.tree.scopes[scope].limits = limits

    def fill(
        self, scope: ScopeHex, folder: FolderHex | None = None, size: int = 0, files: int = 0
    ) -> None:
        """Say what a folder, or a scope outside its folders, holds."""
        if folder is None:
            self.tree.scopes[scope].loose_bytes = size
            self.tree.scopes[scope].loose_files = files
            return
        life = self.tree.scopes[scope].folders[folder].lives[-1]
        life.bytes, life.files = size, files

    def plant_scope(self, scope: ScopeHex, owner: Owner | None, limits: Limits) -> None:
        """Put a scope there that this system did not make; without an owner it has no mark."""
        self.tree.scopes[scope] = Scope(owner, limits)

    def plant_folder(self, scope: ScopeHex, folder: FolderHex, owner: Owner | None) -> None:
        """Put a folder there that this system did not make."""
        life = Life(FolderAttributes(0, 0, 0o755))
        self.tree.scopes[scope].folders[folder] = Folder(owner, [life])

    def lose_scope(self, scope: ScopeHex) -> None:
        """Let the container vanish; marks stay."""
        held = self.tree.scopes[scope]
        held.present = False
        for folder in held.folders.values():
            folder.lives.clear()

    def lose_folder(self, scope: ScopeHex, folder: FolderHex) -> None:
        """Let the folder's directory vanish; its mark stays."""
        self.tree.scopes[scope].folders[folder].lives.clear()

"""What differs between storages: how a scope's container, limits and usage are made and read.

`backend.TreeBackend` does the rest (marks, index, folders, trash) the same way for all of them. A
driver never decides whom something belongs to: it is called only after the marks allowed it.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from vfolder_backends.facts import Capabilities, Capacity, Enforcement, Link, PerformanceMetrics
from vfolder_backends.ids import ScopeHex
from vfolder_backends.port import BackendRef, Limits, Progress, Survey, Usage


@dataclass(frozen=True, slots=True)
class ScopeQuota:
    """A scope's limits and usage as the storage reports them."""

    limits: Limits
    usage: Usage | None
    enforcement: Enforcement
    ref: BackendRef = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DriverHealth:
    """What a probe of the storage saw."""

    capabilities: Capabilities
    capacity: Capacity | None
    warnings: tuple[str, ...] = ()


class QuotaDriver(Protocol):
    """One kind of storage. Each method may be repeated after an error, a lost answer or a crash."""

    def check_root(self, root: int) -> None:
        """Look whether the open root is of this kind; blocks, and runs in the pool.

        Raises:
            Misconfigured: it is not; the message names what was found and what was wanted.
        """
        ...

    def folder_usage(self, folder: int) -> Usage | None:
        """Read the storage's counters of an open directory, None where it keeps none per folder.

        Blocks, and runs in the pool.
        """
        ...

    def stored(self, limits: Limits) -> Limits:
        """What the storage shows once `limits` are set: rounded up, None where it keeps none."""
        ...

    async def probe(self) -> DriverHealth:
        """Look whether the storage works and what it can do; changes no user's data."""
        ...

    async def metrics(self) -> PerformanceMetrics | None:
        """Rates of the whole storage, None where it has none to tell."""
        ...

    async def prepare(self, scope: ScopeHex, ref: BackendRef) -> BackendRef:
        """Reserve vendor ids for a new scope, or confirm those in `ref`, recorded before."""
        ...

    async def create(self, scope: ScopeHex, ref: BackendRef) -> None:
        """Make the container, so that it is seen as `<root>/<scope>`; there already is success."""
        ...

    async def settle(self, scope: ScopeHex) -> Progress | None:
        """Go on with what an existing container needs before limits hold on it.

        Works for at most about half of a call's deadline and may be called any number of times;
        quick once all is done.

        Returns:
            How far it is, None when nothing is left to do.
        """
        ...

    async def read(self, scope: ScopeHex) -> ScopeQuota:
        """Read limits and usage of an existing container."""
        ...

    def read_all(self, scopes: Sequence[ScopeHex]) -> AsyncIterator[tuple[ScopeHex, ScopeQuota]]:
        """Read many in as few calls as the storage allows; scopes that vanish are left out."""
        ...

    async def survey(self, scope: ScopeHex) -> Survey | None:
        """See `port.StorageBackend.survey_scope`; the scope was there a moment ago."""
        ...

    async def write(self, scope: ScopeHex, limits: Limits) -> None:
        """Set both limits of an existing container; None removes one."""
        ...

    async def release(self, scope: ScopeHex) -> None:
        """Remove the limits and the empty container, never anything inside; gone is success."""
        ...

    async def cancel(self, scope: ScopeHex) -> None:
        """Give back what `prepare` reserved for a scope that was never made; made is success."""
        ...

    async def close(self) -> None:
        """Let go of connections; never blocks on a dead storage."""
        ...


@runtime_checkable
class Freezing(Protocol):
    """What a driver has besides if its storage can hold a folder still while it is copied.

    All methods block and run in the pool. Without them, or where `freeze` gives None, a folder is
    copied as it lives.
    """

    def freeze(self, folder: int, name: str) -> int | None:
        """Open the folder as it was when this name was first used on it; the caller closes it."""
        ...

    def frozen(self, folder: int, name: str) -> int | None:
        """Open what `freeze` holds under that name, None if it does not hold it any more."""
        ...

    def thaw(self, folder: int, name: str | None = None) -> None:
        """Let go of what `freeze` holds under a name, or under any; gone is success.

        A folder cannot be removed before.
        """
        ...

    def others(self, folder: int) -> list[str]:
        """The names of what others hold it still with; it cannot be removed before they let go."""
        ...


@runtime_checkable
class Linked(Protocol):
    """A driver that talks to an array's management interface."""

    @property
    def link(self) -> Link:
        """How that connection does."""
        ...


def freezing_of(driver: QuotaDriver) -> Freezing | None:
    """How this driver's storage holds a folder still, None where it cannot."""
    found = getattr(driver, "freezing", None)
    return found if isinstance(found, Freezing) else None

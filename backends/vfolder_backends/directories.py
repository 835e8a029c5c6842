"""The driver of storages whose scopes are plain directories with a quota set by system call.

What is left to each of them is a `DirectoryQuota`: functions on an open directory.
"""

import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Final, Protocol

from vfolder_backends import containers
from vfolder_backends.access import RootAccess
from vfolder_backends.driver import DriverHealth, Freezing, ScopeQuota
from vfolder_backends.facts import Capabilities, Capacity, PerformanceMetrics
from vfolder_backends.ids import ScopeHex
from vfolder_backends.openat import directory
from vfolder_backends.port import BackendRef, Limits, Progress, Survey, Usage
from vfolder_backends.walked import UsageWalks

_BATCH: Final = 64


class DirectoryQuota(Protocol):
    """A quota on a directory, by system calls that block; they run in the pool."""

    def check_root(self, root: int) -> None:
        """Raise Misconfigured unless the open root is on a storage of this kind."""
        ...

    def probe(self, root: int) -> tuple[Capabilities, tuple[str, ...]]:
        """Return what this storage can do, and warnings; raise if it does not work."""
        ...

    def stored(self, limits: Limits) -> Limits:
        """See `driver.QuotaDriver.stored`."""
        ...

    def read(self, scope: int) -> ScopeQuota:
        """Read limits and usage of an open scope directory."""
        ...

    def write(self, scope: int, limits: Limits) -> None:
        """Set both limits of an open scope directory; None removes one."""
        ...

    def folder_usage(self, folder: int) -> Usage | None:
        """See `driver.QuotaDriver.folder_usage`."""
        ...


class DirectoryDriver:
    """A `QuotaDriver` made of a `DirectoryQuota`.

    Args:
        access: the way to the root.
        quota: what is done on a directory.
        walks: for storages that count nothing: whose surveys count instead.
    """

    def __init__(
        self, access: RootAccess, quota: DirectoryQuota, walks: UsageWalks | None = None
    ) -> None:
        self._access = access
        self._quota = quota
        self._walks = walks
        self.check_root = quota.check_root
        self.stored = quota.stored
        self.folder_usage = quota.folder_usage
        self.freezing = quota if isinstance(quota, Freezing) else None

    async def probe(self) -> DriverHealth:
        """See `driver.QuotaDriver`; capacity is that of the root's file system."""
        return await self._access.run(self._probe)

    def _probe(self, root: int) -> DriverHealth:
        capabilities, warnings = self._quota.probe(root)
        return DriverHealth(capabilities, capacity_of(root), warnings)

    async def metrics(self) -> PerformanceMetrics | None:
        """None: a mounted file system tells nothing about the whole storage."""
        return None

    async def prepare(self, scope: ScopeHex, ref: BackendRef) -> BackendRef:
        """No ids are needed: the path is the identity."""
        return {}

    async def create(self, scope: ScopeHex, ref: BackendRef) -> None:
        """Make the directory."""
        await self._access.run(containers.make, scope)

    async def settle(self, scope: ScopeHex) -> Progress | None:
        """None: a quota on a directory holds for what lies in it already."""
        return None

    async def read(self, scope: ScopeHex) -> ScopeQuota:
        """Read one directory's quota."""
        return await self._access.run(self._read, scope)

    def _read(self, root: int, scope: ScopeHex) -> ScopeQuota:
        with directory(root, scope.value) as container:
            return self._quota.read(container)

    async def read_all(
        self, scopes: Sequence[ScopeHex]
    ) -> AsyncIterator[tuple[ScopeHex, ScopeQuota]]:
        """Read the directories in batches, so that each keeps to its deadline."""
        for start in range(0, len(scopes), _BATCH):
            batch = scopes[start : start + _BATCH]
            for item in await self._access.run(self._read_batch, batch):
                yield item

    def _read_batch(
        self, root: int, scopes: Sequence[ScopeHex]
    ) -> list[tuple[ScopeHex, ScopeQuota]]:
        found = []
        for scope in scopes:
            with suppress(FileNotFoundError):
                found.append((scope, self._read(root, scope)))
        return found

    async def survey(self, scope: ScopeHex) -> Survey | None:
        """None where a quota holds for all below its directory, and is counted."""
        return await self._walks.survey(scope) if self._walks else None

    async def write(self, scope: ScopeHex, limits: Limits) -> None:
        """Set one directory's quota."""
        await self._access.run(self._write, scope, limits)

    def _write(self, root: int, scope: ScopeHex, limits: Limits) -> None:
        with directory(root, scope.value) as container:
            self._quota.write(container, limits)

    async def release(self, scope: ScopeHex) -> None:
        """Remove the directory; its quota goes with it."""
        await self._access.run(_remove, scope)
        if self._walks:
            self._walks.forget(scope)

    async def cancel(self, scope: ScopeHex) -> None:
        """Nothing was reserved."""

    async def close(self) -> None:
        """Nothing is kept open."""


def capacity_of(root: int) -> Capacity | None:
    """Sizes of the root's file system; None where it has none to tell."""
    space = os.fstatvfs(root)
    total, free = space.f_blocks * space.f_frsize, space.f_bfree * space.f_frsize
    # CephFS without a manager daemon knows no sizes and shows a file system of no blocks.
    return Capacity(total, total - free, time.time()) if space.f_blocks else None


def _remove(root: int, scope: ScopeHex) -> None:
    with suppress(FileNotFoundError):
        os.rmdir(scope.value, dir_fd=root)

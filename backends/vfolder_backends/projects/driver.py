"""The `QuotaDriver` of file systems with project quotas, put together from what stands beside.

Which project a scope has, its directory says; mark and claim reserve it before there is one.
"""

import os
import time
from collections.abc import AsyncIterator, Sequence
from typing import Final

from vfolder_backends.access import RootAccess
from vfolder_backends.config import BackendConfig
from vfolder_backends.directories import capacity_of
from vfolder_backends.driver import DriverHealth, ScopeQuota
from vfolder_backends.errors import Misconfigured, NotFound, NotOurs, Unavailable
from vfolder_backends.facts import PerformanceMetrics
from vfolder_backends.ids import ScopeHex
from vfolder_backends.port import BackendRef, Limits, Progress, Survey, Usage
from vfolder_backends.projects import (
    checks,
    claims,
    containers,
    facts,
    identity,
    quotas,
    syscalls,
    tagging,
)
from vfolder_backends.projects.accounting import KERNEL, Accounting
from vfolder_backends.projects.containers import Made
from vfolder_backends.projects.facts import Flavour
from vfolder_backends.projects.quotas import REF
from vfolder_backends.projects.syscalls import Project
from vfolder_backends.projects.tagging import Tally
from vfolder_backends.tree.reflink import can_reflink

_TRIES: Final = 64
_SHARE: Final = 0.5  # of a call's deadline, for work that goes on in the next call
_SWEEP_SECONDS: Final = 3600.0


class ProjectDriver:
    """Scopes as directories with a project of their own.

    Args:
        access: the way to the root.
        flavour: which file system it must be.
        config: how pods get at folders, and where ids come from.
        first: the lowest id to take.
        last: the highest one.
        via: who knows projects and limits.
    """

    _batch = 4096  # scopes that one call in the pool reads

    def __init__(
        self,
        access: RootAccess,
        flavour: Flavour,
        config: BackendConfig,
        first: int,
        last: int,
        via: Accounting = KERNEL,
    ) -> None:
        self._via = via
        self._access = access
        self._flavour = flavour
        self._config = config
        self._first, self._last = first, last
        self._enforcement = facts.enforcement(flavour, config)
        self._granularity = 4096
        self._space = ""
        self._reflink = False
        self._swept_at = float("-inf")
        self._surveys: dict[ScopeHex, tuple[str | None, Tally]] = {}

    def check_root(self, root: int) -> None:
        """See `checks.check_root`; what only the mounted file system knows is noted here."""
        checks.check_root(root, self._access.path, self._flavour.kind)
        self._granularity = self._flavour.granularity or max(
            syscalls.QUOTA_BLOCK, os.fstatvfs(root).f_frsize
        )
        self._space = identity.space_of(root)

    def folder_usage(self, folder: int) -> Usage | None:
        """None: a project is counted as a whole."""
        return None

    def stored(self, limits: Limits) -> Limits:
        """Bytes are rounded up to what the file system keeps."""
        return quotas.stored(limits, self._granularity)

    async def probe(self) -> DriverHealth:
        """Check the mount anew, and finish what is left of former scopes."""
        return await self._access.run(self._probe)

    def _probe(self, root: int) -> DriverHealth:
        self.check_root(root)
        if not self._reflink:  # asked again: a full disk says no as well
            self._reflink = can_reflink(root)
        self._sweep(root)
        able = facts.capabilities(
            self._flavour, self._config, self._granularity, reflink=self._reflink
        )
        return DriverHealth(able, capacity_of(root))

    def _sweep(self, root: int) -> None:
        if time.monotonic() - self._swept_at > _SWEEP_SECONDS:
            claims.sweep(root, self._via)
            self._swept_at = time.monotonic()

    async def metrics(self) -> PerformanceMetrics | None:
        """None: a mounted file system tells nothing about the whole storage."""
        return None

    async def prepare(self, scope: ScopeHex, ref: BackendRef) -> BackendRef:
        """Claim a project id for a new scope, or confirm the one claimed before.

        Where there is a directory already nothing is written: whether it may be taken is not
        decided yet, and `settle` does what it needs.
        """
        there, known = await self._access.run(_known, scope, self._via)
        if there:
            return {REF: known} if known else {}
        return {REF: await self._allocate(scope, ref)}

    async def _allocate(self, scope: ScopeHex, ref: BackendRef) -> int:
        project: int | None = await self._access.run(claims.confirm, scope, self._via)
        if project is not None:
            return project
        noted = str(ref.get(REF, ""))
        recorded = int(noted) if noted.isdecimal() else 0
        if self._first <= recorded <= self._last:
            # Recorded, and lost on the disk: still the best candidate, if nobody has it.
            project, _ = await self._access.run(claims.claim, scope, recorded, self._via)
        at_least = max(self._first, await self._access.run(claims.last) + 1)
        for _ in range(_TRIES):
            if project is not None:
                return project
            candidate = await self._config.ids.next(self._space, at_least)
            if candidate > self._last:
                raise Misconfigured(
                    f"no project id is left from {self._first} to {self._last} on file system"
                    f" {self._space}; raise parameters.projectIDTo"
                )
            project, at_least = await self._access.run(claims.claim, scope, candidate, self._via)
        raise Unavailable(f"no free project id after {_TRIES} tries; try again")

    async def create(self, scope: ScopeHex, ref: BackendRef) -> None:
        """Make the directory with its project; takes another id where that one is not ours."""
        for _ in range(_TRIES):
            project = await self._allocate(scope, ref)
            made = await self._access.run(containers.make, scope, project, self._via)
            if made is Made.THERE:
                return
            if made is Made.TAKEN:
                ref = {}
        raise Unavailable(f"scope {scope} or its project id kept changing under us; try again")

    async def settle(self, scope: ScopeHex) -> Progress | None:
        """Claim the id of a directory that was there before, and charge to it what lies in it."""
        project = await self._access.run(self._settled_project, scope)
        if project is not None:
            return None
        project = await self._access.run(self._take, scope)
        if project is None:
            # It has no id yet: reserved first, so that a crash leads here again.
            project = await self._allocate(scope, {})
        await self._access.run(tagging.begin, scope, project)
        stop_at = time.monotonic() + self._access.timeout * _SHARE
        return await self._access.run(tagging.tag, scope, project, stop_at, self._via)

    def _settled_project(self, root: int, scope: ScopeHex) -> int | None:
        found, mark = claims.project_of(root, scope, self._via), claims.marked(root, scope)
        if found is None:
            raise NotFound(f"scope {scope} is not there (any more)")
        if mark is None or found != Project(mark, inherits=True):
            return None
        return None if tagging.is_under_way(root, scope) else mark

    def _take(self, root: int, scope: ScopeHex) -> int | None:
        """Claim the id that the directory carries, None if it carries none."""
        tag = claims.tagged(root, scope, self._via)
        if not tag:
            return None
        # Noted before it is marked: the mark of a tagged directory says that nothing is left to do.
        tagging.begin(root, scope, tag)
        if not claims.take(root, scope, tag, self._via):
            holder = claims.claimant(root, tag)
            raise NotOurs(
                f"the directory of scope {scope} carries project id {tag}, which scope {holder}"
                " has; give the directory an id of its own, or none"
            )
        return tag

    async def read(self, scope: ScopeHex) -> ScopeQuota:
        """Read one directory's project."""
        return await self._access.run(quotas.read, scope, self._enforcement, self._via)

    async def read_all(
        self, scopes: Sequence[ScopeHex]
    ) -> AsyncIterator[tuple[ScopeHex, ScopeQuota]]:
        """Read the kernel's table once for all, or once for some thousands."""
        for start in range(0, len(scopes), self._batch):
            batch = scopes[start : start + self._batch]
            for item in await self._access.run(
                quotas.read_all, batch, self._enforcement, self._via
            ):
                yield item

    async def survey(self, scope: ScopeHex) -> Survey | None:
        """Walk for entries that are charged elsewhere."""
        cursor, tally = self._surveys.pop(scope, (None, Tally()))
        stop_at = time.monotonic() + self._access.timeout * _SHARE
        cursor = await self._access.run(
            tagging.find_escaped, scope, cursor, tally, stop_at, self._via
        )
        if cursor is not None:
            self._surveys[scope] = cursor, tally
        examples = tuple(f"{scope}/{path}" for path in tally.examples)
        done = cursor is None
        return Survey(done, tally.entries, tally.other, examples, {}, time.time())

    async def write(self, scope: ScopeHex, limits: Limits) -> None:
        """Set both limits of one directory's project."""
        await self._access.run(quotas.write, scope, limits, self._granularity, self._via)

    async def release(self, scope: ScopeHex) -> None:
        """Remove the directory, then its limits, then what is noted of its id."""
        await self._access.run(_release, scope, self._via)
        self._surveys.pop(scope, None)

    async def cancel(self, scope: ScopeHex) -> None:
        """Give back the id of a scope that was never made."""
        await self._access.run(_discard, scope, self._via)

    async def close(self) -> None:
        """Nothing is kept open."""


def _known(root: int, scope: ScopeHex, via: Accounting) -> tuple[bool, int | None]:
    """Whether the scope's directory is there, and the id that it carries or that is reserved."""
    tag = claims.tagged(root, scope, via)
    return tag is not None, tag or claims.marked(root, scope)


def _release(root: int, scope: ScopeHex, via: Accounting) -> None:
    containers.remove(root, scope, via)
    tagging.forget(root, scope)


def _discard(root: int, scope: ScopeHex, via: Accounting) -> None:
    containers.discard(root, scope, via)
    if claims.project_of(root, scope, via) is None:
        tagging.forget(root, scope)

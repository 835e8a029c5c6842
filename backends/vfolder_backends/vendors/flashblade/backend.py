"""FlashBlade: a scope is a file system with a hard limit, named by the scope's id; bytes only.

There is no quota on directories. The operator sees the file systems below one root, each under its
name: see `views`, and docs/flashblade.md.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Final

from vfolder_backends.access import RootAccess
from vfolder_backends.backend import TreeBackend
from vfolder_backends.config import BackendConfig, Options, parse_options
from vfolder_backends.driver import DriverHealth, ScopeQuota
from vfolder_backends.errors import (
    BackendError,
    DataMissing,
    NotEmpty,
    PathConflict,
    Unavailable,
    Unsupported,
)
from vfolder_backends.facts import (
    Capabilities,
    Capacity,
    Enforcement,
    Level,
    Link,
    PerformanceMetrics,
    Tristate,
)
from vfolder_backends.ids import ScopeHex
from vfolder_backends.layout import CONTROL_DIR
from vfolder_backends.port import BackendRef, Limits, Progress, StorageBackend, Survey, Usage
from vfolder_backends.transport.refusals import Exists, Invalid, Missing
from vfolder_backends.vendors.flashblade import models, views
from vfolder_backends.vendors.flashblade.client import FlashBladeClient
from vfolder_backends.vendors.flashblade.options import FlashBladeOptions

_LOOKS: Final = 8
_WAIT_SHARE: Final = 0.4  # of a call's deadline, for a new file system to appear
_FIRST_PAUSE: Final = 0.02
_SHOWN: Final = 3
_WORST: Final = "critical"

_ENFORCEMENT: Final = Enforcement(
    Level.ENFORCED,
    Level.NONE,
    Tristate.UNKNOWN,
    "enforced by the array on the scope's file system; files are not limited",
)

_CAPABILITIES: Final = Capabilities(
    _ENFORCEMENT,
    over_limit_errno="ENOSPC",  # a full file system; not documented, so EDQUOT is possible
    error_at="Close",  # NFS clients write behind
    accounting="Logical",
    df_shows="Scope",
    isolation="NodeOnly",  # each scope has its export, but all are open to the same nodes
    granularity_bytes=1,
    usage_lag_seconds=60,  # space figures lag; by how much is not documented
    fast_usage=True,
)


class FlashBladeDriver:
    """A `driver.QuotaDriver` that makes, limits and destroys file systems."""

    def __init__(
        self, access: RootAccess, client: FlashBladeClient, options: FlashBladeOptions
    ) -> None:
        self._access = access
        self._client = client
        self._options = options
        self._mounted = options.view == "Automount"
        self._role_known = False

    @property
    def link(self) -> Link:
        """How the connection to the array does."""
        return self._client.channel.link

    def check_root(self, root: int) -> None:
        """See `views.check_automounted`; where something else shows file systems, any directory."""
        if self._mounted:
            views.check_automounted(root, self._access.path)

    def folder_usage(self, folder: int) -> Usage | None:
        """None: only file systems are counted."""
        return None

    def stored(self, limits: Limits) -> Limits:
        """Bytes as they are; there is no limit on files."""
        return Limits(limits.bytes)

    async def probe(self) -> DriverHealth:
        """Look at version, role, redundancy, alerts, and how scopes are exported.

        Raises:
            Unsupported: another kind of array, or (`VersionTooOld`) no API 2.
            PermissionDenied: a role that may not change file systems.
        """
        # The mount first: a lost root is told before anything else.
        await self._access.run(views.seen, CONTROL_DIR)
        array = await self._client.array()
        if "FB" not in array.os:
            raise Unsupported(
                f"{self._client.channel.array}: {array.name!r} runs {array.os!r}, not Purity//FB"
            )
        if not self._role_known:
            await self._client.touch()
            self._role_known = True
        space = await self._client.space()
        warnings = list(self._client.channel.warnings)
        if space.parity < 1:
            warnings.append(f"redundancy is being rebuilt (parity {space.parity:g})")
        alerts = [a for a in await self._client.alerts() if a.severity == _WORST]
        if alerts:
            warnings.append(f"{len(alerts)} critical alerts are open, such as: {alerts[0].summary}")
        warnings += await self._exports()
        used = space.space.total_used
        if used is None:
            used = space.space.total_physical
        capacity = None if used is None else Capacity(space.capacity, used, time.time())
        return DriverHealth(_CAPABILITIES, capacity, tuple(warnings))

    async def _exports(self) -> list[str]:
        wrong = [
            f"{found.name} ({found.nfs.rules or 'by a policy, or not at all'})"
            async for found in self._client.file_systems()
            if _is_scope(found.name) and found.nfs.rules != self._options.rules
        ]
        if not wrong:
            return []
        return [
            f"{len(wrong)} file systems are not exported as parameters say, such as"
            f" {', '.join(wrong[:_SHOWN])}"
        ]

    async def metrics(self) -> PerformanceMetrics | None:
        """Rates of the whole array."""
        seen = await self._client.performance()
        if seen is None:
            return None
        return PerformanceMetrics(
            seen.reads_per_sec,
            seen.writes_per_sec,
            seen.read_bytes_per_sec,
            seen.write_bytes_per_sec,
            None if seen.usec_per_read_op is None else seen.usec_per_read_op / 1e6,
            None if seen.usec_per_write_op is None else seen.usec_per_write_op / 1e6,
        )

    async def prepare(self, scope: ScopeHex, ref: BackendRef) -> BackendRef:
        """Nothing is reserved: the name is the identity."""
        return {}

    async def create(self, scope: ScopeHex, ref: BackendRef) -> None:
        """Make the file system, and wait a while for it to appear below the root.

        Raises:
            PathConflict: a destroyed one holds the name.
            Unavailable: it is made and does not appear yet; the next call goes on.
        """
        found = await self._find(scope)
        if found is None:
            nfs_v4 = self._options.protocol == "NFSv4.1"
            try:
                await self._client.create(scope.value, self._options.rules, nfs_v4)
            except (Exists, Invalid):
                # How a taken name is refused is not documented: whether it is taken is looked at.
                found = await self._find(scope)
                if found is None:
                    raise
        if found is not None and found.destroyed:
            raise PathConflict(
                f"file system {scope} is destroyed, and keeps its name until it is eradicated:"
                " recover it, or eradicate it"
            )
        await self._appear(scope)
        await self._access.run(views.dress, scope.value, self._mounted)

    async def _appear(self, scope: ScopeHex) -> None:
        stop_at = time.monotonic() + self._access.timeout * _WAIT_SHARE
        pause = _FIRST_PAUSE
        while not await self._access.run(views.seen, scope.value):
            if await self._find(scope) is None:
                raise Unavailable(f"file system {scope} was removed while it was made; try again")
            if time.monotonic() + pause > stop_at:
                raise Unavailable(
                    f"file system {scope} exists and does not appear at"
                    f" {self._access.path}/{scope} yet; does the autofs map know it, and may we"
                    " mount it (operatorClients)?"
                )
            await asyncio.sleep(pause)
            pause *= 2

    async def settle(self, scope: ScopeHex) -> Progress | None:
        """None: a limit holds at once."""
        return None

    async def read(self, scope: ScopeHex) -> ScopeQuota:
        """Read one file system."""
        return _as_read(await self._present(scope))

    async def read_all(
        self, scopes: Sequence[ScopeHex]
    ) -> AsyncIterator[tuple[ScopeHex, ScopeQuota]]:
        """Read the one list of file systems; a scope that is not in it is asked for by itself."""
        wanted = {scope.value: scope for scope in scopes}
        if not wanted:
            return
        async for found in self._client.file_systems():
            scope = wanted.pop(found.name, None)
            if scope is not None:
                yield scope, _as_read(found)
        for scope in wanted.values():
            # What neither list nor question knows is gone, though an automount may still show it.
            one = await self._find(scope)
            if one is not None and not one.destroyed:
                yield scope, _as_read(one)

    async def survey(self, scope: ScopeHex) -> Survey | None:
        """None: nothing gets out of a file system."""
        return None

    async def write(self, scope: ScopeHex, limits: Limits) -> None:
        """Set the limit; without one the file system is as large as the array."""
        if self._mounted:
            await self._access.run(views.check_own, scope.value)
        await self._client.limit(await self._present(scope), limits.bytes)

    async def release(self, scope: ScopeHex) -> None:
        """Rename the empty file system aside, look again that it is empty, and destroy it.

        It is gone when a list shows nothing of it: of one wrong answer none may be left, and
        another actor may be as far as we are.
        """
        why: BackendError | None = None
        for _ in range(_LOOKS):
            left = [found async for found in self._client.file_systems() if _of(found, scope)]
            if not left:
                return
            for found in left:
                why = await self._remove(found, scope)
        raise Unavailable(
            f"{self._client.channel.array}: the file system of scope {scope} is still there: {why}"
        )

    async def _remove(self, found: models.FileSystem, scope: ScopeHex) -> BackendError:
        """Remove it as far as that goes, and return what may stand against it."""
        aside = f"{scope}-{found.id.replace('-', '')[:8]}"
        try:
            if found.name == scope.value:
                if not await self._empty(found.name):
                    return self._unseen(found.name)
                await self._client.rename(found, aside)
            try:
                if not await self._empty(aside):
                    return self._unseen(aside)
            except NotEmpty:
                await self._client.rename(found, scope.value)
                raise
            await self._client.destroy(found)
        except (Missing, Invalid, Exists) as error:
            return error  # not what it was in the list any more
        if self._options.eradicate:
            await self._client.eradicate(found)
        return Unavailable("it was destroyed, and is listed all the same")

    async def _empty(self, name: str) -> bool:
        return await self._access.run(views.empty, name, self._mounted)

    def _unseen(self, name: str) -> BackendError:
        return Unavailable(
            f"{self._access.path}/{name} does not appear, so whether it is empty is not known"
        )

    async def cancel(self, scope: ScopeHex) -> None:
        """Nothing was reserved."""

    async def close(self) -> None:
        """Close the connections."""
        await self._client.channel.close()

    async def _find(self, scope: ScopeHex) -> models.FileSystem | None:
        try:
            return await self._client.find(scope.value)
        except Missing:
            return None

    async def _present(self, scope: ScopeHex) -> models.FileSystem:
        try:
            found = await self._client.find(scope.value)
        except Missing as error:
            raise BackendError(
                f"scope {scope}: its directory is there, and the array knows no such file system:"
                f" {error}"
            ) from error
        if found.destroyed:
            raise DataMissing(
                f"file system {scope} is destroyed: recover it within"
                f" {(found.time_remaining or 0) // 1000} s"
            )
        return found


def _as_read(found: models.FileSystem) -> ScopeQuota:
    usage = Usage(found.space.virtual, None, time.time(), "FileSystemSpace")
    return ScopeQuota(Limits(found.hard_limit), usage, _ENFORCEMENT)


def _of(found: models.FileSystem, scope: ScopeHex) -> bool:
    return found.name == scope.value or found.name.startswith(f"{scope}-")


def _is_scope(name: str) -> bool:
    try:
        ScopeHex(name)
    except ValueError:
        return False
    return True


class Factory:
    """Makes `flashblade` backends."""

    options: type[Options] = FlashBladeOptions
    required_credentials: tuple[str, ...] = ("apiToken",)

    def build(self, config: BackendConfig) -> StorageBackend:
        """Return a backend over the file systems that appear below `config.root`."""
        options = parse_options(FlashBladeOptions, config.parameters)
        client = FlashBladeClient(config)
        return TreeBackend(config, lambda access: FlashBladeDriver(access, client, options))

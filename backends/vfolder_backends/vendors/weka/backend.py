"""WEKA: a scope is a directory with a directory quota; bytes only.

A quota belongs to the directory's inode, not to its path. A quota set on a directory that is not
empty is counted first (`ADDING`) and holds only once that is done.
"""

import time
from collections.abc import AsyncIterator, Sequence
from typing import Final

from vfolder_backends import containers
from vfolder_backends.access import RootAccess
from vfolder_backends.backend import TreeBackend
from vfolder_backends.config import BackendConfig, Options, parse_options
from vfolder_backends.driver import DriverHealth, ScopeQuota
from vfolder_backends.errors import (
    BackendError,
    Misconfigured,
    NotEmpty,
    Unavailable,
    VersionTooOld,
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
from vfolder_backends.vendors.weka import models
from vfolder_backends.vendors.weka.client import WekaClient
from vfolder_backends.vendors.weka.options import WekaOptions

_OLDEST: Final = (4, 3)  # resolvePath; quotas themselves are older

_ENFORCEMENT: Final = Enforcement(
    Level.ENFORCED,
    Level.NONE,
    Tristate.UNKNOWN,
    "enforced by the cluster; mounts with write cache can pass the limit by what they hold, and"
    " see the error at fsync or close; files are not limited",
)
_COUNTING: Final = Enforcement(
    Level.NONE,
    Level.NONE,
    Tristate.UNKNOWN,
    "the cluster still counts what lies in the directory; the limit holds once that is done",
)
_BROKEN: Final = Enforcement(
    Level.NONE, Level.NONE, Tristate.UNKNOWN, "the cluster shows the quota in the state ERROR"
)

_CAPABILITIES: Final = Capabilities(
    _ENFORCEMENT,
    over_limit_errno="EDQUOT",  # not documented; the docs say "out of space", so ENOSPC is possible
    error_at="Close",
    accounting="Logical",
    df_shows="Backend",
    isolation="NodeOnly",
    granularity_bytes=1,
    fast_usage=True,
)


class WekaDriver:
    """A `driver.QuotaDriver`; knows each directory's inode until the directory is another one."""

    def __init__(self, access: RootAccess, client: WekaClient, options: WekaOptions) -> None:
        self._access = access
        self._client = client
        self._options = options
        self._uid = ""
        self._inodes: dict[ScopeHex, tuple[int, int]] = {}
        self._same_tree = False

    @property
    def link(self) -> Link:
        """How the connection to the cluster does."""
        return self._client.channel.link

    def check_root(self, root: int) -> None:
        """Any directory: whether it is the cluster's is looked at by `probe`, with the API."""

    def folder_usage(self, folder: int) -> Usage | None:
        """None: only scopes have a quota."""
        return None

    def stored(self, limits: Limits) -> Limits:
        """Bytes as they are; there is no limit on files."""
        return Limits(limits.bytes)

    async def probe(self) -> DriverHealth:
        """Look at version, state, role, and whether API and mount show the same directory.

        Raises:
            Misconfigured: no such file system, or the mount shows another directory.
            VersionTooOld: a version without the calls that are needed.
            PermissionDenied: a role that may not set quotas.
        """
        # The mount first: a lost root is told before anything else.
        await self._access.run(containers.present)
        cluster = await self._client.cluster()
        if _version(cluster.release) < _OLDEST:
            raise VersionTooOld(
                f"{self._client.channel.array}: WEKA {cluster.release} lacks resolvePath;"
                f" {'.'.join(map(str, _OLDEST))} or newer is needed"
            )
        if cluster.io_status != "STARTED":
            raise Unavailable(
                f"{self._client.channel.array}: the cluster's IO is {cluster.io_status!r}"
            )
        found = await self._file_system()
        if not self._same_tree:
            await self._compare_trees()
            self._same_tree = True
        warnings = list(self._client.channel.warnings)
        if cluster.status != "OK":
            warnings.append(f"the cluster's status is {cluster.status!r}")
        if cluster.active_alerts_count:
            warnings.append(f"{cluster.active_alerts_count} alerts are active on the cluster")
        capacity = Capacity(found.total_budget, found.used_total, time.time())
        return DriverHealth(_CAPABILITIES, capacity, tuple(warnings))

    async def _file_system(self) -> models.FileSystem:
        wanted, seen = self._options.file_system, await self._client.file_systems()
        for one in seen:
            if one.name == wanted:
                if one.status != "READY":
                    raise Unavailable(f"file system {wanted!r} is {one.status!r}, not READY")
                self._uid = one.uid
                return one
        names = ", ".join(sorted(one.name for one in seen)) or "none"
        raise Misconfigured(
            f"parameters.fileSystem: no file system {wanted!r}; this account sees: {names}"
        )

    async def _compare_trees(self) -> None:
        """Make a directory through the mount, and look for it through the API."""
        path = await self._access.run(containers.make_probe)
        try:
            await self._client.inode(self._uid, self._path(path))
        except Missing as error:
            raise Misconfigured(
                f"parameters.path: {self._options.path!r} of {self._options.file_system!r} is not"
                f" what is mounted at {self._access.path}: {error}"
            ) from error
        finally:
            await self._access.run(containers.remove_probe, path)
        control = await self._client.inode(self._uid, self._path(CONTROL_DIR))
        try:
            await self._client.touch_quota(self._uid, control)
        except (Missing, Invalid, Exists):
            return  # answered after the role was looked at: there is no quota on it

    async def metrics(self) -> PerformanceMetrics | None:
        """Rates of the whole cluster."""
        activity = (await self._client.cluster()).activity
        processes = await self._client.processes()
        reads = [(p.reads_per_second, p.read_latency_usecs) for p in processes]
        writes = [(p.writes_per_second, p.write_latency_usecs) for p in processes]
        return PerformanceMetrics(
            activity.num_reads,
            activity.num_writes,
            activity.sum_bytes_read,
            activity.sum_bytes_written,
            _mean_seconds(reads),
            _mean_seconds(writes),
        )

    async def prepare(self, scope: ScopeHex, ref: BackendRef) -> BackendRef:
        """Nothing is reserved: the path leads to the inode."""
        return {}

    async def create(self, scope: ScopeHex, ref: BackendRef) -> None:
        """Make the directory; the quota is set while it is empty, so it holds at once."""
        await self._access.run(containers.make, scope)

    async def settle(self, scope: ScopeHex) -> Progress | None:
        """Tell whether the cluster still counts."""
        quota = await self._quota(scope)
        if quota is None or quota.status != "ADDING":
            return None
        return Progress("Counting", "the cluster counts what lies in the scope already")

    async def read(self, scope: ScopeHex) -> ScopeQuota:
        """Read one quota."""
        return _as_read(await self._quota(scope))

    async def read_all(
        self, scopes: Sequence[ScopeHex]
    ) -> AsyncIterator[tuple[ScopeHex, ScopeQuota]]:
        """Read the one list of all quotas; a scope that is not in it is asked for by itself."""
        there = await self._access.run(containers.present)
        wanted = {self._path(scope.value): scope for scope in scopes if scope.value in there}
        if not wanted:
            return
        async for quota in self._client.quotas(await self._file_system_uid()):
            for path in quota.paths & wanted.keys():
                yield wanted.pop(path), _as_read(quota)
                break
        for scope in wanted.values():
            try:
                yield scope, await self.read(scope)
            except Missing:
                if scope.value in await self._access.run(containers.present):
                    raise

    async def survey(self, scope: ScopeHex) -> Survey | None:
        """None: nothing gets out of a directory quota, renames across it fail."""
        return None

    async def write(self, scope: ScopeHex, limits: Limits) -> None:
        """Set the limit; without one the quota stays and counts."""
        inode = await self._inode(scope)
        await self._client.set_quota(self._uid, inode, limits.bytes)

    async def release(self, scope: ScopeHex) -> None:
        """Set the empty directory aside, remove its quota, then the directory."""
        self._inodes.pop(scope, None)
        while await self._access.run(containers.set_aside, scope):
            await self._release_aside(scope)

    async def _release_aside(self, scope: ScopeHex) -> None:
        uid = await self._file_system_uid()
        try:
            inode = await self._client.inode(uid, self._path(containers.aside_path(scope)))
        except Missing as error:
            if not await self._access.run(containers.set_aside, scope):
                return  # another actor finished it
            raise BackendError(
                f"scope {scope}: the mount shows it set aside, the cluster does not: {error}"
            ) from error
        try:
            before = (await self._client.quota(uid, inode)).hard_limit
        except Missing:
            before = None
        await self._client.remove_quota(uid, inode)
        try:
            await self._access.run(containers.remove_aside, scope)
        except NotEmpty:
            await self._client.set_quota(uid, inode, before)
            await self._access.run(containers.bring_back, scope)
            raise

    async def cancel(self, scope: ScopeHex) -> None:
        """Nothing is reserved for a scope that was never made."""

    async def close(self) -> None:
        """Close the connections."""
        await self._client.channel.close()

    def _path(self, below: str) -> str:
        return f"{self._options.path.rstrip('/')}/{below}"

    async def _file_system_uid(self) -> str:
        if not self._uid:
            await self._file_system()
        return self._uid

    async def _inode(self, scope: ScopeHex) -> int:
        """Return the cluster's number of the directory that the mount shows now."""
        seen = await self._access.run(containers.inode, scope)
        known = self._inodes.get(scope)
        if known is None or known[0] != seen:
            uid = await self._file_system_uid()
            known = seen, await self._client.inode(uid, self._path(scope.value))
            self._inodes[scope] = known
        return known[1]

    async def _quota(self, scope: ScopeHex) -> models.Quota | None:
        inode = await self._inode(scope)
        try:
            return await self._client.quota(self._uid, inode)
        except Missing:
            return None


def _as_read(quota: models.Quota | None) -> ScopeQuota:
    if quota is None or quota.status == "DELETING":
        return ScopeQuota(Limits(), None, _ENFORCEMENT)
    states = {"ADDING": _COUNTING, "ERROR": _BROKEN}
    usage = Usage(quota.total_bytes, None, time.time())
    return ScopeQuota(Limits(quota.hard_limit), usage, states.get(quota.status, _ENFORCEMENT))


def _version(release: str) -> tuple[int, ...]:
    """Read `4.4.7` or `4.4.7-beta`; unreadable is older than all."""
    numbers = []
    for part in release.split("."):
        digits = part.partition("-")[0]
        if not digits.isdigit():
            break
        numbers.append(int(digits))
    return tuple(numbers)


def _mean_seconds(rates: Sequence[tuple[float, float]]) -> float | None:
    """Mean of latencies in microseconds, weighted by how often; None when nothing happens."""
    total = sum(rate for rate, _ in rates)
    return sum(rate * usecs for rate, usecs in rates) / total / 1e6 if total else None


class Factory:
    """Makes `weka` backends."""

    options: type[Options] = WekaOptions
    required_credentials: tuple[str, ...] = ("username", "password")

    def build(self, config: BackendConfig) -> StorageBackend:
        """Return a backend over the file system mounted at `config.root`."""
        options = parse_options(WekaOptions, config.parameters)
        client = WekaClient(config, options.organization)
        return TreeBackend(config, lambda access: WekaDriver(access, client, options))

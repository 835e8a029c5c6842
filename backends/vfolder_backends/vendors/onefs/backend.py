"""OneFS: a scope is a directory with a SmartQuotas directory quota; bytes only.

OneFS removes no directory that a quota is on, so the quota goes first. A quota put on a directory
that is not empty counts first, by a job (QuotaScan), and cannot be relied on until that is done.
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
    NotEmpty,
    PathConflict,
    PermissionDenied,
    Unavailable,
)
from vfolder_backends.facts import Capabilities, Enforcement, Level, Link, Tristate
from vfolder_backends.facts import PerformanceMetrics as Metrics
from vfolder_backends.ids import ScopeHex
from vfolder_backends.port import BackendRef, Limits, Progress, StorageBackend, Survey, Usage
from vfolder_backends.transport.refusals import Exists, Invalid, Missing
from vfolder_backends.vendors.onefs import models
from vfolder_backends.vendors.onefs.client import OneFSClient
from vfolder_backends.vendors.onefs.inspection import Inspection
from vfolder_backends.vendors.onefs.options import OneFSOptions

_LOOKS: Final = 8
_MB: Final = 1e6  # "MB/s" in the cluster's own schema

_ENFORCEMENT: Final = Enforcement(
    Level.ENFORCED,
    Level.NONE,
    Tristate.UNKNOWN,
    "enforced by the cluster; files are not limited",
)
_COUNTING: Final = Enforcement(
    Level.NONE,
    Level.NONE,
    Tristate.UNKNOWN,
    "the cluster still counts what lies in the directory (QuotaScan); until then the limit may not"
    " hold",
)

_CAPABILITIES: Final = Capabilities(
    _ENFORCEMENT,
    over_limit_errno="EDQUOT",  # NFS3ERR_DQUOT; not documented, so ENOSPC is possible
    error_at="Close",  # NFS clients write behind
    accounting="Logical",
    df_shows="Backend",  # by NFS; what `container` shows there is not documented
    isolation="NodeOnly",  # one export shows all scopes
    granularity_bytes=1,
    fast_usage=True,
)


class OneFSDriver:
    """A `driver.QuotaDriver`; a quota is found by the path of its directory."""

    def __init__(self, access: RootAccess, client: OneFSClient, options: OneFSOptions) -> None:
        self._access = access
        self._client = client
        self._root = options.path
        self._inspection = Inspection(access, client, options)

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
        """See `inspection`."""
        capacity, warnings = await self._inspection.look()
        return DriverHealth(_CAPABILITIES, capacity, tuple(warnings))

    async def metrics(self) -> Metrics | None:
        """Rates of all nodes together; latencies are left out, their unit is not documented."""
        nodes = await self._client.statistics()
        return Metrics(
            sum(node.disk.read for node in nodes),
            sum(node.disk.write for node in nodes),
            sum(node.onefs.out for node in nodes) * _MB,
            sum(node.onefs.into for node in nodes) * _MB,
        )

    async def prepare(self, scope: ScopeHex, ref: BackendRef) -> BackendRef:
        """Nothing is reserved: the path is the identity."""
        return {}

    async def create(self, scope: ScopeHex, ref: BackendRef) -> None:
        """Make the directory; the quota is put on it while it is empty, so it holds at once."""
        await self._access.run(containers.make, scope)

    async def settle(self, scope: ScopeHex) -> Progress | None:
        """Tell how far the QuotaScan is, and start one where none is running."""
        quota = await self._quota(self._path(scope))
        if quota is None or quota.ready:
            return None
        try:
            scans = [job for job in await self._client.jobs() if job.type == "QuotaScan"]
            if not scans:
                # Done ones are in another list: it may have ended since the quota was read.
                quota = await self._quota(self._path(scope))
                if quota is None or quota.ready:
                    return None
                return Progress("Counting", await self._scan_again())
        except PermissionDenied as error:
            return Progress(
                "Counting", f"the cluster counts; how far it is we may not see: {error}"
            )
        job = scans[0]
        message = f"job {job.id} (QuotaScan, {job.state}) counts what lies in the scope already"
        return Progress("Counting", message, job.current_phase, job.total_phases or None)

    async def _scan_again(self) -> str:
        ended = [job for job in await self._client.recent_jobs() if job.type == "QuotaScan"]
        await self._client.start_scan()
        how = f"the last one, job {ended[-1].id}, is {ended[-1].state}" if ended else "none ran"
        return f"no QuotaScan was running ({how}), one was started"

    async def read(self, scope: ScopeHex) -> ScopeQuota:
        """Read one quota."""
        await self._access.run(containers.inode, scope)
        return _as_read(await self._quota(self._path(scope)))

    async def read_all(
        self, scopes: Sequence[ScopeHex]
    ) -> AsyncIterator[tuple[ScopeHex, ScopeQuota]]:
        """Read the one list of all quotas; a scope that is not in it is asked for by itself."""
        there = await self._access.run(containers.present)
        wanted = {self._path(scope): scope for scope in scopes if scope.value in there}
        if not wanted:
            return
        async for quota in self._client.quotas_below(self._root):
            scope = wanted.pop(quota.path, None)
            if scope is not None:
                yield scope, _as_read(quota)
        for path, scope in wanted.items():
            quota_now = await self._quota(path)
            if scope.value in await self._access.run(containers.present):
                yield scope, _as_read(quota_now)

    async def survey(self, scope: ScopeHex) -> Survey | None:
        """None: everything below the directory is charged to its quota, whoever owns it."""
        return None

    async def write(self, scope: ScopeHex, limits: Limits) -> None:
        """Set the limit; without one the quota stays and counts."""
        await self._access.run(containers.inode, scope)
        await self._set(self._path(scope), limits.bytes)

    async def _set(self, path: str, hard: int | None) -> None:
        quota = await self._quota(path)
        if quota is None:
            try:
                await self._client.create_quota(path, hard)
                return
            except Exists:  # another actor, or our own call whose answer was lost
                quota = await self._client.quota(path)
        try:
            await self._client.change_quota(quota, hard)
        except Invalid:
            if hard is not None:
                raise
            # A release that takes no nulls: no limit is a quota that never had one.
            await self._client.remove_quota(quota)
            await self._client.create_quota(path, None)

    async def release(self, scope: ScopeHex) -> None:
        """Set the empty directory aside, remove its quota, then the directory."""
        aside = f"{self._root}/{containers.aside_path(scope)}"
        while await self._set_aside(scope):
            before = await self._remove_quotas(aside)
            try:
                await self._access.run(containers.remove_aside, scope)
            except NotEmpty:
                await self._set(aside, before)
                await self._access.run(containers.bring_back, scope)
                raise

    async def _set_aside(self, scope: ScopeHex) -> bool:
        """Rename the container aside; where the cluster renames none with a quota, that goes first.

        Whether it does is not documented.
        """
        try:
            return await self._access.run(containers.set_aside, scope)
        except (PathConflict, PermissionDenied):
            path = self._path(scope)
            before = await self._remove_quotas(path)
        try:
            return await self._access.run(containers.set_aside, scope)
        except BackendError:
            await self._set(path, before)
            raise

    async def _remove_quotas(self, path: str) -> int | None:
        """Remove the quota on a directory, and return what its limit was.

        That there is none must be seen twice: a directory must not lose its limit, nor keep it
        and so stay for ever, by one wrong answer.
        """
        before, misses = None, 0
        for _ in range(_LOOKS):
            quota = await self._quota(path)
            if quota is None:
                misses += 1
                if misses == 2:
                    return before
                continue
            before, misses = quota.hard_limit, 0
            await self._client.remove_quota(quota)
        raise Unavailable(
            f"{self._client.channel.array}: the quota on {path} is still there after its removal"
        )

    async def cancel(self, scope: ScopeHex) -> None:
        """Nothing was reserved."""

    async def close(self) -> None:
        """Close the connections."""
        await self._client.channel.close()

    def _path(self, scope: ScopeHex) -> str:
        return f"{self._root}/{scope}"

    async def _quota(self, path: str) -> models.Quota | None:
        try:
            return await self._client.quota(path)
        except Missing:
            return None


def _as_read(quota: models.Quota | None) -> ScopeQuota:
    if quota is None:
        return ScopeQuota(Limits(), None, _ENFORCEMENT)
    usage = Usage(quota.usage.logical, quota.usage.inodes, time.time())
    if not quota.ready:
        return ScopeQuota(Limits(quota.hard_limit), None, _COUNTING)
    return ScopeQuota(Limits(quota.hard_limit), usage, _ENFORCEMENT)


class Factory:
    """Makes `onefs` backends."""

    options: type[Options] = OneFSOptions
    required_credentials: tuple[str, ...] = ("username", "password")

    def build(self, config: BackendConfig) -> StorageBackend:
        """Return a backend over the directory mounted at `config.root`."""
        options = parse_options(OneFSOptions, config.parameters)
        client = OneFSClient(config, options.authentication == "Session")
        return TreeBackend(config, lambda access: OneFSDriver(access, client, options))

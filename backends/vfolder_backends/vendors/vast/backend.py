"""VAST: a scope is a directory with a quota on its path; bytes and files.

A quota is an object of its own with an id; it outlives its directory, and whether it follows a
directory that is renamed is not documented. So the directory goes first, then every quota that is
left where it was: there is no moment at which a scope's directory is there without its limit.
"""

import errno
import time
from collections.abc import AsyncIterator, Sequence
from typing import Final

from vfolder_backends import containers
from vfolder_backends.access import RootAccess
from vfolder_backends.backend import TreeBackend
from vfolder_backends.config import BackendConfig, Options, parse_options
from vfolder_backends.driver import DriverHealth, ScopeQuota
from vfolder_backends.errors import BackendError, NotEmpty
from vfolder_backends.facts import (
    Capabilities,
    Enforcement,
    Level,
    Link,
    PerformanceMetrics,
    Tristate,
)
from vfolder_backends.ids import ScopeHex
from vfolder_backends.port import (
    BackendRef,
    Limits,
    Progress,
    StorageBackend,
    Survey,
    Usage,
)
from vfolder_backends.transport.refusals import Exists, Invalid, Missing
from vfolder_backends.tree import files
from vfolder_backends.vendors.vast import models
from vfolder_backends.vendors.vast.client import VastClient
from vfolder_backends.vendors.vast.health import Prober, metrics_of
from vfolder_backends.vendors.vast.options import VastOptions

_LAG: Final = 60  # seconds; usage is said to be consistent in the end, no figure is published

_ENFORCEMENT: Final = Enforcement(
    Level.ENFORCED,
    Level.ENFORCED,
    Tristate.UNKNOWN,
    "enforced by the cluster, by what it has counted: a fast writer can pass the limit by what is"
    " not counted yet",
)
_SYNCHRONIZING: Final = Enforcement(
    Level.NONE, Level.NONE, Tristate.UNKNOWN, "the cluster has not put the quota in force yet"
)
_FAILED: Final = Enforcement(
    Level.NONE, Level.NONE, Tristate.UNKNOWN, "the cluster shows the quota in the state FAILED"
)

CAPABILITIES: Final = Capabilities(
    _ENFORCEMENT,
    over_limit_errno="EDQUOT",  # not documented: NFS has a word for it, and one for ENOSPC
    error_at="Close",
    accounting="Logical",
    df_shows="Backend",
    isolation="NodeOnly",
    granularity_bytes=1,
    usage_lag_seconds=_LAG,
    fast_usage=True,
)


class VastDriver:
    """A `driver.QuotaDriver`; finds quotas by path, and changes and removes them by id."""

    def __init__(self, access: RootAccess, client: VastClient, options: VastOptions) -> None:
        self._access = access
        self._client = client
        self._root = options.path.rstrip("/")
        self._prober = Prober(access, client, options, CAPABILITIES)

    @property
    def link(self) -> Link:
        """How the connection to the management service does."""
        return self._client.channel.link

    def check_root(self, root: int) -> None:
        """Any directory: whether it is the cluster's is looked at by `probe`, with the API."""

    def folder_usage(self, folder: int) -> Usage | None:
        """None: only scopes have a quota."""
        return None

    def stored(self, limits: Limits) -> Limits:
        """Both as they are."""
        return limits

    async def probe(self) -> DriverHealth:
        """See `health.Prober`."""
        return await self._prober.probe()

    async def metrics(self) -> PerformanceMetrics | None:
        """Rates of the whole cluster, None for a role that may not see it."""
        return await metrics_of(self._client)

    async def prepare(self, scope: ScopeHex, ref: BackendRef) -> BackendRef:
        """Nothing is reserved: the path leads to the quota."""
        return {}

    async def create(self, scope: ScopeHex, ref: BackendRef) -> None:
        """Make the directory, where no quota of a former one is left."""
        await self._sweep(scope, await self._client.quotas_named(_name(scope)))
        await self._access.run(containers.make, scope)

    async def settle(self, scope: ScopeHex) -> Progress | None:
        """Tell whether the cluster has the quota in force."""
        quota = await self._quota(scope)
        if quota is None or _in_force(quota):
            return None
        return Progress("Synchronizing", f"the quota's sync_state is {quota.sync_state!r}")

    async def read(self, scope: ScopeHex) -> ScopeQuota:
        """Read one quota."""
        await self._access.run(containers.inode, scope)  # a lost root, or container, is told first
        return _as_read(await self._quota(scope))

    async def read_all(
        self, scopes: Sequence[ScopeHex]
    ) -> AsyncIterator[tuple[ScopeHex, ScopeQuota]]:
        """Read the one list of the tenant's quotas; what is not in it is looked for by itself."""
        there = await self._access.run(containers.present)
        wanted = {self._path(scope.value): scope for scope in scopes if scope.value in there}
        if not wanted:
            return
        async for quota in self._client.quotas():
            scope = wanted.pop(quota.place, None)
            if scope is not None:
                yield scope, _as_read(quota)
        for path, scope in wanted.items():
            # Quotas made or removed meanwhile shift the pages; one more look tells.
            found = await self._client.quotas_at(path)
            if scope.value in await self._access.run(containers.present):
                yield scope, _as_read(found[0] if found else None)

    async def survey(self, scope: ScopeHex) -> Survey | None:
        """None: what lies below the path counts, wherever it came from."""
        return None

    async def write(self, scope: ScopeHex, limits: Limits) -> None:
        """Set both limits; without any the quota stays and counts."""
        await self._access.run(containers.inode, scope)
        quota = await self._quota(scope)
        if quota is None:
            await self._make_quota(scope, limits)
            return
        if _limits(quota) == limits:
            return
        try:
            await self._client.change_quota(quota.id, limits)
            quota = await self._quota(scope)
        except Invalid:
            if None not in (limits.bytes, limits.files):
                raise
        # A limit that null does not remove goes with its quota: that way is documented.
        if quota is not None and _limits(quota) != limits:
            if None not in (limits.bytes, limits.files):
                return  # what is shown will be compared, and told
            await self._client.remove_quota(quota.id)
            await self._make_quota(scope, limits)

    async def _make_quota(self, scope: ScopeHex, limits: Limits) -> None:
        try:
            await self._client.create_quota(_name(scope), self._path(scope.value), limits)
        except Exists:
            if await self._quota(scope) is None:
                raise
            # Made by a quicker actor, or by a call of ours whose answer was lost.
            await self.write(scope, limits)

    async def release(self, scope: ScopeHex) -> None:
        """Set the empty directory aside and remove it, then every quota that it had."""
        while await self._access.run(take_away, scope):
            try:
                await self._access.run(containers.remove_aside, scope)
            except NotEmpty:
                await self._access.run(containers.bring_back, scope)
                raise
        left = await self._client.quotas_at(self._path(scope.value))
        await self._sweep(scope, [*left, *await self._client.quotas_named(_name(scope))])

    async def _sweep(self, scope: ScopeHex, seen: Sequence[models.Quota]) -> None:
        """Remove the quotas of a container that is gone, each by its id.

        Looked up first, then compared with what is there: a container made meanwhile has a quota
        of its own with another id, and whoever makes one sweeps before.
        """
        path, aside = self._path(scope.value), self._path(containers.aside_path(scope))
        found = {quota.id: quota for quota in seen if quota.place in (path, aside)}
        if not found:
            return
        if scope.value in await self._access.run(containers.present):
            found = {k: quota for k, quota in found.items() if quota.place != path}
        doubtful = set()
        for number in found:
            try:
                await self._client.remove_quota(number)
            except Missing:
                doubtful.add(number)
        if not doubtful:
            return
        # One wrong 404 must not leave a quota behind.
        left = [*await self._client.quotas_at(path), *await self._client.quotas_named(_name(scope))]
        if any(quota.id in doubtful for quota in left):
            raise BackendError(
                f"{self._client.channel.array}: the quota of scope {scope} is still there after"
                " its removal"
            )

    async def cancel(self, scope: ScopeHex) -> None:
        """Nothing is reserved for a scope that was never made."""

    async def close(self) -> None:
        """Close the connections."""
        await self._client.channel.close()

    def _path(self, below: str) -> str:
        return f"{self._root}/{below}"

    async def _quota(self, scope: ScopeHex) -> models.Quota | None:
        found = await self._client.quotas_at(self._path(scope.value))
        return found[0] if found else None


def take_away(root: int, scope: ScopeHex) -> bool:
    """Set an empty container aside and return True, or remove it where it lies.

    Whether a directory with a quota can be renamed out of its place is not documented. Where it
    cannot, removing it is as safe: that never takes anything with it either.
    """
    try:
        return containers.set_aside(root, scope)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    if not files.remove_if_empty(root, scope.value):
        raise NotEmpty(f"scope {scope} is not empty any more")
    return False


def _name(scope: ScopeHex) -> str:
    return f"vfolder-{scope}"


def _limits(quota: models.Quota) -> Limits:
    return Limits(quota.hard_limit or None, quota.hard_limit_inodes or None)


def _in_force(quota: models.Quota) -> bool:
    return quota.sync_state in (None, "", "SYNCHRONIZED")


def _as_read(quota: models.Quota | None) -> ScopeQuota:
    if quota is None:
        return ScopeQuota(Limits(), None, _ENFORCEMENT)
    enforcement = _ENFORCEMENT if _in_force(quota) else _SYNCHRONIZING
    if quota.state == "FAILED":
        enforcement = _FAILED
    usage = Usage(quota.used_capacity, quota.used_inodes, time.time())
    return ScopeQuota(_limits(quota), usage, enforcement, {"quota": quota.id})


class Factory:
    """Makes `vast` backends."""

    options: type[Options] = VastOptions
    required_credentials: tuple[str, ...] = ()  # a token, or a name and a password

    def build(self, config: BackendConfig) -> StorageBackend:
        """Return a backend over the directory mounted at `config.root`."""
        options = parse_options(VastOptions, config.parameters)
        client = VastClient(config, options.api_version, options.tenant_id)
        return TreeBackend(config, lambda access: VastDriver(access, client, options))

"""Storage Scale: a scope is a fileset with a fileset quota, for bytes and for files.

The fileset's junction is the scope's directory. It cannot be removed as a directory, but renamed
within the fileset it lies in; so it is set aside like any other container, then unlinked and
removed, without force: the array itself refuses to remove a fileset that is not empty.
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
    NotOurs,
    PermissionDenied,
    Unavailable,
    Unsupported,
)
from vfolder_backends.facts import (
    Capacity,
    Enforcement,
    Level,
    Link,
    PerformanceMetrics,
    Tristate,
)
from vfolder_backends.ids import ScopeHex
from vfolder_backends.port import BackendRef, Limits, Progress, StorageBackend, Survey, Usage
from vfolder_backends.sizes import round_up
from vfolder_backends.transport.refusals import Exists, Invalid, Missing
from vfolder_backends.vendors.gpfs import inspection, models
from vfolder_backends.vendors.gpfs.client import GpfsClient
from vfolder_backends.vendors.gpfs.options import GpfsOptions, InodeSpace

_MOST: Final = 999_999_999_999_999 * models.KIB  # mmedquota
_TURNS: Final = 8
_DOUBT: Final = 10  # a share of the limit, as its divisor

_NO_FILESET: Final = Enforcement(
    Level.NONE,
    Level.NONE,
    Tristate.UNKNOWN,
    "the scope's directory is no fileset of ours, so nothing limits it",
)


class GpfsDriver:
    """A `driver.QuotaDriver`; keeps the number of the last job of each scope that it began."""

    def __init__(self, access: RootAccess, client: GpfsClient, options: GpfsOptions) -> None:
        self._access = access
        self._client = client
        self._options = options
        self._mount_point = ""
        self._same_tree = False
        self._enforcement = inspection.enforcement(Tristate.UNKNOWN)
        self._jobs: dict[ScopeHex, int] = {}
        self._doubtful: set[ScopeHex] = set()

    @property
    def link(self) -> Link:
        """How the connection to the management interface does."""
        return self._client.channel.link

    def check_root(self, root: int) -> None:
        """Any directory: whether it is the file system's is looked at by `probe`, with the API."""

    def folder_usage(self, folder: int) -> Usage | None:
        """None: only filesets are counted."""
        return None

    def stored(self, limits: Limits) -> Limits:
        """Bytes are kept in KiB, rounded up."""
        size = None if limits.bytes is None else round_up(limits.bytes, models.KIB)
        return Limits(size, limits.files)

    async def probe(self) -> DriverHealth:
        """Look at version, mount, quotas, role, and whether API and mount show the same directory.

        Raises:
            Misconfigured: no such file system, quotas off, or the mount shows another directory.
            Unsupported: a version that is too old.
            Unavailable: the file system is mounted nowhere.
            PermissionDenied: an account that may not set quotas.
        """
        # The mount first: a lost root is told before anything else.
        await self._access.run(containers.present)
        inspection.check_version(await self._client.version(), self._client.channel.array)
        found = await self._file_system()
        inspection.check_file_system(found)
        if not self._same_tree:
            await self._compare_trees()
            self._same_tree = True
        bypass = inspection.root_bypass(await self._config())
        self._enforcement = inspection.enforcement(bypass)
        told = inspection.warnings(found, bypass, len(self._doubtful))
        return DriverHealth(
            inspection.capabilities(found, bypass),
            await self._capacity(),
            (*self._client.channel.warnings, *told),
        )

    async def _config(self) -> models.Config | None:
        try:
            return await self._client.config()
        except (PermissionDenied, Invalid, Unsupported):
            return None

    async def _capacity(self) -> Capacity:
        pools = await self._client.pools()
        total = sum(pool.total_data for pool in pools) * models.KIB
        free = sum(pool.free_data for pool in pools) * models.KIB
        return Capacity(total, total - free, time.time())

    async def _file_system(self) -> models.FileSystem:
        try:
            found = await self._client.file_system()
        except Invalid as error:
            raise Misconfigured(
                f"parameters.fileSystem: {self._options.file_system!r} is not known: {error}"
            ) from error
        self._mount_point = found.mount.mount_point.rstrip("/")
        return found

    async def _compare_trees(self) -> None:
        """Make a directory through the mount, and look for it through the API."""
        path = await self._access.run(containers.make_probe)
        try:
            await self._client.look_at(f"{self._options.path.rstrip('/')}/{path}")
        except (Missing, Invalid) as error:
            raise Misconfigured(
                f"parameters.path: {self._options.path!r} of {self._options.file_system!r} is not"
                f" what is mounted at {self._access.path}: {error}"
            ) from error
        finally:
            await self._access.run(containers.remove_probe, path)
        try:
            # Of a fileset that cannot be: refused after the role was looked at.
            await self._client.set_quota(f"{self._options.fileset_prefix}none", Limits())
        except (Missing, Invalid):
            return

    async def metrics(self) -> PerformanceMetrics | None:
        """None: what the collector behind the interface answers is not documented."""
        return None

    async def prepare(self, scope: ScopeHex, ref: BackendRef) -> BackendRef:
        """The fileset's name; the job that makes it is added to the status once it runs."""
        return self._ref(scope)

    def _ref(self, scope: ScopeHex) -> BackendRef:
        ref: dict[str, str | int] = {"fileset": self._name(scope)}
        if scope in self._jobs:
            ref["job"] = self._jobs[scope]
        return ref

    async def create(self, scope: ScopeHex, ref: BackendRef) -> None:
        """Make the fileset, linked as the scope's directory.

        Whatever is known of a job, the fileset itself tells how far it came.

        Raises:
            NotOurs: a fileset of that name is not one that we made for this scope.
            Unavailable: another actor is removing it, or it is not seen yet.
        """
        name, path = self._name(scope), await self._junction(scope)
        fileset = await self._client.fileset(name)
        if fileset is None:
            try:
                await self._client.make_fileset(
                    name, path, _comment(scope), lambda job: self._jobs.__setitem__(scope, job)
                )
            except Exists:
                await self._client.refresh()
            fileset = await self._seen(name)
        self._require_ours(scope, fileset)
        if not fileset.linked:
            await self._link(name, path)
        elif fileset.path != path and not await self._is_present(scope):
            raise Unavailable(f"fileset {name} is linked at {fileset.path}, not at {path}")

    async def _link(self, name: str, path: str) -> None:
        try:
            await self._client.link(name, path)
        except BackendError:
            now = await self._client.fileset(name)
            if now is None or not now.linked:
                raise

    async def _seen(self, name: str) -> models.FilesetConfig:
        """Read a fileset that was just made; the server's cache may not know it yet."""
        fileset = await self._client.fileset(name)
        if fileset is None:
            await self._client.refresh()
            fileset = await self._client.fileset(name)
        if fileset is None:
            raise Unavailable(f"fileset {name} was to be made, and is not seen (yet)")
        return fileset

    async def settle(self, scope: ScopeHex) -> Progress | None:
        """Nothing: a fileset counts from its first file on."""
        return None

    async def read(self, scope: ScopeHex) -> ScopeQuota:
        """Read one fileset's quota; without limits there may be no line of it."""
        name = self._name(scope)
        quota = await self._client.quota(name)
        if quota is None and await self._client.fileset(name) is None:
            return ScopeQuota(Limits(), None, _NO_FILESET)
        return self._as_read(scope, quota)

    def _as_read(self, scope: ScopeHex, quota: models.Quota | None) -> ScopeQuota:
        if quota is None:
            return ScopeQuota(Limits(), None, self._enforcement, self._ref(scope))
        if quota.limit and quota.in_doubt > quota.limit // _DOUBT:
            self._doubtful.add(scope)
        else:
            self._doubtful.discard(scope)
        limits = Limits(quota.limit * models.KIB or None, quota.files_limit or None)
        usage = Usage(quota.usage * models.KIB, quota.files, time.time())
        return ScopeQuota(limits, usage, self._enforcement, self._ref(scope))

    async def read_all(
        self, scopes: Sequence[ScopeHex]
    ) -> AsyncIterator[tuple[ScopeHex, ScopeQuota]]:
        """Read the list of all quotas; what is not in it is looked for in that of filesets."""
        there = await self._access.run(containers.present)
        wanted = {self._name(scope): scope for scope in scopes if scope.value in there}
        if not wanted:
            return
        async for quota in self._client.quotas():
            if quota.name in wanted:
                scope = wanted.pop(quota.name)
                yield scope, self._as_read(scope, quota)
        if not wanted:
            return
        async for fileset in self._client.filesets():
            if fileset.name in wanted:
                scope = wanted.pop(fileset.name)
                yield scope, self._as_read(scope, None)
        still_there = await self._access.run(containers.present)
        for scope in wanted.values():
            if scope.value in still_there:
                yield scope, ScopeQuota(Limits(), None, _NO_FILESET)

    async def survey(self, scope: ScopeHex) -> Survey | None:
        """None: nothing gets out of a fileset, renames across its boundary fail."""
        return None

    async def write(self, scope: ScopeHex, limits: Limits) -> None:
        """Set both limits.

        Raises:
            Misconfigured: more bytes than the file system can keep.
            Unsupported: the directory is no fileset, and none can be made of it.
        """
        wanted, name = self.stored(limits), self._name(scope)
        if (wanted.bytes or 0) > _MOST:
            raise Misconfigured(f"limit bytes={limits.bytes} is above {_MOST}, the most there is")
        if self._options.inode_space is InodeSpace.INDEPENDENT:
            await self._make_room(name, wanted.files or 0)
        try:
            await self._client.set_quota(name, wanted)
        except (Missing, Invalid) as error:  # in which words is not documented
            await self._refuse_plain(scope, error)

    async def _make_room(self, name: str, files: int) -> None:
        """Let an independent fileset have as many inodes as its limit allows."""
        fileset = await self._client.fileset(name)
        if fileset is not None and fileset.max_inodes < files:
            await self._client.set_max_inodes(name, files)

    async def _refuse_plain(self, scope: ScopeHex, error: BackendError) -> None:
        if await self._client.fileset(self._name(scope)) is None:
            raise Unsupported(
                f"scope {scope}: its directory is no fileset, and Storage Scale cannot make one of"
                f" it: make fileset {self._name(scope)} with the comment {_comment(scope)!r}, copy"
                " the data into it and link it in the directory's place"
            ) from error
        raise error

    async def release(self, scope: ScopeHex) -> None:
        """Set the empty fileset aside, unlink it, and remove it; its quota goes with it."""
        fileset = await self._client.fileset(self._name(scope))
        if fileset is not None:
            self._require_ours(scope, fileset)
        for _ in range(_TURNS):
            while await self._access.run(containers.set_aside, scope):
                await self._take_out(scope)
            if await self._remove(scope):
                self._jobs.pop(scope, None)
                self._doubtful.discard(scope)
                return
        raise Unavailable(f"fileset {self._name(scope)} is linked again and again; try again")

    async def _take_out(self, scope: ScopeHex) -> None:
        """Unlink what lies aside; a plain directory there is removed as such."""
        fileset = await self._client.fileset(self._name(scope))
        if fileset is None or not fileset.linked:
            await self._access.run(containers.remove_aside, scope)
            return
        self._require_ours(scope, fileset)
        try:
            await self._client.unlink(fileset.name)
        except BackendError:
            now = await self._client.fileset(fileset.name)
            if now is not None and now.linked:
                raise

    async def _remove(self, scope: ScopeHex) -> bool:
        """Remove the fileset once it is seen nowhere any more; False while it is."""
        name = self._name(scope)
        fileset = await self._client.fileset(name)
        if fileset is None:
            return True
        self._require_ours(scope, fileset)
        if fileset.linked:
            return False
        try:
            await self._client.remove_fileset(name)
        except Missing:
            return True
        except (NotEmpty, Invalid) as error:
            # Refused: what lies in it must not stay out of sight.
            if await self._client.fileset(name) is None:
                return True
            await self._link(name, await self._junction(scope))
            raise NotEmpty(
                f"scope {scope}: fileset {name} is not removed, and linked again: {error}"
            ) from error
        if await self._client.fileset(name) is not None:
            raise Unavailable(f"fileset {name} is still there after its removal; try again")
        return True

    async def cancel(self, scope: ScopeHex) -> None:
        """Remove a fileset whose job was begun for a scope that nobody wants any more."""
        if not await self._is_present(scope):
            await self._remove(scope)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.channel.close()

    def _name(self, scope: ScopeHex) -> str:
        return f"{self._options.fileset_prefix}{scope}"

    async def _junction(self, scope: ScopeHex) -> str:
        if not self._mount_point:
            await self._file_system()
        return f"{self._mount_point}{self._options.path.rstrip('/')}/{scope}"

    async def _is_present(self, scope: ScopeHex) -> bool:
        return scope.value in await self._access.run(containers.present)

    def _require_ours(self, scope: ScopeHex, fileset: models.FilesetConfig) -> None:
        if fileset.comment != _comment(scope):
            raise NotOurs(
                f"fileset {fileset.name} has the comment {fileset.comment!r}, not"
                f" {_comment(scope)!r}: it was not made for scope {scope}"
            )


def _comment(scope: ScopeHex) -> str:
    return f"VFolder scope {scope}"


class Factory:
    """Makes `gpfs` backends."""

    options: type[Options] = GpfsOptions
    required_credentials: tuple[str, ...] = ("username", "password")

    def build(self, config: BackendConfig) -> StorageBackend:
        """Return a backend over the file system mounted at `config.root`."""
        options = parse_options(GpfsOptions, config.parameters)
        client = GpfsClient(config, options)
        return TreeBackend(config, lambda access: GpfsDriver(access, client, options))

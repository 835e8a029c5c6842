"""Hammerspace: a scope is a directory that is a share of its own, with a size limit; bytes only.

The directory is made and removed through the mount, so that nothing is ever removed with it; the
share is made of the directory that is there. A scope's end is the reverse: the directory is set
aside, seen empty and removed, then the share, without its path. Whether a share's path follows a
rename is documented nowhere, so both are taken. A system that renames or removes no directory that
is a share loses the share first, once the directory is seen empty, and has it again should
something lie there after all.
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
from vfolder_backends.errors import BackendError, Misconfigured, NotEmpty, NotOurs, Unavailable
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
from vfolder_backends.port import BackendRef, Limits, Progress, StorageBackend, Survey, Usage
from vfolder_backends.transport.refusals import Exists, Invalid, Missing
from vfolder_backends.tree import scopes as places
from vfolder_backends.vendors.hammerspace.client import Found, HammerspaceClient
from vfolder_backends.vendors.hammerspace.options import HammerspaceOptions

_ENFORCEMENT: Final = Enforcement(
    Level.DELAYED,
    Level.NONE,
    Tristate.UNKNOWN,
    "the share's size limit; how soon it stops a writer, and whether it binds root, is not"
    " documented; files are not limited",
)
_NO_SHARE: Final = Enforcement(
    Level.NONE, Level.NONE, Tristate.UNKNOWN, "the scope's directory is no share of ours"
)
_SHARED: Final = (errno.EBUSY, errno.EXDEV, errno.EPERM, errno.EACCES)
"""What a rename or a removal may say of a directory that is a share."""

_CAPABILITIES: Final = Capabilities(
    _ENFORCEMENT,
    over_limit_errno="ENOSPC",  # not documented; EDQUOT is possible
    error_at="Close",
    accounting="Logical",
    df_shows="Backend",
    isolation="NodeOnly",
    granularity_bytes=1,
    fast_usage=True,
)


class HammerspaceDriver:
    """A `driver.QuotaDriver`."""

    def __init__(
        self, access: RootAccess, client: HammerspaceClient, options: HammerspaceOptions
    ) -> None:
        self._access = access
        self._client = client
        self._options = options
        self._same_tree = False

    @property
    def link(self) -> Link:
        """How the connection to the Anvil does."""
        return self._client.channel.link

    def check_root(self, root: int) -> None:
        """Any directory: whether it is the system's is looked at by `probe`, with the API."""

    def folder_usage(self, folder: int) -> Usage | None:
        """None: only shares are counted."""
        return None

    def stored(self, limits: Limits) -> Limits:
        """Bytes as they are; there is no limit on files."""
        return Limits(limits.bytes)

    async def probe(self) -> DriverHealth:
        """Look at the capacity, the role, and whether a share can be where the root is.

        Raises:
            Misconfigured: the system would refuse a share there.
            PermissionDenied: an account that may not change shares.
        """
        # The mount first: a lost root is told before anything else.
        await self._access.run(containers.present)
        capacity = (await self._client.state()).capacity
        if not self._same_tree:
            await self._compare_trees()
            self._same_tree = True
        seen = Capacity(capacity.total, capacity.used, time.time())
        return DriverHealth(_CAPABILITIES, seen, self._client.channel.warnings)

    async def _compare_trees(self) -> None:
        """Make a directory through the mount, and ask whether it could be a share."""
        path = await self._access.run(containers.make_probe)
        name = f"{self._options.share_prefix}{path.rpartition('-')[2]}"
        try:
            await self._client.make_share(name, self._path(path), "", None, only_ask=True)
        except (Invalid, Missing, Exists) as error:
            raise Misconfigured(
                f"parameters.path: {self._options.path!r} is not what is mounted at"
                f" {self._access.path}, or cannot hold shares: {error}"
            ) from error
        finally:
            await self._access.run(containers.remove_probe, path)

    async def metrics(self) -> PerformanceMetrics | None:
        """None: the documented calls tell of capacity only."""
        return None

    async def prepare(self, scope: ScopeHex, ref: BackendRef) -> BackendRef:
        """The share's name."""
        return {"share": self._name(scope)}

    async def create(self, scope: ScopeHex, ref: BackendRef) -> None:
        """Make the directory; it becomes a share with its limit while it is empty."""
        await self._access.run(containers.make, scope)

    async def settle(self, scope: ScopeHex) -> Progress | None:
        """Nothing: a share counts all that lies in it."""
        return None

    async def read(self, scope: ScopeHex) -> ScopeQuota:
        """Read one share."""
        return self._as_read(scope, await self._client.share(self._name(scope)))

    def _as_read(self, scope: ScopeHex, found: Found | None) -> ScopeQuota:
        if found is None or not self._is_ours(scope, found):
            return ScopeQuota(Limits(), None, _NO_SHARE)
        share = found.share
        usage = None
        if share.space is not None and share.space.used is not None:
            files = share.inodes.used if share.inodes is not None else None
            usage = Usage(share.space.used, files, time.time())
        return ScopeQuota(Limits(share.limit), usage, _ENFORCEMENT, {"share": share.name})

    async def read_all(
        self, scopes: Sequence[ScopeHex]
    ) -> AsyncIterator[tuple[ScopeHex, ScopeQuota]]:
        """Read the one list of all shares."""
        there = await self._access.run(containers.present)
        wanted = [scope for scope in scopes if scope.value in there]
        shares = await self._client.shares() if wanted else {}
        for scope in wanted:
            found = shares.get(self._name(scope))
            if found is None and scope.value not in await self._access.run(containers.present):
                continue
            yield scope, self._as_read(scope, found)

    async def survey(self, scope: ScopeHex) -> Survey | None:
        """None: what lies in a share's directory belongs to the share."""
        return None

    async def write(self, scope: ScopeHex, limits: Limits) -> None:
        """Set the limit of the share, which is made if it is not there."""
        name = self._name(scope)
        found = await self._client.share(name)
        if found is not None and found.share.path == self._aside(scope):
            # Of a removal that was not finished: the directory is a new one.
            await self._access.run(containers.remove_aside, scope)
            await self._remove_share(scope, found)
            found = None
        if found is None:
            try:
                await self._client.make_share(
                    name, self._path(scope.value), _comment(scope), limits.bytes
                )
                return
            except BackendError:
                # Another actor may have been quicker; which words that is told in, nobody says.
                found = await self._client.share(name)
                if found is None:
                    raise
        self._require_ours(scope, found)
        if found.share.limit != limits.bytes:
            await self._client.set_limit(found, limits.bytes)

    async def release(self, scope: ScopeHex) -> None:
        """Set the empty directory aside and remove it, then its share."""
        found = await self._client.share(self._name(scope))
        if found is not None:
            self._require_ours(scope, found)
        if not await self._access.run(take_away, scope):
            await self._release_share_first(scope, found)
        found = await self._client.share(self._name(scope))
        if found is None or await self._is_present(scope):
            return
        await self._remove_share(scope, found)
        if await self._is_present(scope):
            # Made again in this very moment, on the share that was still there.
            await self.write(scope, Limits(found.share.limit))

    async def _release_share_first(self, scope: ScopeHex, found: Found | None) -> None:
        if not await self._access.run(places.is_free, scope):
            raise NotEmpty(f"scope {scope} is not empty")
        if found is not None:
            await self._remove_share(scope, found)
        try:
            if not await self._access.run(take_away, scope):
                raise Unavailable(
                    f"the directory of scope {scope} cannot be removed; is it in use?"
                )
        except BackendError:
            if found is not None:
                await self.write(scope, Limits(found.share.limit))
            raise

    async def _is_present(self, scope: ScopeHex) -> bool:
        return scope.value in await self._access.run(containers.present)

    async def _remove_share(self, scope: ScopeHex, found: Found) -> None:
        self._require_ours(scope, found)
        name = found.share.name
        failed: BackendError | None = None
        try:
            await self._client.remove_share(found.share.uoid.uuid)
        except BackendError as error:  # gone already, perhaps: what is left tells
            failed = error
        if await self._client.share(name) is not None:
            raise failed or Unavailable(f"share {name} is still there after its removal")

    async def cancel(self, scope: ScopeHex) -> None:
        """Nothing was reserved."""

    async def close(self) -> None:
        """Close the connections."""
        await self._client.channel.close()

    def _name(self, scope: ScopeHex) -> str:
        return f"{self._options.share_prefix}{scope}"

    def _path(self, below: str) -> str:
        return f"{self._options.path.rstrip('/')}/{below}"

    def _aside(self, scope: ScopeHex) -> str:
        return self._path(containers.aside_path(scope))

    def _is_ours(self, scope: ScopeHex, found: Found) -> bool:
        """Whether it is the share of the scope's directory, in its place."""
        share = found.share
        return share.comment == _comment(scope) and share.path == self._path(scope.value)

    def _require_ours(self, scope: ScopeHex, found: Found) -> None:
        share, paths = found.share, (self._path(scope.value), self._aside(scope))
        if share.comment != _comment(scope) or share.path not in paths:
            raise NotOurs(
                f"share {share.name} of {share.path} has the comment {share.comment!r}: it was not"
                f" made for scope {scope}"
            )


def take_away(root: int, scope: ScopeHex) -> bool:
    """Set the empty directory aside and remove it; False where that is refused to a share's.

    Raises:
        NotEmpty: something lies in it; it is where it was.
    """
    try:
        while containers.set_aside(root, scope):
            containers.remove_aside(root, scope)
    except NotEmpty:
        containers.bring_back(root, scope)
        raise
    except OSError as error:
        if error.errno not in _SHARED:
            raise
        containers.bring_back(root, scope)
        return False
    return True


def _comment(scope: ScopeHex) -> str:
    return f"VFolder scope {scope}"


class Factory:
    """Makes `hammerspace` backends."""

    options: type[Options] = HammerspaceOptions
    required_credentials: tuple[str, ...] = ("username", "password")

    def build(self, config: BackendConfig) -> StorageBackend:
        """Return a backend over the namespace mounted at `config.root`."""
        options = parse_options(HammerspaceOptions, config.parameters)
        client = HammerspaceClient(config, options)
        return TreeBackend(config, lambda access: HammerspaceDriver(access, client, options))

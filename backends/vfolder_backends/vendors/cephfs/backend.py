"""CephFS: a scope is a directory with `ceph.quota.*`, counted by `ceph.dir.*`.

`Limits.files` is what CephFS itself means by `max_files`: files and directories, the scope's own
directory, the levels above the folders and the trash included. Clients check the limits, not the
servers, so the level is Cooperative, and the message of the enforcement tells by how much a writer
may pass.
"""

import os
import time
from dataclasses import dataclass, replace
from typing import Final

from vfolder_backends.backend import TreeBackend
from vfolder_backends.config import BackendConfig, Options
from vfolder_backends.directories import DirectoryDriver
from vfolder_backends.driver import ScopeQuota
from vfolder_backends.errors import Misconfigured, PermissionDenied
from vfolder_backends.facts import Capabilities, Enforcement, Level, Tristate
from vfolder_backends.layout import CONTROL_DIR
from vfolder_backends.mountinfo import filesystem_type
from vfolder_backends.openat import directory
from vfolder_backends.port import Limits, StorageBackend, Usage
from vfolder_backends.vendors.cephfs import client, snapshots

_ENFORCEMENT: Final = Enforcement(
    Level.COOPERATIVE,
    Level.COOPERATIVE,
    Tristate.NO,
    "checked by the clients, and late: writers get EDQUOT, but what they write within about ten"
    " seconds can pass the limit, by hundreds of MiB if they are fast; a client that was tampered"
    " with is not stopped",
)

_CAPABILITIES: Final = Capabilities(
    _ENFORCEMENT,
    over_limit_errno="EDQUOT",
    error_at="Write",
    accounting="FileSize",
    df_shows="MountRoot",
    isolation="NodeOnly",
    granularity_bytes=1,
    usage_lag_seconds=15,  # measured 13: clients keep sizes back for 5 s, after they flushed them
    fast_usage=True,
    folder_usage=True,
    files_count_directories=True,
)


class CephfsOptions(Options):
    """`cephfs` has no parameters: all it needs to know is the root."""


class XattrQuota:
    """A `directories.DirectoryQuota` by CephFS's extended attributes."""

    freeze = staticmethod(snapshots.freeze)
    frozen = staticmethod(snapshots.frozen)
    thaw = staticmethod(snapshots.thaw)
    others = staticmethod(snapshots.others)

    def __init__(self, path: str) -> None:
        self._path = path
        self._above = _Above(path, Limits())

    def check_root(self, root: int) -> None:
        """Raise Misconfigured unless the open root is on CephFS."""
        if not client.is_cephfs(root):
            raise Misconfigured(
                f"{self._path} is on a file system of type {filesystem_type(root)!r}, not on CephFS"
            )

    def probe(self, root: int) -> tuple[Capabilities, tuple[str, ...]]:
        """Look whether our key may set quotas, and for quotas that lie above ours.

        Raises:
            PermissionDenied: the key lacks the `p` capability.
        """
        self.check_root(root)
        with directory(root, CONTROL_DIR) as control:
            try:
                # Our own directory has no limit and gets none: a change that changes nothing.
                client.set_max_files(control, None)
            except PermissionError as error:
                raise PermissionDenied(
                    f"{self._path}: the CephFS client may not set quotas; its key lacks the 'p'"
                    " capability (ceph auth caps ... mds 'allow rwp ...')"
                ) from error
            snapshot = snapshots.allowed(control)
        found = _limits_above(root, self._path)
        self._above = _tightest(found, self._path)
        return replace(_CAPABILITIES, snapshot=snapshot), tuple(
            f"{above.path} has a quota of its own, which all scopes below it share: {above}"
            for above in found
        )

    def stored(self, limits: Limits) -> Limits:
        """Both limits are kept to the byte and to the file."""
        return limits

    def read(self, scope: int) -> ScopeQuota:
        """Read limits and counters of a scope's directory."""
        limits = Limits(client.max_bytes(scope), client.max_files(scope))
        return ScopeQuota(limits, self.folder_usage(scope), _enforcement(limits, self._above))

    def write(self, scope: int, limits: Limits) -> None:
        """Set both limits."""
        client.set_max_bytes(scope, limits.bytes)
        client.set_max_files(scope, limits.files)

    def folder_usage(self, folder: int) -> Usage | None:
        """Read the counters, which every directory of CephFS has."""
        files = client.rfiles(folder) + client.rsubdirs(folder)
        return Usage(client.rbytes(folder), files, time.time())


@dataclass(frozen=True, slots=True)
class _Above:
    """Limits on the root, or on a directory above it."""

    path: str
    limits: Limits

    def __str__(self) -> str:
        limits = self.limits
        return f"{limits.bytes or 'unlimited'} bytes, {limits.files or 'unlimited'} files"


def _limits_above(root: int, path: str) -> list[_Above]:
    """Find quotas on the root, and on directories above it as far as this mount shows them."""
    found = []
    fd = os.dup(root)
    try:
        while client.is_cephfs(fd):
            limits = Limits(client.max_bytes(fd), client.max_files(fd))
            if limits != Limits():
                found.append(_Above(path, limits))
            above = os.open("..", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
            top = os.path.samestat(os.fstat(above), os.fstat(fd))
            os.close(fd)
            fd, path = above, os.path.dirname(path)
            if top:
                break
    finally:
        os.close(fd)
    return found


def _tightest(found: list[_Above], path: str) -> _Above:
    """Put the smallest limit of each kind together."""
    sizes = [above.limits.bytes for above in found if above.limits.bytes]
    files = [above.limits.files for above in found if above.limits.files]
    where = " and ".join(above.path for above in found) or path
    return _Above(where, Limits(min(sizes, default=None), min(files, default=None)))


def _enforcement(limits: Limits, above: _Above) -> Enforcement:
    """Tell of a limit above that stops writers before the scope's own does."""
    pairs = (limits.bytes, above.limits.bytes), (limits.files, above.limits.files)
    if not any(outer and (own is None or outer < own) for own, outer in pairs):
        return _ENFORCEMENT
    return replace(
        _ENFORCEMENT,
        message=f"{_ENFORCEMENT.message}; a smaller quota above, which all scopes share, stops"
        f" them first: {above} on {above.path}",
    )


class Factory:
    """Makes `cephfs` backends."""

    options: type[Options] = CephfsOptions
    required_credentials: tuple[str, ...] = ()

    def build(self, config: BackendConfig) -> StorageBackend:
        """Return a backend over the mounted CephFS at `config.root`."""
        quota = XattrQuota(config.root)
        return TreeBackend(config, lambda access: DirectoryDriver(access, quota))

"""CephFS: a scope is a directory with `ceph.quota.*`, counted by `ceph.dir.*`.

`Limits.files` is what CephFS itself means by `max_files`: files and directories, the scope's own
directory, the levels above the folders and the trash included. Clients check the limits, not the
servers, so the level is Cooperative, and the message of the enforcement tells by how much a writer
may pass.
"""

import os
import time
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
from vfolder_backends.vendors.cephfs import client

_ENFORCEMENT: Final = Enforcement(
    Level.COOPERATIVE,
    Level.COOPERATIVE,
    Tristate.NO,
    "checked by the clients: writers get EDQUOT, some seconds late, so about ten seconds' worth of"
    " writing can pass the limit; a client that was tampered with is not stopped",
)

_CAPABILITIES: Final = Capabilities(
    _ENFORCEMENT,
    over_limit_errno="EDQUOT",
    error_at="Write",
    accounting="FileSize",
    df_shows="MountRoot",
    isolation="NodeOnly",
    granularity_bytes=1,
    usage_lag_seconds=6,  # clients hand sizes back 5 s after a write by default
    fast_usage=True,
    folder_usage=True,
    files_count_directories=True,
)


class CephfsOptions(Options):
    """`cephfs` has no parameters: all it needs to know is the root."""


class XattrQuota:
    """A `directories.DirectoryQuota` by CephFS's extended attributes."""

    def __init__(self, path: str) -> None:
        self._path = path

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
        return _CAPABILITIES, tuple(_limits_above(root, self._path))

    def stored(self, limits: Limits) -> Limits:
        """Both limits are kept to the byte and to the file."""
        return limits

    def read(self, scope: int) -> ScopeQuota:
        """Read limits and counters of a scope's directory."""
        limits = Limits(client.max_bytes(scope), client.max_files(scope))
        return ScopeQuota(limits, self.folder_usage(scope), _ENFORCEMENT)

    def write(self, scope: int, limits: Limits) -> None:
        """Set both limits."""
        client.set_max_bytes(scope, limits.bytes)
        client.set_max_files(scope, limits.files)

    def folder_usage(self, folder: int) -> Usage | None:
        """Read the counters, which every directory of CephFS has."""
        files = client.rfiles(folder) + client.rsubdirs(folder)
        return Usage(client.rbytes(folder), files, time.time())


def _limits_above(root: int, path: str) -> list[str]:
    """Tell of quotas on the root, and on directories above it as far as this mount shows them."""
    told = []
    fd = os.dup(root)
    try:
        while client.is_cephfs(fd):
            limits = Limits(client.max_bytes(fd), client.max_files(fd))
            if limits != Limits():
                told.append(
                    f"{path} has a quota of its own, which all scopes below it share:"
                    f" {limits.bytes or 'unlimited'} bytes, {limits.files or 'unlimited'} files"
                )
            above = os.open("..", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
            top = os.path.samestat(os.fstat(above), os.fstat(fd))
            os.close(fd)
            fd, path = above, os.path.dirname(path)
            if top:
                break
    finally:
        os.close(fd)
    return told


class Factory:
    """Makes `cephfs` backends."""

    options: type[Options] = CephfsOptions
    required_credentials: tuple[str, ...] = ()

    def build(self, config: BackendConfig) -> StorageBackend:
        """Return a backend over the mounted CephFS at `config.root`."""
        quota = XattrQuota(config.root)
        return TreeBackend(config, lambda access: DirectoryDriver(access, quota))

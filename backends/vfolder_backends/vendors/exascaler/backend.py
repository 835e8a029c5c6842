"""Lustre with project quotas: the driver of project ids, with `lfs` in the kernel's place.

What is different: limits are handed out to the servers in pieces, so small ones are imprecise;
root may pass them; and whether limits are counted and enforced, only a call of `lfs` shows.
"""

import errno
import os
from dataclasses import replace
from typing import Final

from vfolder_backends.access import RootAccess
from vfolder_backends.backend import TreeBackend
from vfolder_backends.config import BackendConfig, Options, parse_options
from vfolder_backends.directories import capacity_of
from vfolder_backends.driver import DriverHealth, ScopeQuota
from vfolder_backends.errors import Misconfigured, PermissionDenied
from vfolder_backends.facts import Capabilities, Enforcement, Level, Tristate
from vfolder_backends.ids import ScopeHex
from vfolder_backends.port import StorageBackend
from vfolder_backends.projects import identity
from vfolder_backends.projects.driver import ProjectDriver
from vfolder_backends.projects.facts import Flavour
from vfolder_backends.projects.syscalls import MAX_PROJECT, QUOTA_BLOCK
from vfolder_backends.vendors.exascaler import rootprobe
from vfolder_backends.vendors.exascaler.lfs import Lfs, LfsAccounting
from vfolder_backends.vendors.exascaler.options import ExascalerOptions, Tagging

_LUSTRE: Final = Flavour("lustre", "EDQUOT", binds_root=False, granularity=QUOTA_BLOCK, usage_lag=5)
_LFS_SHARE: Final = 0.3  # of a call's deadline, for one call of lfs
_PIECE: Final = 1 << 20  # bytes that an OST is granted at least (lquota_internal.h)
_INODE_PIECE: Final = 1024  # inodes that an MDT is granted at least
_PIECES: Final = 4
_OFF: Final = (errno.ESRCH, errno.EOPNOTSUPP, errno.ENOTTY, errno.ENODEV, errno.EINVAL)

_ROOT: Final = {
    Tristate.YES: "root passes limits: set osd-*.*.quota_slave.root_prj_enable=1 (Lustre 2.16)",
    Tristate.NO: "root is bound (tried)",
    Tristate.UNKNOWN: "whether root passes limits could not be tried",
}


class LustreDriver(ProjectDriver):
    """A `driver.QuotaDriver`; see `ProjectDriver`."""

    _batch = 32  # each is a call of lfs

    def __init__(
        self,
        access: RootAccess,
        config: BackendConfig,
        options: ExascalerOptions,
        lustre: LfsAccounting,
    ) -> None:
        super().__init__(access, _LUSTRE, config, options.first, options.last, lustre)
        self._lustre = lustre
        self._level = Level.ENFORCED if options.ids_locked else Level.COOPERATIVE
        self._bypass = Tristate.UNKNOWN
        self._targets = (1, 1)
        self._tried = False
        self._checked: tuple[int, int] | None = None
        self._enforcement = self._told()

    def check_root(self, root: int) -> None:
        """Look whether project quotas can be asked for, and the root belongs to no project.

        Of the same root once: a probe looks again, and each look is two calls of lfs.

        Raises:
            Misconfigured: not a Lustre, quotas off, read-only, or the root has a project itself.
            PermissionDenied: we may not read quotas.
        """
        found = os.fstat(root)
        if self._checked != (found.st_dev, found.st_ino):
            self._check(root)
            self._checked = found.st_dev, found.st_ino

    def _check(self, root: int) -> None:
        path = self._access.path
        if os.fstatvfs(root).f_flag & os.ST_RDONLY:
            raise Misconfigured(f"{path}: the file system is mounted read-only")
        try:
            own = self._via.get_project(root)
            self._via.get_quota(root, MAX_PROJECT)
        except OSError as error:
            if error.errno in (errno.EPERM, errno.EACCES):
                raise PermissionDenied(
                    f"{path}: lfs may read and set project quotas only with CAP_SYS_ADMIN: {error}"
                ) from error
            if error.errno in _OFF:
                raise Misconfigured(
                    f"{path}: no project quotas: {error}; it must be Lustre itself, with the"
                    " feature project on each target (tune2fs -O project) and enforcement on"
                    " (lctl set_param -P osd-*.FSNAME*.quota_slave_dt.enabled=ugp, and"
                    " quota_slave_md)"
                ) from error
            raise
        if own.inherits and own.id:
            raise Misconfigured(
                f"{path} itself gives the project id {own.id} to all that is made in it, so scopes"
                f" can have none of their own; choose another directory ('lfs project -C {path}')"
            )
        self._granularity = QUOTA_BLOCK
        self._space = identity.space_of(root)

    def _probe(self, root: int) -> DriverHealth:
        self._check(root)
        self._lustre.learn()
        self._targets = self._lustre.targets()
        self._sweep(root)
        if not self._tried:
            self._bypass = rootprobe.try_root(root, self._last, self._via)
            self._tried = True
        self._enforcement = self._told()
        warnings = () if self._bypass is Tristate.NO else (_ROOT[self._bypass],)
        return DriverHealth(self._able(), capacity_of(root), warnings)

    def _able(self) -> Capabilities:
        return Capabilities(
            self._enforcement,
            over_limit_errno="EDQUOT",
            error_at="Close",
            accounting="Allocated",
            df_shows="Backend",
            isolation="NodeOnly",
            granularity_bytes=QUOTA_BLOCK,
            usage_lag_seconds=_LUSTRE.usage_lag,
            fast_usage=True,
            files_count_directories=True,
        )

    def _told(self) -> Enforcement:
        said = [
            "enforced by the servers, in pieces: writers get EDQUOT a little early or late",
            _ROOT[self._bypass],
        ]
        if self._level is Level.COOPERATIVE:
            said.append(
                "a file's owner may change its project id unless nodemaps forbid it"
                " (projectIDsLocked says that they do)"
            )
        return Enforcement(self._level, self._level, self._bypass, "; ".join(said))

    async def read(self, scope: ScopeHex) -> ScopeQuota:
        """Read one directory's project; a limit too small for its pieces is told."""
        found = await super().read(scope)
        small = [
            f"{name} limit {limit} is below {least}, and imprecise"
            for name, limit, least in (
                ("byte", found.limits.bytes, self._targets[0] * _PIECE * _PIECES),
                ("file", found.limits.files, self._targets[1] * _INODE_PIECE),
            )
            if limit is not None and limit < least
        ]
        if not small:
            return found
        told = "; ".join([*small, found.enforcement.message])
        return replace(found, enforcement=replace(found.enforcement, message=told))


def mount_point_of(path: str) -> str:
    """Return the mount point that a path lies on or below."""
    found = os.path.realpath(path)
    while not os.path.ismount(found):
        found = os.path.dirname(found)
    return found


class Factory:
    """Makes `exascaler` backends."""

    options: type[Options] = ExascalerOptions
    required_credentials: tuple[str, ...] = ()

    def build(self, config: BackendConfig) -> StorageBackend:
        """Return a backend over the Lustre mounted at or above `config.root`."""
        options = parse_options(ExascalerOptions, config.parameters)
        lustre = LfsAccounting(
            Lfs(options.lfs_path, config.attempt_timeout or config.call_timeout * _LFS_SHARE),
            options.mount_point or mount_point_of(config.root),
            by_ioctl=options.tagging is Tagging.IOCTL,
        )
        return TreeBackend(config, lambda access: LustreDriver(access, config, options, lustre))

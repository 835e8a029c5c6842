"""Whether project limits are enforced on a mounted file system; each answer of no says what to do.

That a limit can be set, and read back, proves nothing: a file system may count without enforcing,
and XFS stores project ids even where it counts nothing. Only its own state tells.
"""

import errno
import os
from typing import Final

from vfolder_backends.errors import Misconfigured, PermissionDenied, QuotaOff
from vfolder_backends.mountinfo import FileSystem, file_system
from vfolder_backends.projects import syscalls

KINDS: Final = ("xfs", "ext4")
"""The file systems this works on, by the names the kernel gives them."""

_XFS_OPTION: Final = (
    "mount it with the option prjquota from the start (in /etc/fstab; for the root file system"
    " rootflags=prjquota on the kernel's command line): a remount says success and changes nothing"
)
_EXT4_OPTION: Final = "unmount it and mount it with the option prjquota (in /etc/fstab)"
_EXT4_FEATURES: Final = (
    "unmount it, run 'tune2fs -O project,quota -Q prjquota {device}', and mount it with the option"
    " prjquota (in /etc/fstab)"
)


def check_enforced(fd: int, path: str, kind: str) -> None:
    """Look whether the file system of an open file counts projects and enforces their limits.

    Needs no privilege; changes nothing.

    Args:
        fd: any open file or directory on it.
        path: where that is, for the message.
        kind: `xfs` or `ext4`.

    Raises:
        Misconfigured: it is another file system.
        QuotaOff: it does not; the message names what is missing.
        OSError: the file system does not answer.
    """
    found = file_system(fd)
    if found is None or found.type != kind:
        what = found.type if found else "unknown"
        raise Misconfigured(
            f"{path} is on a file system of type {what!r}, not on {kind} itself: project quotas"
            f" need the {kind} mount, not an overlay or a network mount of it"
        )
    try:
        flags = syscalls.state_flags(fd)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.ESRCH, errno.ENODEV, errno.EINVAL):
            raise
        raise QuotaOff(f"{path}: {_why_off(error, found)}") from error
    if not flags & syscalls.ACCOUNTED:
        raise QuotaOff(f"{path}: {_why_off(None, found)}")
    if not flags & syscalls.ENFORCED:
        why = "counts projects and does not enforce their limits"
        if kind == "xfs":
            raise QuotaOff(
                f"{path}: {found.source} {why} (mount option pqnoenforce); unmount it, then"
                f" {_XFS_OPTION}"
            )
        raise QuotaOff(
            f"{path}: {found.source} {why} (the mount option prjquota is missing); {_EXT4_OPTION}"
        )


def _why_off(error: OSError | None, found: FileSystem) -> str:
    if error is not None and not syscalls.has_quotactl_fd():
        if error.errno == errno.ENODEV:
            return (
                "this kernel has no quotactl_fd (Linux 5.14), or a seccomp profile hides it, and"
                f" the older call needs the device node of {found.source}, which is not in our /dev"
            )
        return f"this kernel has no quotas, or a seccomp profile hides them ({error.strerror})"
    if found.type == "xfs":
        return f"{found.source} is mounted without project quotas; {_XFS_OPTION}"
    features = _EXT4_FEATURES.format(device=found.source)
    return f"{found.source} has no project quotas (features project and quota); {features}"


def check_root(fd: int, path: str, kind: str) -> None:
    """Look whether an open root directory can hold scopes of their own projects.

    Raises:
        Misconfigured: limits are not enforced there, it cannot be written, or it belongs to a
            project itself.
        PermissionDenied: we may not read quotas.
        OSError: the file system does not answer.
    """
    check_enforced(fd, path, kind)
    if os.fstatvfs(fd).f_flag & os.ST_RDONLY:
        raise Misconfigured(f"{path}: the {kind} file system is mounted read-only")
    own = syscalls.get_project(fd)
    if own.inherits and own.id:
        raise Misconfigured(
            f"{path} itself gives the project id {own.id} to all that is made in it, so scopes can"
            " have none of their own; choose a directory outside of any project, or clear it"
            f" ('chattr -P -p 0 {path}')"
        )
    try:
        syscalls.get_quota(fd, syscalls.MAX_PROJECT)
    except PermissionError as error:
        raise PermissionDenied(
            f"{path}: project quotas may only be read and set with CAP_SYS_ADMIN, and outside any"
            " user namespace; the chart adds it for backends of this type"
        ) from error

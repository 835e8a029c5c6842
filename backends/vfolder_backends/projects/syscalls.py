"""The kernel's interface to project quotas: project ids of files, limits and counters of projects.

Structures and numbers are those of the uapi headers linux/fs.h, linux/quota.h, linux/dqblk_xfs.h.
The generic commands serve XFS, too: the kernel translates. Each function raises OSError with the
kernel's errno and nothing else. What they mean (measured on Linux 6.1):

    ENOSYS        XFS mounted without project quotas; or no quotactl_fd (before Linux 5.14)
    ESRCH         ext4 without quotas of that type
    ENOENT        an id that XFS has never seen; ext4 shows zeros
    EPERM         limits and counters need CAP_SYS_ADMIN outside any user namespace
    EINVAL        from a user namespace: a file's project id cannot be changed there
    EOPNOTSUPP    a project id on ext4 without the feature `project`
"""

import ctypes
import errno
import fcntl
import os
import platform
import struct
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from vfolder_backends.mountinfo import block_devices

# The direction of an ioctl is coded in another way on PowerPC.
_POWER: Final = platform.machine().startswith("ppc")
FS_IOC_FSGETXATTR: Final = 0x401C581F if _POWER else 0x801C581F
FS_IOC_FSSETXATTR: Final = 0x801C5820 if _POWER else 0x401C5820
FSXATTR: Final = struct.Struct("=IIIII8x")
"""xflags, extsize, nextents, projid, cowextsize."""
FS_XFLAG_PROJINHERIT: Final = 0x200

_SYS_QUOTACTL_FD: Final = 443  # the same number on every architecture that Python and we run on
_SYS_QUOTACTL: Final = {"x86_64": 179, "ppc64le": 131, "s390x": 131}.get(platform.machine(), 60)
_PRJQUOTA: Final = 2
Q_GETQUOTA: Final = 0x800007
Q_SETQUOTA: Final = 0x800008
Q_GETNEXTQUOTA: Final = 0x800009
Q_XGETQSTATV: Final = 0x5808
DQBLK: Final = struct.Struct("=QQQQQQQQII")
"""hard and soft limit of blocks, bytes used, hard and soft limit of inodes, inodes used, two times,
valid fields, and the id that Q_GETNEXTQUOTA found. Blocks are 1024 bytes."""
QUOTA_BLOCK: Final = 1024
_QIF_LIMITS: Final = 1 | 4  # of blocks, of inodes
STATV_SIZE: Final = 160
_STATV_VERSION: Final = 1
_FLAGS_OFFSET: Final = 2

ACCOUNTED: Final = 0x10
"""Usage of projects is counted."""
ENFORCED: Final = 0x20
"""And their limits hold."""

MAX_PROJECT: Final = 0xFFFFFFFE
"""0 is no project, 0xFFFFFFFF is no id."""

QUOTA_CHANGE: Final = "vfolder.quotactl"
"""The audit event raised before limits are changed, as `os` does before it changes something."""

_FEW: Final = 16

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Project:
    """The project of an entry; a directory that inherits gives it to all that is made in it."""

    id: int
    inherits: bool


@dataclass(frozen=True, slots=True)
class Quota:
    """Limits and counters of a project as the kernel keeps them; a limit of 0 is none.

    `inodes` counts directories; `bytes` are those of allocated blocks.
    """

    id: int
    bytes_limit: int = 0
    bytes_used: int = 0
    inodes_limit: int = 0
    inodes_used: int = 0
    soft_limits: bool = False

    @property
    def unused(self) -> bool:
        """Whether nothing is charged to the project and nothing limits it."""
        return self == Quota(self.id)


def get_project(fd: int) -> Project:
    """Read the project of an open file or directory."""
    xflags, _, _, project, _ = _fsxattr(fd)
    return Project(project, bool(xflags & FS_XFLAG_PROJINHERIT))


def set_project(fd: int, project: Project) -> None:
    """Charge an open file or directory to another project; its other flags stay."""
    xflags, extsize, extents, _, cowextsize = _fsxattr(fd)
    xflags &= ~FS_XFLAG_PROJINHERIT
    if project.inherits:
        xflags |= FS_XFLAG_PROJINHERIT
    data = FSXATTR.pack(xflags, extsize, extents, project.id, cowextsize)
    fcntl.ioctl(fd, FS_IOC_FSSETXATTR, data)


def _fsxattr(fd: int) -> tuple[int, ...]:
    return FSXATTR.unpack(fcntl.ioctl(fd, FS_IOC_FSGETXATTR, bytes(FSXATTR.size)))


def get_quota(fd: int, project: int) -> Quota:
    """Read a project on the file system of an open file; one never seen has nothing."""
    try:
        return _get(fd, Q_GETQUOTA, project)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return Quota(project)
        raise


def list_quotas(fd: int, first: int = 1) -> Iterator[Quota]:
    """Read every project the file system knows, from `first` upward, in rising order."""
    while first <= MAX_PROJECT:
        try:
            found = _get(fd, Q_GETNEXTQUOTA, first)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return
            raise
        yield found
        first = found.id + 1


def get_quotas(fd: int, projects: Collection[int]) -> Mapping[int, Quota]:
    """Read many in one pass over the table, few one by one: the table may be long."""
    if len(projects) <= _FEW:
        return {project: get_quota(fd, project) for project in projects}
    wanted, last = set(projects), max(projects)
    found = {}
    for quota in list_quotas(fd, min(projects)):
        if quota.id > last:
            break
        if quota.id in wanted:
            found[quota.id] = quota
    return found


def _get(fd: int, command: int, project: int) -> Quota:
    buffer = ctypes.create_string_buffer(DQBLK.size)
    _quotactl(fd, command, project, buffer)
    hard, soft, used, inodes_hard, inodes_soft, inodes, _, _, _, found = DQBLK.unpack(buffer.raw)
    # Only Q_GETNEXTQUOTA tells the id; the other leaves that field as padding.
    return Quota(
        found if command == Q_GETNEXTQUOTA else project,
        hard * QUOTA_BLOCK,
        used,
        inodes_hard,
        inodes,
        bool(soft or inodes_soft),
    )


def set_limits(fd: int, project: int, bytes_limit: int, inodes_limit: int) -> None:
    """Set both hard limits, 0 for none, and no soft ones: `df` would show those.

    Args:
        fd: any open file of the file system.
        project: the id.
        bytes_limit: a multiple of `QUOTA_BLOCK`.
        inodes_limit: directories count.
    """
    sys.audit(QUOTA_CHANGE, project)
    blocks = bytes_limit // QUOTA_BLOCK
    data = DQBLK.pack(blocks, 0, 0, inodes_limit, 0, 0, 0, 0, _QIF_LIMITS, 0)
    _quotactl(fd, Q_SETQUOTA, project, ctypes.create_string_buffer(data, len(data)))


def state_flags(fd: int) -> int:
    """Read whether projects are `ACCOUNTED` and `ENFORCED`; needs no privilege."""
    buffer = ctypes.create_string_buffer(STATV_SIZE)
    buffer[0] = bytes((_STATV_VERSION,))
    _quotactl(fd, Q_XGETQSTATV, 0, buffer)
    flags: int = struct.unpack_from("=H", buffer.raw, _FLAGS_OFFSET)[0]
    return flags & (ACCOUNTED | ENFORCED)


def has_quotactl_fd() -> bool:
    """Whether this kernel, seen through our seccomp profile, has `quotactl_fd`."""
    try:
        by_descriptor(-1, Q_XGETQSTATV, 0, ctypes.create_string_buffer(STATV_SIZE))
    except OSError as error:
        return error.errno == errno.EBADF
    return True


def _quotactl(fd: int, command: int, project: int, buffer: ctypes.Array[ctypes.c_char]) -> None:
    try:
        by_descriptor(fd, command, project, buffer)
    except OSError as error:
        if error.errno != errno.ENOSYS or has_quotactl_fd():
            raise
        by_device(fd, command, project, buffer)


def by_descriptor(fd: int, command: int, project: int, buffer: ctypes.Array[ctypes.c_char]) -> None:
    """Call `quotactl_fd`: any open file names its file system, and no device node is needed."""
    result = _libc.syscall(
        ctypes.c_long(_SYS_QUOTACTL_FD),
        ctypes.c_int(fd),
        ctypes.c_uint(command << 8 | _PRJQUOTA),
        ctypes.c_uint(project),
        buffer,
    )
    _check(result)


def by_device(fd: int, command: int, project: int, buffer: ctypes.Array[ctypes.c_char]) -> None:
    """Call `quotactl`, for kernels before 5.14: it wants the block device.

    Raises:
        OSError: ENODEV where the device is not in our /dev, else what quotactl(2) gives.
    """
    number = os.fstat(fd).st_dev
    for device in block_devices(fd):
        try:
            if os.stat(device).st_rdev == number:
                break
        except OSError:
            continue
    else:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), f"the device {number:#x} in /dev")
    result = _libc.syscall(
        ctypes.c_long(_SYS_QUOTACTL),
        ctypes.c_uint(command << 8 | _PRJQUOTA),
        ctypes.c_char_p(os.fsencode(device)),
        ctypes.c_uint(project),
        buffer,
    )
    _check(result)


def _check(result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))

"""Which file system it is: project ids are counted per file system, whatever paths lead to it."""

import fcntl
import os
import platform
import struct
import uuid
from typing import Final

from vfolder_backends.mountinfo import filesystem_type

_READ: Final = 0x40000000 if platform.machine().startswith("ppc") else 0x80000000

# struct xfs_fsop_geom_v1, whose first fields are those of all later versions (xfs_fs.h).
_XFS_IOC_FSGEOMETRY_V1: Final = _READ | 112 << 16 | ord("X") << 8 | 100
_GEOMETRY_SIZE: Final = 112
_UUID_OFFSET: Final = 64

# struct fsuuid (ext4.h, Linux 6.0): the length wanted, flags, then the bytes.
_EXT4_IOC_GETFSUUID: Final = _READ | 8 << 16 | ord("f") << 8 | 44
_FSUUID: Final = struct.Struct("=II16s")


def space_of(fd: int) -> str:
    """Return a name of the open file's file system that all its mounts, and all hosts, share.

    Raises:
        OSError: the file system does not tell.
    """
    kind = filesystem_type(fd)
    if kind == "xfs":
        geometry = fcntl.ioctl(fd, _XFS_IOC_FSGEOMETRY_V1, bytes(_GEOMETRY_SIZE))
        return str(uuid.UUID(bytes=geometry[_UUID_OFFSET : _UUID_OFFSET + 16]))
    try:
        answer = fcntl.ioctl(fd, _EXT4_IOC_GETFSUUID, _FSUUID.pack(16, 0, bytes(16)))
    except OSError:
        # An older kernel: ext4 folds its uuid into the 64 bits that statfs shows.
        return f"{kind}-{os.fstatvfs(fd).f_fsid:016x}"
    return str(uuid.UUID(bytes=_FSUUID.unpack(answer)[2]))

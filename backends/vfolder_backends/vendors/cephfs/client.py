"""The extended attributes by which CephFS is told of quotas and tells what it counted.

One function per attribute, each on an open directory. No limit is shown in two ways, as ENODATA
and as `0`; a limit goes by writing `0`, since removing the attribute leaves it in place on older
clusters. Numbers are plain decimals: suffixes mean different things to different versions.
"""

import errno
import os
from typing import Final

_MAX_BYTES: Final = "ceph.quota.max_bytes"
_MAX_FILES: Final = "ceph.quota.max_files"
_RBYTES: Final = "ceph.dir.rbytes"
_RFILES: Final = "ceph.dir.rfiles"
_RSUBDIRS: Final = "ceph.dir.rsubdirs"


def max_bytes(directory: int) -> int | None:
    """The limit in bytes."""
    return _limit(directory, _MAX_BYTES)


def set_max_bytes(directory: int, limit: int | None) -> None:
    """Set the limit in bytes, None removes it."""
    _set_limit(directory, _MAX_BYTES, limit)


def max_files(directory: int) -> int | None:
    """The limit on files and directories; the directory itself is one of them."""
    return _limit(directory, _MAX_FILES)


def set_max_files(directory: int, limit: int | None) -> None:
    """Set the limit on files and directories, None removes it."""
    _set_limit(directory, _MAX_FILES, limit)


def rbytes(directory: int) -> int:
    """The sum of file sizes below the directory; some seconds late."""
    return int(os.getxattr(directory, _RBYTES))


def rfiles(directory: int) -> int:
    """How many files, links and the like are below the directory."""
    return int(os.getxattr(directory, _RFILES))


def rsubdirs(directory: int) -> int:
    """How many directories there are, the directory itself included."""
    return int(os.getxattr(directory, _RSUBDIRS))


def is_cephfs(directory: int) -> bool:
    """Whether the open directory is on CephFS, by kernel or FUSE client."""
    try:
        rbytes(directory)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.EOPNOTSUPP, errno.EINVAL):
            return False
        raise
    return True


def _limit(directory: int, name: str) -> int | None:
    try:
        return int(os.getxattr(directory, name)) or None
    except OSError as error:
        if error.errno == errno.ENODATA:
            return None
        raise


def _set_limit(directory: int, name: str, limit: int | None) -> None:
    os.setxattr(directory, name, str(limit or 0).encode())

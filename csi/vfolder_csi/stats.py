"""How full a volume is, from counters the storage keeps; nothing is ever walked."""

import errno
import os
from dataclasses import dataclass
from typing import Final

_NO_SUCH_ATTRIBUTE: Final = frozenset({errno.ENODATA, errno.EOPNOTSUPP, errno.EINVAL})


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes or inodes."""

    total: int
    used: int
    available: int


@dataclass(frozen=True, slots=True)
class Stats:
    """What `df` and `df -i` would show; `inodes` is None where the storage does not count them."""

    bytes: Usage
    inodes: Usage | None


def of_file_system(descriptor: int) -> Stats:
    """Ask statvfs; blocking."""
    found = os.fstatvfs(descriptor)
    size = found.f_frsize
    return Stats(
        Usage(
            total=found.f_blocks * size,
            used=(found.f_blocks - found.f_bfree) * size,
            available=found.f_bavail * size,
        ),
        Usage(
            total=found.f_files,
            used=found.f_files - found.f_ffree,
            available=found.f_favail,
        )
        if found.f_files
        else None,
    )


def is_cephfs(descriptor: int) -> bool:
    """Whether the directory keeps CephFS's recursive counters; blocking."""
    return counter(descriptor, "ceph.dir.rbytes") is not None


def of_ceph_scope(scope: int, whole: Stats) -> Stats:
    """Read limits and usage of a scope's directory; blocking.

    Args:
        scope: descriptor of the directory that carries the quota.
        whole: the file system's own, for what the scope does not limit.
    """
    return Stats(
        _within(scope, "ceph.dir.rbytes", "ceph.quota.max_bytes", whole.bytes),
        _within(scope, "ceph.dir.rentries", "ceph.quota.max_files", whole.inodes),
    )


def _within(scope: int, usage: str, limit: str, whole: Usage | None) -> Usage:
    used, total = counter(scope, usage) or 0, counter(scope, limit) or 0
    if total:
        return Usage(total, used, max(0, total - used))
    if whole is None:
        return Usage(used, used, 0)
    return Usage(whole.total, used, whole.available)


def counter(descriptor: int, name: str) -> int | None:
    """Read a number that CephFS keeps of a directory, None where there is none; blocking."""
    try:
        return int(os.getxattr(descriptor, name))
    except OSError as error:
        if error.errno in _NO_SUCH_ATTRIBUTE:
            return None
        raise

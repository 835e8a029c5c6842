"""Owner, mode, extended attributes with the ACLs among them, and times of one entry.

In this order: a change of owner clears bits of the mode and file capabilities, an ACL refines the
mode, and each of them changes a time.
"""

import errno
import os
import stat
from collections.abc import Callable
from typing import Final

from vfolder_backends.engine.problems import general, reason_of

_NOT_OURS: Final = ("ceph.", "lustre.", "trusted.lov", "trusted.lma", "trusted.link")
"""Attributes that are the file system's own: layouts, and CephFS's quotas."""
_GONE: Final = (errno.ENODATA, errno.EOPNOTSUPP)

Complain = Callable[[str], None]


def apply(
    target: int | str,
    source: int | str,
    found: os.stat_result,
    has: os.stat_result,
    complain: Complain,
    *,
    fresh: bool,
) -> None:
    """Give an entry all that `found` and the source's extended attributes say.

    Args:
        target: a descriptor, or for what cannot be opened a path that ends in it.
        source: likewise.
        found: of the source.
        has: of the target, as it is now.
        complain: told what could not be kept, as `owner: EPERM`.
        fresh: the target was just made, so it has no attributes to remove.

    Raises:
        OSError: there is no room.
    """
    follow = isinstance(target, int)
    if (found.st_uid, found.st_gid) != (has.st_uid, has.st_gid):
        with _tolerated("owner", complain):
            os.chown(target, found.st_uid, found.st_gid, follow_symlinks=follow)
    if not stat.S_ISLNK(found.st_mode):
        with _tolerated("mode", complain):
            os.chmod(target, stat.S_IMODE(found.st_mode))
    _copy_xattrs(target, source, complain, fresh=fresh)
    with _tolerated("times", complain):
        os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns), follow_symlinks=follow)


class _tolerated:  # noqa: N801 - reads as what it does; a generator would double a file's cost
    def __init__(self, what: str, complain: Complain) -> None:
        self._what = what
        self._complain = complain

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, OSError) or general(error):
            return False
        self._complain(f"{self._what}: {reason_of(error)}")
        return True


def xattrs(entry: int | str) -> dict[str, bytes]:
    """All extended attributes of an entry but the file system's own, ACLs included."""
    follow = isinstance(entry, int)
    try:
        names = os.listxattr(entry, follow_symlinks=follow)
    except OSError as error:
        if error.errno in _GONE:
            return {}
        raise
    values = {}
    for name in names:
        if name.startswith(_NOT_OURS):
            continue
        try:
            values[name] = os.getxattr(entry, name, follow_symlinks=follow)
        except OSError as error:
            if error.errno not in _GONE:
                raise
    return values


def _copy_xattrs(target: int | str, source: int | str, complain: Complain, *, fresh: bool) -> None:
    follow = isinstance(target, int)
    wanted: dict[str, bytes] = {}
    with _tolerated("xattr", complain):
        wanted = xattrs(source)
    if wanted or not fresh:
        present: dict[str, bytes] = {}
        with _tolerated("xattr", complain):
            present = xattrs(target)
        for name in present.keys() - wanted.keys():
            if not name.startswith("security."):  # given by the system's policy, not by the copy
                with _tolerated(name, complain):
                    os.removexattr(target, name, follow_symlinks=follow)
        for name, value in wanted.items():
            if present.get(name) != value:
                with _tolerated(name, complain):
                    os.setxattr(target, name, value, follow_symlinks=follow)

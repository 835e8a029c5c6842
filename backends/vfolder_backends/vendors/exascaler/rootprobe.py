"""Whether root passes project limits: tried once, because no client can read the servers' setting.

The setting is `osd-*.*.quota_slave.root_prj_enable` (Lustre 2.16 and newer). A little more than a
limit is written to a directory nobody else knows of, under the highest id of the range.
"""

import errno
import os
from contextlib import suppress
from typing import Final

from vfolder_backends import containers
from vfolder_backends.facts import Tristate
from vfolder_backends.openat import directory
from vfolder_backends.projects.accounting import Accounting
from vfolder_backends.projects.syscalls import Project, Quota

_MIB: Final = 1 << 20
_LIMIT: Final = _MIB  # the least that is granted to an OST at a time
_WRITTEN: Final = 16 * _MIB
_FILE: Final = "probe"


def try_root(root: int, project: int, via: Accounting) -> Tristate:
    """Write as root above a limit; unknown where the id is in use, or something else went wrong."""
    found = via.get_quota(root, project)
    if found.inodes_used or found.bytes_used:
        return Tristate.UNKNOWN
    path = containers.make_probe(root)
    try:
        via.set_limits(root, project, _LIMIT, 0)
        with directory(root, path) as folder:
            via.set_project(folder, Project(project, inherits=True))
            return _write(folder)
    except OSError:
        return Tristate.UNKNOWN
    finally:
        _clean(root, path)
        if found != Quota(project) or via.get_quota(root, project).bytes_limit:
            via.set_limits(root, project, 0, 0)


def _write(folder: int) -> Tristate:
    fd = os.open(_FILE, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600, dir_fd=folder)
    try:
        for _ in range(_WRITTEN // _MIB):
            os.write(fd, bytes(_MIB))
            os.fsync(fd)
    except OSError as error:
        return Tristate.NO if error.errno == errno.EDQUOT else Tristate.UNKNOWN
    finally:
        os.close(fd)
    return Tristate.YES


def _clean(root: int, path: str) -> None:
    with suppress(FileNotFoundError):
        with directory(root, path) as folder, suppress(FileNotFoundError):
            os.unlink(_FILE, dir_fd=folder)
        containers.remove_probe(root, path)

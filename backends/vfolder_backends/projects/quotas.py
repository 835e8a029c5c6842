"""Limits and usage of scopes: of one directory, and of all in one pass over the kernel's table."""

import errno
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from vfolder_backends.driver import ScopeQuota
from vfolder_backends.errors import Misconfigured, Unavailable
from vfolder_backends.facts import Enforcement
from vfolder_backends.ids import ScopeHex
from vfolder_backends.openat import directory
from vfolder_backends.port import Limits, Usage
from vfolder_backends.projects.accounting import KERNEL, Accounting
from vfolder_backends.projects.syscalls import Quota
from vfolder_backends.sizes import round_up

REF: Final = "projectID"
"""The key of the project id in a `port.BackendRef`."""


def stored(limits: Limits, granularity: int) -> Limits:
    """What is shown once `limits` are set: bytes are rounded up to whole units."""
    size = None if limits.bytes is None else round_up(limits.bytes, granularity)
    return Limits(size, limits.files)


def write(
    root: int, scope: ScopeHex, limits: Limits, granularity: int, via: Accounting = KERNEL
) -> None:
    """Set both limits of the project of a scope's directory.

    Raises:
        Unavailable: the directory has no project yet.
        Misconfigured: a limit is larger than the file system can keep.
    """
    with directory(root, scope.value) as container:
        project = via.get_project(container).id
    if not project:
        raise Unavailable(
            f"scope {scope}: the directory has no project id (any more); it gets one first"
        )
    wanted = stored(limits, granularity)
    try:
        via.set_limits(root, project, wanted.bytes or 0, wanted.files or 0)
    except OSError as error:
        if error.errno != errno.ERANGE:
            raise
        raise Misconfigured(f"limits {limits} are larger than the file system can keep") from error


def read(
    root: int, scope: ScopeHex, enforcement: Enforcement, via: Accounting = KERNEL
) -> ScopeQuota:
    """Read limits and usage of a scope; without a project it has neither."""
    with directory(root, scope.value) as container:
        project = via.get_project(container).id
    if not project:
        return ScopeQuota(Limits(), None, enforcement)
    return _quota(via.get_quota(root, project), time.time(), enforcement)


def read_all(
    root: int, scopes: Iterable[ScopeHex], enforcement: Enforcement, via: Accounting = KERNEL
) -> list[tuple[ScopeHex, ScopeQuota]]:
    """Read many scopes below the root in one pass; those that vanish are left out."""
    projects: list[tuple[ScopeHex, int]] = []
    for scope in scopes:
        with suppress(FileNotFoundError), directory(root, scope.value) as container:
            projects.append((scope, via.get_project(container).id))
    ids = [project for _, project in projects if project]
    now = time.time()
    table = via.get_quotas(root, ids)
    nothing = ScopeQuota(Limits(), None, enforcement)
    return [
        (
            scope,
            _quota(table.get(project, Quota(project)), now, enforcement) if project else nothing,
        )
        for scope, project in projects
    ]


def _quota(found: Quota, now: float, enforcement: Enforcement) -> ScopeQuota:
    limits = Limits(found.bytes_limit or None, found.inodes_limit or None)
    usage = Usage(found.bytes_used, found.inodes_used, now)
    return ScopeQuota(limits, usage, enforcement, {REF: found.id})

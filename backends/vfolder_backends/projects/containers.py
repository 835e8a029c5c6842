"""A scope's directory: it appears with its project, whole, and is removed before its limits.

It is made aside, charged to the scope's id while it is empty, and renamed into place only if the
kernel then counts exactly this one inode for the id. Everybody who allocates charges first and
counts afterwards, so of two who came to the same id at most one sees a count of one: the other
removes what it made and takes another id. Rename and removal decide between two actors that make
the same scope: one of them finds nothing there any more, and looks again.
"""

import errno
import os
from contextlib import suppress
from enum import Enum, auto
from typing import Final

from vfolder_backends.ids import ScopeHex
from vfolder_backends.layout import new_scope_name
from vfolder_backends.openat import directory, rename_noreplace
from vfolder_backends.projects import claims
from vfolder_backends.projects.accounting import KERNEL, Accounting
from vfolder_backends.projects.claims import PROJECTS_PATH
from vfolder_backends.projects.syscalls import Project
from vfolder_backends.tree import files

MODE: Final = 0o711
"""Passed through, never listed, by those who mount a folder below it; root's, so nobody but root
may change its project."""


class Made(Enum):
    """What became of a try to make a scope's directory."""

    THERE = auto()
    TAKEN = auto()  # the id is somebody else's, too; nothing of ours carries it any more
    DISTURBED = auto()  # another actor was at it in the same moment


def make(root: int, scope: ScopeHex, project: int, via: Accounting = KERNEL) -> Made:
    """Make the scope's directory with its project, unless it is there."""
    if claims.tagged(root, scope, via) is not None:
        return Made.THERE
    name = new_scope_name(scope)
    with files.made_directory(root, PROJECTS_PATH) as aside:
        try:
            fd = files.make_directory(aside, name, MODE)
        except FileNotFoundError:
            return Made.DISTURBED
        try:
            wanted = Project(project, inherits=True)
            if via.get_project(fd) != wanted:
                via.set_project(fd, wanted)
            # One that was lost just before may still be counted for a moment.
            alone = claims.counts(root, project, 1, via)
        finally:
            os.close(fd)
        try:
            if not alone:
                os.rmdir(name, dir_fd=aside)
            else:
                rename_noreplace(aside, name, scope.value, root)
        except FileNotFoundError:
            return Made.DISTURBED
        except FileExistsError:
            with suppress(FileNotFoundError):
                os.rmdir(name, dir_fd=aside)
            return Made.THERE
    if alone:
        return Made.THERE
    if claims.tagged(root, scope, via) is not None:
        return Made.THERE  # another actor's, charged to the same id: that was the second inode
    claims.drop(root, scope, project)
    return Made.TAKEN


def remove(root: int, scope: ScopeHex, via: Accounting = KERNEL) -> None:
    """Remove the empty directory, then the limits, then the claim; each may be done already.

    Raises:
        OSError: ENOTEMPTY; nothing was changed then.
    """
    project = claims.tagged(root, scope, via)
    if project and claims.marked(root, scope) != project:
        # The directory decides, and once it is gone only the mark leads to its limits.
        claims.take(root, scope, project, via)
    with suppress(FileNotFoundError):
        os.rmdir(scope.value, dir_fd=root)
    discard(root, scope, via)


def discard(root: int, scope: ScopeHex, via: Accounting = KERNEL) -> None:
    """Let go of what was reserved for a scope that has no directory (any more)."""
    if claims.tagged(root, scope, via) is not None:
        return
    try:
        with directory(root, PROJECTS_PATH) as aside:
            os.rmdir(new_scope_name(scope), dir_fd=aside)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
    claims.give_back(root, scope, via)

"""The disk half of the allocator of project ids: never one id for two scopes.

A ledger gives candidates (`ledger.IdLedger`); here they are claimed and looked at. Two files tell
of a scope's id: a claim under the id's own name, which only one scope can write, and a mark under
the scope's name, of which there is one. The claim keeps scopes of one root apart. Scopes of
other roots, other clusters and people use ids without our claims: the kernel's own table shows what
they use, and `containers` looks once more after the directory is charged to the id.

An id is given back only when the kernel charges nothing to it any more, and the highest one that
was ever claimed is kept, so that not even a ledger that was set back leads to an old one.
"""

import errno
import json
import os
import re
import time
from contextlib import suppress
from typing import Final

from vfolder_backends.errors import NotOurs
from vfolder_backends.ids import ScopeHex
from vfolder_backends.layout import (
    CONTROL_DIR,
    LAST_PROJECT,
    PROJECTS_DIR,
    project_mark_name,
)
from vfolder_backends.openat import directory
from vfolder_backends.projects import syscalls
from vfolder_backends.projects.accounting import KERNEL, Accounting
from vfolder_backends.projects.syscalls import Project
from vfolder_backends.tree import files

PROJECTS_PATH: Final = f"{CONTROL_DIR}/{PROJECTS_DIR}"
_NUMBER = re.compile(r"[1-9][0-9]{0,9}")
_PATIENCE: Final = 0.25
_TRIES: Final = 8
_SETTLED_SECONDS: Final = 600.0
"""A claim without a mark that is younger may be one that an allocation under way just made."""


def project_of(root: int, scope: ScopeHex, via: Accounting = KERNEL) -> Project | None:
    """The project of the scope's directory, None where there is no directory."""
    try:
        with directory(root, scope.value) as container:
            return via.get_project(container)
    except FileNotFoundError:
        return None


def tagged(root: int, scope: ScopeHex, via: Accounting = KERNEL) -> int | None:
    """The id of that project, 0 for none; None where there is no directory."""
    project = project_of(root, scope, via)
    return None if project is None else project.id


def marked(root: int, scope: ScopeHex) -> int | None:
    """The project in the scope's mark.

    Raises:
        NotOurs: the mark is damaged.
    """
    path = f"{PROJECTS_PATH}/{project_mark_name(scope)}"
    data = files.read_small(root, path)
    if data is None:
        return None
    try:
        project = json.loads(data)["projectID"]
        if isinstance(project, int) and 0 < project <= syscalls.MAX_PROJECT:
            return project
    except (ValueError, KeyError, TypeError):
        pass
    raise NotOurs(f"the project mark {path} is damaged, nothing is touched: {data[:64]!r}")


def claimant(root: int, project: int) -> str | None:
    """The scope that a claim names, None where there is no claim."""
    data = files.read_small(root, f"{PROJECTS_PATH}/{project}")
    return None if data is None else data.decode("ascii", "replace").strip()


def last(root: int) -> int:
    """The highest id that was ever to be claimed below this root, 0 before the first."""
    data = files.read_small(root, f"{PROJECTS_PATH}/{LAST_PROJECT}") or b""
    text = data.decode("ascii", "replace").strip()
    return int(text) if _NUMBER.fullmatch(text) else 0


def confirm(root: int, scope: ScopeHex, via: Accounting = KERNEL) -> int | None:
    """Return the id that the scope's mark names, its claim written again if it is gone.

    None where there is no mark, or where somebody else took the id meanwhile: the mark is then
    gone, too, and another id is needed.
    """
    project = marked(root, scope)
    if project is None:
        return None
    holder = claimant(root, project)
    if holder is None and (tagged(root, scope, via) == project or _free(root, project, via)):
        holder = _write_claim(root, scope, project)
    if holder == scope.value:
        return project
    _remove(root, project_mark_name(scope))
    return None


def claim(
    root: int, scope: ScopeHex, candidate: int, via: Accounting = KERNEL
) -> tuple[int | None, int]:
    """Claim a candidate for a scope that has no id.

    Returns:
        The id that the scope then has; it is another one if another actor was quicker. None where
        the candidate is taken; and from where on to ask for the next one.
    """
    holder = claimant(root, candidate)
    if holder is None and _free(root, candidate, via):
        # First, so that what a kill leaves of this claim is in nobody's way.
        if candidate > last(root):
            with files.made_directory(root, PROJECTS_PATH) as folder:
                files.replace(root, folder, LAST_PROJECT, b"%d\n" % candidate)
        holder = _write_claim(root, scope, candidate)
    if holder != scope.value:
        return None, _next_free(root, candidate + 1, via)
    if not _free(root, candidate, via):  # somebody charged something to it in between
        _withdraw(root, scope, candidate)
        return None, _next_free(root, candidate + 1, via)
    with suppress(FileExistsError):
        _write_mark(root, scope, candidate)
    project = marked(root, scope)
    if project != candidate:
        _withdraw(root, scope, candidate)
    return project, candidate + 1


def take(root: int, scope: ScopeHex, project: int, via: Accounting = KERNEL) -> bool:
    """Claim the id that an existing scope's directory carries; False if another scope claims it."""
    holder = claimant(root, project) or _write_claim(root, scope, project)
    if holder is None or (holder != scope.value and not _gone(root, holder, project, via)):
        return False
    with files.made_directory(root, PROJECTS_PATH) as folder:
        files.replace(root, folder, project_mark_name(scope), _content(project))
        if holder != scope.value:
            files.replace(root, folder, str(project), scope.value.encode() + b"\n")
    return True


def give_back(root: int, scope: ScopeHex, via: Accounting = KERNEL) -> None:
    """Let go of the id of a scope whose directory is gone, its limits removed.

    What the kernel still charges to the id, as XFS does for a moment, or for good if it is
    somebody else's, keeps the claim: `sweep` removes it later.
    """
    project = marked(root, scope)
    if project is None:
        return
    if claimant(root, project) == scope.value and counts(root, project, 0, via):
        _close(root, project, via)
    _remove(root, project_mark_name(scope))


def drop(root: int, scope: ScopeHex, project: int) -> None:
    """Let go of an id that turned out to be somebody else's; its limits are not touched."""
    if marked(root, scope) == project:
        _remove(root, project_mark_name(scope))
    _withdraw(root, scope, project)


def sweep(root: int, via: Accounting = KERNEL) -> int:
    """Finish what `give_back` or a crash left: claims of scopes that have nothing of that id.

    Returns:
        How many claims are still there.
    """
    kept = 0
    for name in files.list_names(root, PROJECTS_PATH):
        if not _NUMBER.fullmatch(name):
            continue
        kept += 1
        project = int(name)
        holder = claimant(root, project)
        if holder is None or not _old(root, name) or not _gone(root, holder, project, via):
            continue
        if via.get_quota(root, project).inodes_used == 0:
            _close(root, project, via)
            kept -= 1
    return kept


def counts(root: int, project: int, inodes: int, via: Accounting = KERNEL) -> bool:
    """Whether so many inodes are charged to a project, now or within a moment.

    XFS gives inodes back in the background; asking for the file system's size hurries it on.
    """
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(_PATIENCE / _TRIES)
        if via.get_quota(root, project).inodes_used == inodes:
            return True
        os.fstatvfs(root)
    return False


def _withdraw(root: int, scope: ScopeHex, project: int) -> None:
    if claimant(root, project) == scope.value:
        _remove(root, str(project))


def _close(root: int, project: int, via: Accounting = KERNEL) -> None:
    """Remove limits, then the claim: the kernel's table still shows an id that has limits."""
    if not via.get_quota(root, project).unused:
        via.set_limits(root, project, 0, 0)
    _remove(root, str(project))


def _gone(root: int, holder: str, project: int, via: Accounting = KERNEL) -> bool:
    """Whether the scope that a claim names has nothing to do with the id."""
    try:
        scope = ScopeHex(holder)
    except ValueError:
        return True
    try:
        return marked(root, scope) != project and tagged(root, scope, via) != project
    except (NotOurs, OSError):
        return False  # damaged or not readable: it may be in use


def _free(root: int, project: int, via: Accounting = KERNEL) -> bool:
    return via.get_quota(root, project).unused


def _next_free(root: int, first: int, via: Accounting = KERNEL) -> int:
    """The first id from `first` on that is neither in the kernel's table nor claimed here."""
    claimed = {
        int(name) for name in files.list_names(root, PROJECTS_PATH) if _NUMBER.fullmatch(name)
    }
    for quota in via.list_quotas(root, first):
        if quota.unused:
            continue
        while first in claimed and first < quota.id:
            first += 1
        if quota.id > first:
            break
        first = quota.id + 1
    while first in claimed:
        first += 1
    return first


def _old(root: int, name: str) -> bool:
    try:
        with directory(root, PROJECTS_PATH) as folder:
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return time.time() - found.st_mtime > _SETTLED_SECONDS


def _write_claim(root: int, scope: ScopeHex, project: int) -> str | None:
    """Write a claim if there is none; return the scope that holds it then."""
    with (
        suppress(FileExistsError),
        files.made_directory(root, PROJECTS_PATH) as folder,
    ):
        files.create(root, folder, str(project), scope.value.encode() + b"\n")
    return claimant(root, project)


def _write_mark(root: int, scope: ScopeHex, project: int) -> None:
    with files.made_directory(root, PROJECTS_PATH) as folder:
        files.create(root, folder, project_mark_name(scope), _content(project))


def _content(project: int) -> bytes:
    return json.dumps({"projectID": project}).encode() + b"\n"


def _remove(root: int, name: str) -> None:
    try:
        with directory(root, PROJECTS_PATH) as folder:
            os.unlink(name, dir_fd=folder)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise

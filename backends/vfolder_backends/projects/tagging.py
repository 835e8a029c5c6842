"""Walks over a scope: existing entries get the scope's project, escaped ones are found.

New entries need neither: they inherit. But what lay there before a scope got its project does not,
what is moved in keeps its own, and an owner may change it. Only files and directories can be asked:
links, sockets, pipes and devices cannot be opened for it, so those that lay there before stay
uncharged; they take next to no space.
"""

import errno
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from vfolder_backends.engine.stop import Stop
from vfolder_backends.engine.visit import Batch, Kind, visit
from vfolder_backends.errors import NotOurs
from vfolder_backends.ids import ScopeHex
from vfolder_backends.layout import tagging_note_name
from vfolder_backends.openat import directory, open_beneath
from vfolder_backends.port import Progress
from vfolder_backends.projects.accounting import KERNEL, Accounting
from vfolder_backends.projects.claims import PROJECTS_PATH
from vfolder_backends.projects.syscalls import Project
from vfolder_backends.tree import files

_THREADS: Final = 4  # changing a project is a write to the journal
_EXAMPLES: Final = 20
_GONE: Final = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENXIO, errno.EXDEV)
"""What an entry answers that is gone, was swapped for another kind, or is another mount."""


@dataclass
class Tally:
    """What a walk met; callbacks run in several threads."""

    entries: int = 0
    other: int = 0  # charged to another project, or to none where all should be charged
    untaggable: int = 0
    examples: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, batch: Batch, other: list[str], untaggable: int) -> None:
        """Count a batch."""
        with self.lock:
            self.entries += len(batch.entries)
            self.other += len(other)
            self.untaggable += untaggable
            room = _EXAMPLES - len(self.examples)
            self.examples += ["/".join((*batch.path, name)) for name in other[:room]]


def begin(root: int, scope: ScopeHex, project: int) -> None:
    """Note that the scope's tree needs a walk; what is noted already stays."""
    if _noted(root, scope) is None:
        _note(root, scope, project, None, Tally())


def is_under_way(root: int, scope: ScopeHex) -> bool:
    """Whether a walk is noted and not finished."""
    return _noted(root, scope) is not None


def forget(root: int, scope: ScopeHex) -> None:
    """Remove the note."""
    with suppress(FileNotFoundError), directory(root, PROJECTS_PATH) as folder:
        os.unlink(tagging_note_name(scope), dir_fd=folder)


def tag(
    root: int, scope: ScopeHex, project: int, stop_at: float, via: Accounting = KERNEL
) -> Progress | None:
    """Give the project to all that lies in the scope's tree and has none; foreign ones stay.

    Goes on where the note says, and keeps it up to date, so it may be killed at any point.

    Returns:
        How far it is, None when it is done and the note gone.
    """
    noted = _noted(root, scope)
    cursor, tally = noted if noted is not None else (None, Tally())
    wanted = Project(project, inherits=True)
    with directory(root, scope.value) as container:
        # The top first, then each directory before its content: what is made meanwhile inherits.
        if via.get_project(container) != wanted:
            _charge(container, wanted, via)
        after = visit(
            container,
            _tagger(wanted, tally, via),
            stop=Stop(stop_at),
            cursor=cursor,
            threads=_THREADS,
            report=lambda now: _note(root, scope, project, now.cursor, tally),
        )
    if after.done:
        forget(root, scope)
        return None
    _note(root, scope, project, after.cursor, tally)
    return Progress(
        "Tagging",
        f"what lay in the scope is being charged to it (project id {project}); so far"
        f" {tally.other} entries belong to other projects and are left alone,"
        f" {tally.untaggable} cannot be charged (links and the like, immutable files)",
        tally.entries,
    )


def _tagger(wanted: Project, tally: Tally, via: Accounting) -> Callable[[Batch], None]:
    def tag_batch(batch: Batch) -> None:
        other, untaggable = [], 0
        for name, kind in batch.entries:
            if kind not in (Kind.DIRECTORY, Kind.FILE):
                untaggable += 1
                continue
            with _opened(batch.parent, name, kind) as fd:
                if fd is None:
                    continue
                found = via.get_project(fd)
                if found.id not in (0, wanted.id):
                    other.append(name)
                elif found.id == 0 or (kind is Kind.DIRECTORY and not found.inherits):
                    try:
                        _charge(fd, Project(wanted.id, inherits=kind is Kind.DIRECTORY), via)
                    except PermissionError:  # immutable; that we may charge, the top has shown
                        untaggable += 1
        tally.add(batch, other, untaggable)

    return tag_batch


def find_escaped(
    root: int,
    scope: ScopeHex,
    cursor: str | None,
    tally: Tally,
    stop_at: float,
    via: Accounting = KERNEL,
) -> str | None:
    """Go on with a walk that looks for entries charged elsewhere; nothing is changed.

    Args:
        root: the root's descriptor.
        scope: whose tree.
        cursor: where an earlier call stopped.
        tally: counts on; paths are relative to the scope.
        stop_at: `time.monotonic()` after which nothing more is begun.
        via: who knows projects.

    Returns:
        Where to go on, None when all was looked at.
    """
    with directory(root, scope.value) as container:
        project = via.get_project(container).id

        def look(batch: Batch) -> None:
            other, untaggable = [], 0
            for name, kind in batch.entries:
                if kind not in (Kind.DIRECTORY, Kind.FILE):
                    untaggable += 1
                    continue
                with _opened(batch.parent, name, kind) as fd:
                    if fd is None:
                        continue
                    found = via.get_project(fd)
                    # What is made in a directory that gives nothing on is charged to nobody.
                    if found.id != project or (kind is Kind.DIRECTORY and not found.inherits):
                        other.append(name)
            tally.add(batch, other, untaggable)

        return visit(container, look, stop=Stop(stop_at), cursor=cursor).cursor


@contextmanager
def _opened(parent: int, name: str, kind: Kind) -> Iterator[int | None]:
    """Open an entry to ask for its project; None where it is gone or became something else."""
    # Without O_NONBLOCK a file that became a pipe, or is leased, would hold us up.
    flags = os.O_RDONLY | os.O_NONBLOCK | (os.O_DIRECTORY if kind is Kind.DIRECTORY else 0)
    try:
        fd = open_beneath(parent, name, flags, same_mount=True)
    except OSError as error:
        if error.errno not in (*_GONE, errno.EWOULDBLOCK):
            raise
        yield None
        return
    try:
        yield fd
    finally:
        os.close(fd)


def _charge(fd: int, project: Project, via: Accounting) -> None:
    try:
        via.set_project(fd, project)
    except OSError as error:
        if error.errno not in (errno.EDQUOT, errno.ENOSPC):
            raise
        # Limits of an earlier life hold only once all is charged; the scope's own are set then.
        via.set_limits(fd, project.id, 0, 0)
        via.set_project(fd, project)


def _path(scope: ScopeHex) -> str:
    return f"{PROJECTS_PATH}/{tagging_note_name(scope)}"


def _noted(root: int, scope: ScopeHex) -> tuple[str | None, Tally] | None:
    data = files.read_small(root, _path(scope))
    if data is None:
        return None
    try:
        note = json.loads(data)
        cursor = note["cursor"]
        if cursor is None or isinstance(cursor, str):
            entries, other, untaggable = (int(note[k]) for k in ("entries", "other", "untaggable"))
            return cursor, Tally(entries, other, untaggable)
    except (ValueError, KeyError, TypeError):
        pass
    raise NotOurs(f"the note {_path(scope)} is damaged, nothing is touched: {data[:64]!r}")


def _note(root: int, scope: ScopeHex, project: int, cursor: str | None, tally: Tally) -> None:
    with tally.lock:
        note = {
            "projectID": project,
            "cursor": cursor,
            "entries": tally.entries,
            "other": tally.other,
            "untaggable": tally.untaggable,
        }
    with files.made_directory(root, PROJECTS_PATH) as folder:
        files.replace(root, folder, tagging_note_name(scope), json.dumps(note).encode() + b"\n")

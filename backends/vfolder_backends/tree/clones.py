"""Clones: a new folder filled with a copy of another one, under a name that nobody is handed.

The copy goes on from call to call where its note says; it gets the folder's name when all of it is
there, with owner and mode as asked, and on the storage. Everything here that changes something is
done by the holder of the clone's lock. See `engine.tree_copy` for what a copy keeps.
"""

import errno
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from vfolder_backends.driver import Freezing
from vfolder_backends.engine.problems import Problems
from vfolder_backends.engine.stop import Stop
from vfolder_backends.engine.tree_copy import copy_contents
from vfolder_backends.errors import NotFound, NotOurs, PathConflict, Unsupported
from vfolder_backends.ids import FolderHex, ScopeHex
from vfolder_backends.layout import Aside, AsideName, leaf_name, new_name, prefix_parts
from vfolder_backends.openat import directory, rename_noreplace, syncfs
from vfolder_backends.port import FolderRequest, FolderSource, Progress, Usage
from vfolder_backends.tree import clone_notes, files, marks, places
from vfolder_backends.tree.clone_notes import Note
from vfolder_backends.tree.places import CONTAINER_MODE, FolderPlace

_MODE: Final = 0o700  # while it is filled
_OF_A_LIVE_TREE: Final = (
    "vanished",
    "socket",
    "changed during the copy",
    "appeared during the copy",
)
"""What is left out of any copy, or changed by pods meanwhile; all else is a copy that failed."""

UsageOf = Callable[[int], Usage | None]
"""Reads the storage's own counters of an open directory, None where it keeps none."""


@dataclass(frozen=True, slots=True)
class Cloning:
    """How clones are filled.

    Attributes:
        seconds: for how long at most in one call.
        freezing: how the storage holds a source still, None where it cannot.
    """

    seconds: float
    freezing: Freezing | None = None


def require_source(root: int, source: FolderSource) -> None:
    """Raise NotFound unless the source is a live folder."""
    place = places.look(root, source.scope, source.folder)
    if not place.live or place.owner is None:
        where = "in the trash" if place.trashed is not None else "not there"
        raise NotFound(f"the folder to copy, {source.scope}/{source.folder}, is {where}")


def is_noted(root: int, scope: ScopeHex, folder: FolderHex) -> bool:
    """Whether what lies under the folder's `.new-` name is part of a clone."""
    return clone_notes.read(root, scope, folder) is not None


def advance(
    root: int, request: FolderRequest, seen: FolderPlace, how: Cloning, usage_of: UsageOf
) -> Progress | None:
    """Begin a clone or go on with it; the folder is not live, and may be had by who asks.

    Args:
        root: the root's descriptor.
        request: of what, and for whom.
        seen: what lay at the folder's place when that was decided.
        how: for how long, and whether the source is held still.
        usage_of: see `UsageOf`.

    Returns:
        How far it is, None when the folder has its name.

    Raises:
        NotFound: the source is gone, or another folder lies in its place.
        PathConflict: it was begun as the copy of another folder.
        Unsupported: something in it cannot be copied as it is.
        FileNotFoundError, FileExistsError: something changed meanwhile; look again.
        OSError: the target has no room (ENOSPC, EDQUOT); what was copied stays.
    """
    scope, folder = request.scope, request.folder
    with clone_notes.locked(root, scope, folder) as lock:
        if lock is None:
            return progress_of(clone_notes.read(root, scope, folder))
        if places.look(root, scope, folder) != seen:
            raise FileExistsError(errno.EEXIST, "somebody else went on with it")
        # From the container down: a scope that is gone must not come back without its limits.
        with directory(root, scope.value) as container:
            path = "/".join(prefix_parts(folder))
            with files.made_directory(container, path, CONTAINER_MODE) as prefix:
                _begin(root, prefix, request, seen, how)
        if seen.owner is None:
            marks.claim(root, scope, folder.value, request.owner)
        return _fill(root, request, how, usage_of, lock)


def _begin(root: int, prefix: int, request: FolderRequest, seen: FolderPlace, how: Cloning) -> None:
    """Make the directory to fill, if it is not there, and note whose copy it shall be."""
    scope, folder, there = request.scope, request.folder, seen.unfinished
    note = clone_notes.read(root, scope, folder)
    if note is not None and not there:
        discard(root, scope, folder, how.freezing)  # of one that was thrown away
        note = None
    if note is not None:
        if request.source not in (None, note.source):
            raise PathConflict(
                f"folder {scope}/{folder} was begun as a copy of {_named(note.source)}, and now"
                f" one of {_named(request.source)} is asked for; delete it, and make it anew"
            )
        return
    if request.source is None:
        raise FileNotFoundError(errno.ENOENT, "the clone was thrown away meanwhile")
    require_source(root, request.source)
    with directory(root, _source_path(request.source)) as source:
        inode = os.fstat(source).st_ino
    if there:
        with directory(prefix, new_name(folder)) as target:
            there = not os.listdir(target)
        if not there:  # a copy of we do not know what
            throw_away(root, scope, folder)
    if not there:
        os.mkdir(new_name(folder), _MODE, dir_fd=prefix)
    clone_notes.write(root, scope, folder, Note(request.source, inode))


def _fill(
    root: int, request: FolderRequest, how: Cloning, usage_of: UsageOf, lock: int
) -> Progress | None:
    """Go on with the copy; see `advance`."""
    scope, folder = request.scope, request.folder
    try:
        progress = _go_on(root, request, how, usage_of, lock)
    finally:
        # Thrown away meanwhile, or done: either way nothing is left to be noted.
        gone = not places.look(root, scope, folder).unfinished
        if gone:
            discard(root, scope, folder, how.freezing)
    if gone and progress is not None:
        raise FileNotFoundError(errno.ENOENT, "the clone was thrown away meanwhile")
    return progress


def _go_on(
    root: int, request: FolderRequest, how: Cloning, usage_of: UsageOf, lock: int
) -> Progress | None:
    scope, folder = request.scope, request.folder
    note = clone_notes.read(root, scope, folder)
    if note is None:
        raise FileNotFoundError(errno.ENOENT, "the clone was thrown away meanwhile")
    if note.refused:
        raise Unsupported(_refusal(note))
    source = _open_source(root, note, folder, how.freezing)
    try:
        with places.opened(root, scope, folder, new_name(folder)) as target:
            if how.freezing is not None and not note.frozen and note.cursor is None:
                fd = how.freezing.freeze(source, folder.value)
                if fd is not None:
                    os.close(source)
                    source, note = fd, replace(note, frozen=True)
                    clone_notes.write(root, scope, folder, note)
            stop = Stop(time.monotonic() + how.seconds)
            copied = copy_contents(source, target, stop=stop, cursor=note.cursor, held=(lock,))
            syncfs(target)  # before the note: what it takes for copied must outlive a power cut
            # What a purge took away while we copied must not pass for what pods removed.
            os.close(_open_source(root, note, folder, how.freezing))
            note = replace(note, cursor=copied.cursor, entries=copied.entries)
            if not copied.done:
                clone_notes.write(root, scope, folder, note)
                return progress_of(note, _total(root, note.source, usage_of))
            refused = _failures(copied.problems)
            if refused:
                note = replace(note, refused=refused)
                clone_notes.write(root, scope, folder, note)
                raise Unsupported(_refusal(note))
            places.apply_attributes(target, request.attributes)
            os.fsync(target)
    finally:
        os.close(source)
    with directory(root, places.prefix_path(scope, folder)) as prefix:
        rename_noreplace(prefix, new_name(folder), leaf_name(folder))
        os.fsync(prefix)
    return None


def _failures(problems: Problems) -> str:
    left = {r: count for r, count in problems.counts.items() if r not in _OF_A_LIVE_TREE}
    if not left:
        return ""
    named = [f"{path} ({r})" for path, r in problems.named if r in left]
    return f"{sum(left.values())} entries, such as {', '.join(named[:3]) or ', '.join(left)}"


def _refusal(note: Note) -> str:
    return (
        f"the copy of {note.source.scope}/{note.source.folder} is not faithful: {note.refused};"
        " delete it, change these in the source, and make it anew"
    )


def _named(source: FolderSource | None) -> str:
    return "nothing" if source is None else f"{source.scope}/{source.folder}"


def _source_path(source: FolderSource) -> str:
    return places.path_of(source.scope, source.folder, None)


def _open_source(root: int, note: Note, folder: FolderHex, freezing: Freezing | None) -> int:
    """Open what is to be read; the caller closes it.

    Raises:
        NotFound: what the copy was begun of is not there any more.
    """
    source = note.source
    what = f"the folder to copy, {source.scope}/{source.folder},"
    place = places.look(root, source.scope, source.folder)
    if note.frozen and freezing is not None:
        for aside in (None, *reversed(place.asides)):
            path = places.path_of(source.scope, source.folder, aside)
            with suppress(FileNotFoundError), directory(root, path) as top:
                fd = freezing.frozen(top, folder.value)
                if fd is not None:
                    return fd
        raise NotFound(f"{what} is gone with the snapshot that was taken of it; delete the copy")
    if not place.live:
        where = "in the trash: restore it" if place.trashed is not None else "gone"
        raise NotFound(f"{what} is {where}, or delete the copy")
    with directory(root, _source_path(source)) as top:
        if os.fstat(top).st_ino != note.inode:
            raise NotFound(f"{what} was made anew since the copy began; delete the copy")
        return os.dup(top)


def _total(root: int, source: FolderSource, usage_of: UsageOf) -> int | None:
    try:
        with directory(root, _source_path(source)) as top:
            usage = usage_of(top)
    except FileNotFoundError:
        return None  # in the trash since, and held still by a snapshot
    return None if usage is None or usage.files is None else max(0, usage.files - 1)


def progress_of(note: Note | None, total: int | None = None) -> Progress:
    """How far a clone is."""
    if note is None:
        return Progress("Copying", "the copy begins")
    still = ", as it was when the copy began" if note.frozen else ""
    message = f"folder {note.source.scope}/{note.source.folder} is being copied{still}"
    return Progress("Copying", message, note.entries, total)


def throw_away(root: int, scope: ScopeHex, folder: FolderHex) -> None:
    """Rename what was begun to a name from which nothing comes back; a purge removes it."""
    aside = AsideName(Aside.PURGE, leaf_name(folder), int(time.time()))
    places.move_aside(root, scope, folder, new_name(folder), aside)


def discard(root: int, scope: ScopeHex, folder: FolderHex, freezing: Freezing | None) -> None:
    """Let go of what was held for a clone that is done or thrown away; nothing noted is success."""
    try:
        note = clone_notes.read(root, scope, folder)
    except NotOurs:
        note = None  # damaged: a snapshot it may tell of goes with its folder
    else:
        if note is None:
            return
    if note is not None and freezing is not None:
        source = places.look(root, note.source.scope, note.source.folder)
        for aside in (None, *source.asides):
            path = places.path_of(note.source.scope, note.source.folder, aside)
            with suppress(FileNotFoundError), directory(root, path) as top:
                freezing.thaw(top, folder.value)
    clone_notes.forget(root, scope, folder)

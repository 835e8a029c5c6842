"""Folders: made, found, moved to the trash and brought back.

Making one takes four steps, and whoever comes after a crash, or comes second, carries on from what
lies there: the index entry; the directory under a name nobody hands out, with owner and mode set;
the owner mark, which is the commitment; the rename to the folder's own name. A clone is filled
before that rename, by one actor at a time: see `clones`.
"""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from vfolder_backends.driver import Freezing
from vfolder_backends.errors import (
    DataMissing,
    NotFound,
    NotOurs,
    PathConflict,
    Unavailable,
)
from vfolder_backends.ids import FolderHex, ScopeHex
from vfolder_backends.layout import Aside, AsideName, leaf_name, new_name, prefix_parts
from vfolder_backends.openat import directory, rename_noreplace
from vfolder_backends.port import (
    FolderAttributes,
    FolderPhase,
    FolderRequest,
    FolderState,
    Owner,
    Progress,
    Usage,
)
from vfolder_backends.tree import clone_notes, clones, files, marks, names, places, scopes
from vfolder_backends.tree.clone_notes import Note
from vfolder_backends.tree.clones import Cloning, UsageOf
from vfolder_backends.tree.marks import Mark
from vfolder_backends.tree.names import Kind
from vfolder_backends.tree.places import FolderPlace

T = TypeVar("T")

_ATTEMPTS: Final = 32
_FOLDER_MODE: Final = 0o755


@dataclass(frozen=True, slots=True)
class _Id:
    scope: ScopeHex
    folder: FolderHex

    def __str__(self) -> str:
        return f"folder {self.scope}/{self.folder}"


def _settle(root: int, at: _Id, step: Callable[[FolderPlace], T | None]) -> T:
    """Look and take a step until the step returns something; None is to look again.

    A refusal counts only when two looks in a row agree: between reading a directory and a mark
    another actor may have got on. ENOENT and EEXIST mean that somebody was quicker.
    """
    before: FolderPlace | None = None
    for _ in range(_ATTEMPTS):
        place = places.look(root, at.scope, at.folder)
        try:
            done = step(place)
        except (FileNotFoundError, FileExistsError):
            before = None
        except (NotOurs, NotFound, DataMissing, PathConflict):
            if place == before:
                raise
            before = place
        else:
            if done is not None:
                return done
    raise Unavailable(f"{at} kept changing under us; try again")


def ensure(root: int, request: FolderRequest, usage_of: UsageOf, how: Cloning) -> FolderState:
    """Make the folder, finish what was begun, or set the attributes of the one that is there.

    A clone is filled for a while; it is FILLING until it is complete.

    Raises:
        NotFound, NotOurs, DataMissing, PathConflict: as the port says.
        Unsupported: the source holds what cannot be copied as it is.
    """
    at = _Id(request.scope, request.folder)
    owner, target = request.owner, places.target(request.scope, request.folder)
    made = False

    def step(place: FolderPlace) -> FolderState | None:
        nonlocal made
        if made and place.owner is None and place.live:
            # A purge of what had this id before removed the mark in the moment of our rename.
            places.remark(root, at.scope, at.folder, Mark(owner))
            return None
        try:
            _check(place, request, at)
        except NotOurs:
            # Whoever lost a race for the mark had entered its name before.
            names.forget(root, Kind.FOLDERS, owner, target)
            raise
        if place.owner is None or not place.live:
            _require_scope(root, at.scope)
        if request.source is not None and not (place.live or place.unfinished):
            clones.require_source(root, request.source)
        if not made:
            names.remember(root, Kind.FOLDERS, owner, target)
        if place.owner is not None and place.owner != owner:
            marks.take_over(root, at.scope, at.folder.value, owner)
            names.forget(root, Kind.FOLDERS, place.owner, target)
            return None
        if not place.live and (
            request.source is not None
            or (place.unfinished and clones.is_noted(root, at.scope, at.folder))
        ):
            progress = clones.advance(root, request, place, how, usage_of)
            made = progress is None
            return None if progress is None else _filling(at, owner, progress)
        if not place.live:
            _prepare(root, at, request.attributes)
        if place.owner is None:
            marks.claim(root, at.scope, at.folder.value, owner)
            place = replace(place, owner=owner)
        if not place.live:
            with directory(root, places.prefix_path(at.scope, at.folder)) as prefix:
                rename_noreplace(prefix, new_name(at.folder), leaf_name(at.folder))
            made = True
            return None
        if place.unfinished:
            _drop_unfinished(root, at)
        clones.discard(root, at.scope, at.folder, how.freezing)  # what a crash left of a clone
        with directory(root, places.path_of(at.scope, at.folder, None)) as folder:
            places.apply_attributes(folder, request.attributes)
        return _state(root, at, place, None, usage_of)

    return _settle(root, at, step)


def _filling(at: _Id, owner: Owner | None, progress: Progress) -> FolderState:
    path = places.path_of(at.scope, at.folder, None)
    return FolderState(at.scope, at.folder, owner, FolderPhase.FILLING, path, progress=progress)


def _require_scope(root: int, scope: ScopeHex) -> None:
    place = scopes.look(root, scope)
    if place.owner is None:
        raise NotFound(f"scope {scope} is not there, or was never finished")
    if not place.present:
        raise DataMissing(f"scope {scope} was made for {place.owner} and is gone")


def _check(place: FolderPlace, request: FolderRequest, at: _Id) -> None:
    if place.owner is not None or place.live:
        marks.check_taking(str(at), place.owner, request.owner, request.adoption)
    elif place.trashed is not None:
        raise NotOurs(f"{at}: something without an owner mark lies in its trash")
    if place.live or (place.unfinished and place.owner is not None) or request.recreate:
        return
    if place.trashed is not None:
        raise DataMissing(f"{at} is in the trash; restore it, or ask for an empty one")
    if place.owner is not None:
        raise DataMissing(
            f"{at} was made for {place.owner} and is gone; bring it back, or ask for an empty one"
        )
    if request.must_exist:
        raise NotFound(f"{at} does not exist")


def _prepare(root: int, at: _Id, attributes: FolderAttributes) -> None:
    name, path = new_name(at.folder), "/".join(prefix_parts(at.folder))
    # From the container down: a scope that is gone must not come back without its limits.
    with (
        directory(root, at.scope.value) as container,
        files.made_directory(container, path, places.CONTAINER_MODE) as prefix,
    ):
        with suppress(FileExistsError):
            os.mkdir(name, _FOLDER_MODE, dir_fd=prefix)
        with directory(prefix, name) as folder:
            places.apply_attributes(folder, attributes)


def _drop_unfinished(root: int, at: _Id) -> None:
    """Remove an empty directory that a creation left, and throw away what holds part of a clone."""
    with suppress(FileNotFoundError):
        with directory(root, places.prefix_path(at.scope, at.folder)) as prefix:
            empty = files.remove_if_empty(prefix, new_name(at.folder))
        if not empty:
            clones.throw_away(root, at.scope, at.folder)


def trash(
    root: int,
    scope: ScopeHex,
    folder: FolderHex,
    owner: Owner,
    keep: float | None,
    freezing: Freezing | None,
) -> None:
    """Move the folder to the trash; nothing there, or in the trash already, is success.

    For how long it can come back is noted before it goes: whoever sees it there sees that, too.
    What was never finished cannot come back.

    Raises:
        NotOurs: it is somebody else's, or has no mark.
    """
    at = _Id(scope, folder)

    def step(place: FolderPlace) -> bool | None:
        if place.owner is None and not place.live:
            with (
                suppress(FileNotFoundError),
                directory(root, places.prefix_path(scope, folder)) as prefix,
            ):
                files.remove_if_empty(prefix, new_name(folder))
            clones.discard(root, scope, folder, freezing)
            names.forget(root, Kind.FOLDERS, owner, places.target(scope, folder))
            return True
        marks.check_taking(str(at), place.owner, owner, None)
        aside = AsideName(Aside.TRASH, leaf_name(folder), int(time.time()))
        if place.live:
            if place.keep != keep:
                marks.take_over(root, scope, folder.value, owner, keep)
            places.move_aside(root, scope, folder, leaf_name(folder), aside)
        elif place.unfinished and place.asides:
            _drop_unfinished(root, at)
        elif place.unfinished:
            # Aside, not away: a late actor then sees that it was there, and does not finish it.
            clones.throw_away(root, scope, folder)
        clones.discard(root, scope, folder, freezing)
        if not (place.live or place.unfinished or place.asides):
            return places.retire(root, scope, folder, Mark(owner, place.keep)) or None
        return True if not place.unfinished else None

    _settle(root, at, step)


def restore(
    root: int, scope: ScopeHex, folder: FolderHex, owner: Owner, usage_of: UsageOf
) -> FolderState:
    """Bring the newest of that id back from the trash; there already is success.

    Raises:
        NotFound: there is none, or its purge has begun.
        NotOurs: it is somebody else's.
        PathConflict: a folder of that id was made meanwhile.
    """
    at = _Id(scope, folder)

    def step(place: FolderPlace) -> FolderState | None:
        if place.owner is None and not place.live and place.trashed is None:
            raise NotFound(f"{at} does not exist")
        marks.check_taking(str(at), place.owner, owner, None)
        if place.live and place.trashed is None:
            return _state(root, at, place, None, usage_of)
        if place.live:
            raise PathConflict(f"{at} is in the trash, and a new one was made in its place")
        if place.trashed is None:
            raise NotFound(f"{at} is not in the trash any more")
        names.remember(root, Kind.FOLDERS, owner, places.target(scope, folder))
        with directory(root, places.prefix_path(scope, folder)) as prefix:
            rename_noreplace(prefix, str(place.trashed), leaf_name(folder))
        return None

    return _settle(root, at, step)


def describe(root: int, scope: ScopeHex, folder: FolderHex, usage_of: UsageOf) -> FolderState:
    """Read one folder.

    Raises:
        NotFound: there is neither a mark nor a directory.
    """
    for _ in range(_ATTEMPTS):
        place = places.look(root, scope, folder)
        if place.owner is None and not (place.live or place.asides):
            raise NotFound(f"{_Id(scope, folder)} does not exist")
        with suppress(FileNotFoundError):  # renamed since: look again
            at = _Id(scope, folder)
            return _state(root, at, place, _shown(place, _noted(root, at, place)), usage_of)
    raise Unavailable(f"{_Id(scope, folder)} kept changing under us; try again")


def describe_all(
    root: int, scope: ScopeHex, wanted: Sequence[FolderHex], usage_of: UsageOf
) -> list[FolderState]:
    """Read folders, and each of their former lives in the trash; what vanishes is left out."""
    states = []
    for folder in wanted:
        place = places.look(root, scope, folder)
        if place.owner is None:
            continue
        shown: list[AsideName | None] = [*place.asides]
        at = _Id(scope, folder)
        if place.live or not shown or _noted(root, at, place) is not None:
            shown.append(None)
        for aside in shown:
            with suppress(FileNotFoundError):
                states.append(_state(root, at, place, aside, usage_of))
    return states


def _noted(root: int, at: _Id, place: FolderPlace) -> Note | None:
    """What is noted of the clone that is being filled there."""
    if place.live or not place.unfinished or place.owner is None:
        return None
    with suppress(NotOurs):  # damaged: whoever goes on with it is told, and others are listed
        return clone_notes.read(root, at.scope, at.folder)
    return None


def _shown(place: FolderPlace, note: Note | None) -> AsideName | None:
    if place.live or note is not None or not place.asides:
        return None
    return place.trashed or place.asides[-1]


def _state(
    root: int, at: _Id, place: FolderPlace, aside: AsideName | None, usage_of: UsageOf
) -> FolderState:
    path = places.path_of(at.scope, at.folder, aside)
    if aside is None and not place.live:
        note = _noted(root, at, place)
        if note is not None:
            return _filling(at, place.owner, clones.progress_of(note))
        return FolderState(at.scope, at.folder, place.owner, FolderPhase.MISSING, path)
    phase, since, expires = FolderPhase.LIVE, None, None
    if aside is not None:
        since = float(aside.since)
        phase = FolderPhase.PURGING
        if aside.why is Aside.TRASH:
            phase = FolderPhase.TRASHED
            expires = None if place.keep is None else since + place.keep
    with directory(root, path) as folder:
        attributes, usage = places.read_attributes(folder), usage_of(folder)
    return FolderState(
        at.scope, at.folder, place.owner, phase, path, attributes, usage, since, expires
    )


def find(root: int, owner: Owner) -> tuple[ScopeHex, FolderHex] | None:
    """Return the folder that the index names for `owner`, if it is live and marked for it."""
    named = _recall(root, owner)
    if named is None:
        return None
    place = places.look(root, named.scope, named.folder)
    return (named.scope, named.folder) if place.live and place.owner == owner else None


def find_trashed(root: int, owner: Owner, usage_of: UsageOf) -> FolderState | None:
    """Return the folder that the index names for `owner`, if it is in the trash, marked for it."""
    named = _recall(root, owner)
    if named is None:
        return None
    place = places.look(root, named.scope, named.folder)
    if place.live or place.trashed is None or place.owner != owner:
        return None
    try:
        return _state(root, named, place, place.trashed, usage_of)
    except FileNotFoundError:
        return None  # restored or purged in this moment


def _recall(root: int, owner: Owner) -> _Id | None:
    scope, _, folder = (names.recall(root, Kind.FOLDERS, owner) or "").partition("/")
    try:
        return _Id(ScopeHex(scope), FolderHex(folder))
    except ValueError:
        return None


def with_trash(root: int, scope: ScopeHex, usage: Usage, usage_of: UsageOf) -> Usage:
    """Return a scope's usage with the bytes in its trash, where the storage counts per folder."""
    if usage_of(root) is None:
        return usage
    total = 0
    for folder, aside in places.asides_in(root, scope):
        with (
            suppress(FileNotFoundError),
            directory(root, places.path_of(scope, folder, aside)) as trashed,
        ):
            found = usage_of(trashed)
            total += (found and found.bytes) or 0
    return replace(usage, trash_bytes=total)

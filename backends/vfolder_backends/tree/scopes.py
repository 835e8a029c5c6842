"""What the tree holds of a scope: its container's place, its mark, the intent to make it.

The container itself is made and removed by the storage's driver (a directory, a fileset, a quota
tree). Around that the steps are: index entry, intent, container, limits, mark, intent gone. After a
lost answer or a crash an unmarked container is ours only if the intent is ours and it is empty.
"""

import errno
import os
import stat
from contextlib import suppress
from dataclasses import dataclass

from vfolder_backends.errors import DataMissing, NotEmpty, NotFound, NotOurs, PathConflict
from vfolder_backends.ids import ScopeHex
from vfolder_backends.layout import (
    CONTROL_DIR,
    INTENT_MARK,
    MARKS_DIR,
    SCOPE_MARK,
    Aside,
    AsideName,
    is_new_name,
    is_prefix,
)
from vfolder_backends.openat import directory
from vfolder_backends.port import Owner, ScopeRequest
from vfolder_backends.tree import clone_notes, files, marks, names
from vfolder_backends.tree.names import Kind


@dataclass(frozen=True, slots=True)
class ScopePlace:
    """What lies at a scope's place: the owner in its mark, the intent, whether it is there."""

    owner: Owner | None
    intent: Owner | None
    present: bool


def look(root: int, scope: ScopeHex) -> ScopePlace:
    """Look at a scope's place.

    Raises:
        PathConflict: the container is not a directory.
        NotOurs: a mark is damaged.
    """
    # The container first: it is made before its mark, so a mark that belongs to it is seen.
    present = _is_directory(root, scope)
    owner = marks.read(root, scope, SCOPE_MARK)
    return ScopePlace(owner, marks.read(root, scope, INTENT_MARK), present)


def _is_directory(root: int, scope: ScopeHex) -> bool:
    try:
        mode = os.stat(scope.value, dir_fd=root, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return False
    if not stat.S_ISDIR(mode):
        raise PathConflict(f"{scope}: a link or a file lies where the scope belongs")
    return True


def check(place: ScopePlace, request: ScopeRequest) -> None:
    """Raise unless the scope may be made, finished or taken as `request` says.

    Raises:
        NotOurs: it is somebody else's.
        DataMissing: its mark is there, the container is not, and nobody asked for an empty one.
    """
    what = f"scope {request.scope}"
    if place.owner is not None or place.intent is not None:
        holder = place.owner or place.intent
        marks.check_taking(what, holder, request.owner, request.adoption)
    elif place.present:
        marks.check_taking(what, None, request.owner, request.adoption)
    if request.must_exist and not (place.owner or place.present or request.recreate):
        raise DataMissing(f"scope {request.scope} is gone, mark and all")
    # An intent beside a mark tells that an empty one was asked for, and the making was cut short.
    begun = request.recreate or place.intent == request.owner
    if place.owner is not None and not place.present and not begun:
        raise DataMissing(
            f"scope {request.scope} was made for {place.owner} and is gone;"
            " bring it back, or ask for an empty one"
        )


def is_free(root: int, scope: ScopeHex) -> bool:
    """Whether the container is there and holds nothing."""
    with directory(root, scope.value) as container, os.scandir(container) as entries:
        return next(entries, None) is None


def begin(root: int, request: ScopeRequest) -> ScopePlace:
    """Write index entry and intent; return what lies at the place afterwards."""
    names.remember(root, Kind.SCOPES, request.owner, request.scope.value)
    intent = marks.read(root, request.scope, INTENT_MARK)
    if intent is None:
        with suppress(FileExistsError):
            marks.claim(root, request.scope, INTENT_MARK, request.owner)
    elif intent != request.owner:  # `check` allowed it
        marks.take_over(root, request.scope, INTENT_MARK, request.owner)
    return look(root, request.scope)


def commit(root: int, request: ScopeRequest, holder: Owner | None) -> bool:
    """Write the mark over that of `holder`, and drop the intent.

    Returns:
        False if somebody else's mark came first.
    """
    scope, owner = request.scope, request.owner
    names.remember(root, Kind.SCOPES, owner, scope.value)
    if holder is None:
        with suppress(FileExistsError):
            marks.claim(root, scope, SCOPE_MARK, owner)
    elif holder != owner:
        marks.take_over(root, scope, SCOPE_MARK, owner)
        names.forget(root, Kind.SCOPES, holder, scope.value)
    if marks.read(root, scope, SCOPE_MARK) != owner:
        return False
    drop_intent(root, scope)
    return True


def drop_intent(root: int, scope: ScopeHex) -> None:
    """Remove the intent; absent is success."""
    marks.remove(root, scope, INTENT_MARK)


def require_present(root: int, scope: ScopeHex) -> ScopePlace:
    """Return the place of a scope that is there, whoever owns it.

    Raises:
        NotFound: there is neither a container nor a mark.
        DataMissing: the mark is there, the container is not.
    """
    place = look(root, scope)
    if place.present:
        return place
    if place.owner is None:
        raise NotFound(f"scope {scope} does not exist")
    raise DataMissing(f"scope {scope} was made for {place.owner} and is gone")


def require(root: int, scope: ScopeHex, owner: Owner) -> ScopePlace:
    """Return the place of a scope that is there and marked for `owner`.

    Raises:
        NotOurs: it is marked for somebody else, or not at all.
        NotFound, DataMissing: it is not there.
    """
    place = require_present(root, scope)
    marks.check_taking(f"scope {scope}", place.owner, owner, None)
    return place


def clear(root: int, scope: ScopeHex) -> None:
    """Remove the empty directories that we made inside a scope, and nothing else.

    Raises:
        NotEmpty: a folder, its trash, or anything that is not ours lies inside.
    """
    try:
        with directory(root, scope.value) as container:
            _clear_level(container, scope.value, depth=2)
    except FileNotFoundError:
        return


def _clear_level(parent: int, path: str, depth: int) -> None:
    for name in os.listdir(parent):
        below = f"{path}/{name}"
        empty = is_prefix(name) if depth else _leftover(name)
        try:
            if empty and depth:
                with directory(parent, name) as child:
                    _clear_level(child, below, depth - 1)
            empty = empty and files.remove_if_empty(parent, name)
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            empty = False  # a link or a file under a name of ours
        if not empty:
            raise NotEmpty(f"the scope is not empty: {below} lies there")


def _leftover(name: str) -> bool:
    """Whether a crash may leave an empty directory of that name, which holds nobody's data."""
    aside = AsideName.parse(name)
    return is_new_name(name) or (aside is not None and aside.why is Aside.PURGE)


def check_deletion(place: ScopePlace, scope: ScopeHex, owner: Owner) -> bool:
    """Return whether there is something of `owner` to delete.

    Raises:
        NotOurs: what lies there is somebody else's, or nobody's.
    """
    holder = place.owner or place.intent
    if holder is None and not place.present:
        return False
    marks.check_taking(f"scope {scope}", holder, owner, None)
    return True


def forget(root: int, scope: ScopeHex, owner: Owner) -> None:
    """Remove marks and index entries of a scope whose container is gone, its own mark last."""
    for folder in marks.folders(root, scope):
        holder = marks.read(root, scope, folder.value)
        if holder is not None:
            names.forget(root, Kind.FOLDERS, holder, f"{scope}/{folder}")
        marks.remove(root, scope, folder.value)
    clone_notes.forget_all(root, scope)
    drop_intent(root, scope)
    marks.remove(root, scope, SCOPE_MARK)
    tidy(root, scope, owner)


def tidy(root: int, scope: ScopeHex, owner: Owner) -> None:
    """Remove what is left of a scope that has neither mark nor container."""
    names.forget(root, Kind.SCOPES, owner, scope.value)
    marks.remove_directory(root, scope)


def find(root: int, owner: Owner) -> ScopeHex | None:
    """Return the scope that the index names for `owner`, if it is there and marked for it."""
    try:
        scope = ScopeHex(names.recall(root, Kind.SCOPES, owner) or "")
    except ValueError:
        return None
    place = look(root, scope)
    return scope if place.present and place.owner == owner else None


def listing(root: int) -> list[tuple[ScopeHex, Owner | None]]:
    """Return every scope that is there and whom it belongs to; None without a readable mark.

    An automounter shows only what is in use, so what is marked is looked for by its name, too.
    """
    with os.scandir(root) as entries:
        shown = {entry.name for entry in entries if entry.is_dir(follow_symlinks=False)}
    found: list[tuple[ScopeHex, Owner | None]] = []
    for name in sorted(shown | set(files.list_names(root, f"{CONTROL_DIR}/{MARKS_DIR}"))):
        try:
            scope = ScopeHex(name)
        except ValueError:
            continue
        try:
            if name in shown or _is_directory(root, scope):
                found.append((scope, marks.read(root, scope, SCOPE_MARK)))
        except PathConflict:
            continue
        except NotOurs:  # damaged: to be reported without an owner, and guarded by every change
            found.append((scope, None))
    return found

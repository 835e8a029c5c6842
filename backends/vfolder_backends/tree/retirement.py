"""Scopes that are to be removed once their trash is gone, and whose object is gone already.

What says so lies on the disk: `.vfolder/retired/<scope>`. Whoever has the scope again removes that
file, whoever removes the scope renames it first; both are atomic, and only one of them can succeed.
A scope that is made again or adopted is therefore never removed by a late look at the former one.

From that rename on there is no way back but one: a scope that turns out not to be empty is retired
as before. Its marks are moved aside before anything is removed, so that nobody counts on them, and
so that one who is late with the removal cannot take the marks of a scope that was made meanwhile.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from vfolder_backends.ids import ScopeHex
from vfolder_backends.layout import CONTROL_DIR, MARKS_DIR, RETIRED_DIR
from vfolder_backends.openat import directory, rename_noreplace
from vfolder_backends.port import Owner
from vfolder_backends.tree import clone_notes, files, marks, names
from vfolder_backends.tree.names import Kind

_DIRECTORY: Final = f"{CONTROL_DIR}/{RETIRED_DIR}"
_MARKS: Final = f"{CONTROL_DIR}/{MARKS_DIR}"
_DOOMED: Final = ".doomed"


@dataclass(frozen=True, slots=True)
class Retirement:
    """Whose the scope was, and whether its removal has begun."""

    owner: Owner
    doomed: bool


def read(root: int, scope: ScopeHex) -> Retirement | None:
    """Return whether a scope is retired.

    Raises:
        NotOurs: what says so is damaged.
    """
    plain, doomed_name = scope.value, f"{scope}{_DOOMED}"
    # It may be renamed while we look, to and fro: in this order it is seen at one of its names.
    for name, doomed in ((plain, False), (doomed_name, True), (plain, False)):
        path = f"{_DIRECTORY}/{name}"
        data = files.read_small(root, path)
        if data is not None:
            return Retirement(marks.parse(data, path).owner, doomed)
    return None


def listing(root: int) -> dict[ScopeHex, Owner]:
    """Return all retired scopes, those whose removal has begun among them."""
    found = {}
    for name in files.list_names(root, _DIRECTORY):
        try:
            scope = ScopeHex(name.removesuffix(_DOOMED))
        except ValueError:
            continue
        retired = read(root, scope)
        if retired is not None:
            found[scope] = retired.owner
    return found


def retire(root: int, scope: ScopeHex, owner: Owner) -> None:
    """Note that a scope shall go; noted before is success."""
    if read(root, scope) is not None:
        return
    with files.made_directory(root, _DIRECTORY) as folder, suppress(FileExistsError):
        files.create(root, folder, scope.value, marks.content(owner))


def revoke(root: int, scope: ScopeHex) -> bool:
    """Take the note back; False if it is gone, or the removal has begun."""
    try:
        with directory(root, _DIRECTORY) as folder:
            os.unlink(scope.value, dir_fd=folder)
    except FileNotFoundError:
        return False
    return True


def doom(root: int, scope: ScopeHex) -> bool:
    """Begin the removal, or go on with it; False if somebody took the note back."""
    name = scope.value
    try:
        with directory(root, _DIRECTORY) as folder:
            os.rename(name, f"{name}{_DOOMED}", src_dir_fd=folder, dst_dir_fd=folder)
    except FileNotFoundError:
        if not _is_doomed(root, scope):
            return False
    _move_marks(root, name, f"{name}{_DOOMED}")
    if _is_doomed(root, scope):
        return True
    # Another one finished the removal meanwhile, and these are the marks of a new scope.
    _move_marks(root, f"{name}{_DOOMED}", name)
    return False


def _is_doomed(root: int, scope: ScopeHex) -> bool:
    found = read(root, scope)
    return found is not None and found.doomed


def relent(root: int, scope: ScopeHex) -> None:
    """Go back to before the removal began; nothing of value was removed yet."""
    aside = f"{scope}{_DOOMED}"
    _move_marks(root, aside, scope.value)
    with suppress(FileNotFoundError, FileExistsError), directory(root, _DIRECTORY) as folder:
        rename_noreplace(folder, aside, scope.value)


def finish(root: int, scope: ScopeHex, owner: Owner) -> None:
    """Drop marks, index entries and note of a scope whose container is gone, the note last."""
    aside = f"{scope}{_DOOMED}"
    with suppress(FileNotFoundError), directory(root, f"{_MARKS}/{aside}") as doomed:
        for name in os.listdir(doomed):
            path = f"{_MARKS}/{aside}/{name}"
            data = files.read_small(root, path)
            if data is not None:
                holder = marks.parse(data, path).owner
                names.forget(root, Kind.FOLDERS, holder, f"{scope}/{name}")
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=doomed)
    _drop_marks(root, aside)
    clone_notes.forget_all(root, scope)
    names.forget(root, Kind.SCOPES, owner, scope.value)
    with suppress(FileNotFoundError), directory(root, _DIRECTORY) as folder:
        os.unlink(aside, dir_fd=folder)


def _move_marks(root: int, source: str, target: str) -> None:
    """Rename a directory of marks; where the new name is taken, add those that are not there."""
    with directory(root, _MARKS) as all_marks:
        try:
            rename_noreplace(all_marks, source, target)
        except FileNotFoundError:
            return
        except FileExistsError:
            with directory(all_marks, source) as old, directory(all_marks, target) as new:
                for name in os.listdir(old):
                    with suppress(FileNotFoundError, FileExistsError):
                        os.link(name, name, src_dir_fd=old, dst_dir_fd=new, follow_symlinks=False)
                    with suppress(FileNotFoundError):
                        os.unlink(name, dir_fd=old)
            files.remove_if_empty(all_marks, source)


def _drop_marks(root: int, aside: str) -> None:
    with suppress(FileNotFoundError), directory(root, _MARKS) as all_marks:
        files.remove_if_empty(all_marks, aside)

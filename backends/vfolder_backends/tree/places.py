"""What lies at a folder's place, and small steps on it."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

from vfolder_backends.errors import PathConflict
from vfolder_backends.ids import FolderHex, ScopeHex
from vfolder_backends.layout import (
    Aside,
    AsideName,
    folder_path,
    is_prefix,
    leaf_name,
    new_name,
    prefix_parts,
)
from vfolder_backends.openat import directory
from vfolder_backends.port import FolderAttributes, Owner
from vfolder_backends.tree import files, marks, names
from vfolder_backends.tree.marks import Mark
from vfolder_backends.tree.names import Kind

CONTAINER_MODE: Final = 0o711  # passed through, never listed, by those who mount a folder


@dataclass(frozen=True, slots=True)
class FolderPlace:
    """What lies at a folder's place.

    Attributes:
        owner: whom the owner mark names.
        live: the folder itself is there.
        unfinished: a directory that a creation has not renamed yet is there.
        asides: what lies in the trash, or is being purged, oldest first.
        keep: for how many seconds trash can come back, as the mark says.
    """

    owner: Owner | None
    live: bool
    unfinished: bool
    asides: tuple[AsideName, ...]
    keep: float | None = None

    @property
    def trashed(self) -> AsideName | None:
        """The newest one in the trash that can come back."""
        return next((a for a in reversed(self.asides) if a.why is Aside.TRASH), None)


def prefix_path(scope: ScopeHex, folder: FolderHex) -> str:
    """The directory a folder lies in, relative to the root."""
    return "/".join((scope.value, *prefix_parts(folder)))


def target(scope: ScopeHex, folder: FolderHex) -> str:
    """What the index of names holds for a folder."""
    return f"{scope}/{folder}"


def look(root: int, scope: ScopeHex, folder: FolderHex) -> FolderPlace:
    """Look at a folder's place.

    Raises:
        PathConflict: a link or a file lies where the folder, or a level above it, belongs.
        NotOurs: the mark is damaged.
    """
    # The directories first: a folder appears after its mark, so its mark is seen with it.
    live = unfinished = False
    asides: tuple[AsideName, ...] = ()
    with suppress(FileNotFoundError), directory(root, prefix_path(scope, folder)) as prefix:
        leaf = leaf_name(folder)
        unfinished = _is_directory(prefix, new_name(folder), scope, folder)
        live = _is_directory(prefix, leaf, scope, folder)
        asides = _asides(prefix, leaf)
    mark = marks.read_mark(root, scope, folder.value)
    if mark is None:
        return FolderPlace(None, live, unfinished, asides)
    return FolderPlace(mark.owner, live, unfinished, asides, mark.keep)


def _is_directory(prefix: int, name: str, scope: ScopeHex, folder: FolderHex) -> bool:
    try:
        mode = os.stat(name, dir_fd=prefix, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return False
    if not stat.S_ISDIR(mode):
        path = f"{prefix_path(scope, folder)}/{name}"
        raise PathConflict(f"{path}: a link or a file lies where the folder belongs")
    return True


def _asides(prefix: int, leaf: str) -> tuple[AsideName, ...]:
    parsed = (AsideName.parse(name) for name in os.listdir(prefix))
    return tuple(sorted((a for a in parsed if a and a.leaf == leaf), key=lambda a: a.since))


def apply_attributes(folder: int, wanted: FolderAttributes) -> None:
    """Set owner, group and mode of the open directory where they differ from what is wanted."""
    found = os.fstat(folder)
    uid = found.st_uid if wanted.uid is None else wanted.uid
    gid = found.st_gid if wanted.gid is None else wanted.gid
    if (uid, gid) != (found.st_uid, found.st_gid):
        os.fchown(folder, uid, gid)
        found = os.fstat(folder)  # a change of owner may clear bits of the mode
    if wanted.mode is not None and stat.S_IMODE(found.st_mode) != wanted.mode:
        os.fchmod(folder, wanted.mode)


def read_attributes(folder: int) -> FolderAttributes:
    """Return owner, group and mode of the open directory."""
    found = os.fstat(folder)
    return FolderAttributes(found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode))


@contextmanager
def opened(root: int, scope: ScopeHex, folder: FolderHex, name: str) -> Iterator[int]:
    """Open the directory `name` beside a folder for the length of a `with` block."""
    with directory(root, f"{prefix_path(scope, folder)}/{name}") as fd:
        yield fd


def path_of(scope: ScopeHex, folder: FolderHex, aside: AsideName | None) -> str:
    """The path of a folder, or of what became of it, relative to the root."""
    if aside is None:
        return folder_path(scope, folder)
    return f"{prefix_path(scope, folder)}/{aside}"


def move_aside(
    root: int, scope: ScopeHex, folder: FolderHex, source: str, aside: AsideName
) -> AsideName:
    """Rename a directory aside, in its own parent: no new inode, so it works in a full scope.

    Returns:
        The name it got: the time moves on by a second where that name is taken.
    """
    with directory(root, prefix_path(scope, folder)) as prefix:
        while True:
            try:
                os.rename(source, str(aside), src_dir_fd=prefix, dst_dir_fd=prefix)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                aside = AsideName(aside.why, aside.leaf, aside.since + 1)
            else:
                return aside


def remove_prefix(root: int, scope: ScopeHex, folder: FolderHex) -> None:
    """Remove the two levels above a folder as far as they are empty."""
    first, second = prefix_parts(folder)
    for above, name in ((f"{scope}/{first}", second), (scope.value, first)):
        try:
            with directory(root, above) as parent:
                if not files.remove_if_empty(parent, name):
                    return
        except FileNotFoundError:
            continue


def retire(
    root: int, scope: ScopeHex, folder: FolderHex, mark: Mark, last: AsideName | None = None
) -> bool:
    """Remove the mark and the index entry of a folder of which nothing but `last` remains.

    Returns:
        False if something else of it is there, or appears meanwhile: then the mark stays.
    """
    names.forget(root, Kind.FOLDERS, mark.owner, target(scope, folder))
    marks.remove(root, scope, folder.value)
    place = look(root, scope, folder)
    # `folders.ensure` looks for its mark after its rename, and we for directories after our
    # removal: at least one of the two sees the other, so no directory stays without a mark.
    if place.live or place.unfinished or any(aside != last for aside in place.asides):
        remark(root, scope, folder, mark)
        return False
    return True


def remark(root: int, scope: ScopeHex, folder: FolderHex, mark: Mark) -> None:
    """Write back mark and index entry that were removed too early."""
    with suppress(FileExistsError):
        marks.claim(root, scope, folder.value, mark.owner, mark.keep)
    names.remember(root, Kind.FOLDERS, mark.owner, target(scope, folder))


def asides_in(root: int, scope: ScopeHex) -> list[tuple[FolderHex, AsideName]]:
    """Return all that lies in the trash of a scope, or is being purged, oldest first."""
    found = []
    for first in _prefixes(root, scope.value):
        for second in _prefixes(root, f"{scope}/{first}"):
            for name in files.list_names(root, f"{scope}/{first}/{second}"):
                aside = AsideName.parse(name)
                if aside is not None:
                    found.append((FolderHex(first + second + aside.leaf), aside))
    return sorted(found, key=lambda item: item[1].since)


def _prefixes(root: int, path: str) -> list[str]:
    try:
        with directory(root, path) as fd, os.scandir(fd) as entries:
            return [
                e.name for e in entries if is_prefix(e.name) and e.is_dir(follow_symlinks=False)
            ]
    except FileNotFoundError:
        return []

"""The steps of a migration that change the disk: make a directory, move a folder, tidy up.

Each may be killed and done again. Renames replace nothing and stay on one mount; what was renamed
is on disk before a step returns.
"""

import errno
import os
import stat
from collections.abc import Generator, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from vfolder_backends.adoption.failures import Refused
from vfolder_backends.adoption.found import Tally
from vfolder_backends.adoption.walk import walk
from vfolder_backends.errors import PathConflict
from vfolder_backends.ids import FolderHex, ScopeHex
from vfolder_backends.layout import folder_path, leaf_name, prefix_parts
from vfolder_backends.openat import open_beneath, rename_noreplace
from vfolder_backends.tree import files


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory above folders: where it is, and what it looks like."""

    path: str
    uid: int
    gid: int
    mode: int

    def dump(self) -> dict[str, Any]:
        """For the journal."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Move:
    """One folder on its way.

    Attributes:
        source: its path in layout 2.
        target: its path in layout 3.
        above: the directories above the source, which the way back needs.
        made: those above the target that have to be made, outermost first.
    """

    source: str
    target: str
    above: tuple[Directory, ...]
    made: tuple[Directory, ...]

    def dump(self) -> dict[str, Any]:
        """For the journal."""
        above, made = ([d.dump() for d in part] for part in (self.above, self.made))
        return {"source": self.source, "target": self.target, "above": above, "made": made}

    @classmethod
    def load(cls, record: dict[str, Any]) -> "Move":
        """From the journal."""
        above, made = (tuple(Directory(**d) for d in record[key]) for key in ("above", "made"))
        return cls(record["source"], record["target"], above, made)


def old_path(folder: FolderHex) -> str:
    """Where a folder is in layout 2."""
    return "/".join((*prefix_parts(folder), leaf_name(folder)))


def open_directory(root: int, path: str) -> int:
    """Open a directory below the root, on the root's own mount."""
    return open_beneath(root, path, os.O_RDONLY | os.O_DIRECTORY, same_mount=True)


def look(root: int, path: str) -> Directory | None:
    """Return what a directory looks like, None if it is not there."""
    try:
        fd = open_directory(root, path)
    except FileNotFoundError:
        return None
    try:
        found = os.fstat(fd)
    finally:
        os.close(fd)
    return Directory(path, found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode))


def plan(root: int, folder: FolderHex, scope: ScopeHex) -> Move:
    """Look at both ends of a move; new directories will look like those above the source."""
    source, target = old_path(folder), folder_path(scope, folder)
    first, second = prefix_parts(folder)
    above = []
    for path in (first, f"{first}/{second}"):
        found = look(root, path)
        if found is None:
            raise Refused(f"{source} is not there any more")
        above.append(found)
    wanted = (
        (scope.value, above[0]),
        (f"{scope}/{first}", above[0]),
        (f"{scope}/{first}/{second}", above[1]),
    )
    made = [
        Directory(path, like.uid, like.gid, like.mode)
        for path, like in wanted
        if look(root, path) is None
    ]
    return Move(source, target, tuple(above), tuple(made))


def fingerprint(root: int, path: str) -> Generator[int, None, Tally]:
    """Walk a folder and return its sums and digest; yields how many entries were looked at."""
    tally = Tally()
    fd = open_directory(root, path)
    try:
        yield from walk(fd, tally, digest=True)
    finally:
        os.close(fd)
    if tally.mounts:
        raise Refused(f"{path}: {tally.mounts} file systems are mounted inside; unmount them first")
    if tally.unreadable:
        raise Refused(f"{path}: {tally.unreadable} directories inside cannot be read")
    return tally


def carry(root: int, source: str, target: str, made: Iterable[Directory]) -> None:
    """Make the directories above the target and rename the folder there.

    Raises:
        Refused: it is at both ends, or at neither.
    """
    here, there = look(root, source), look(root, target)
    if here is None and there is None:
        raise Refused(f"neither {source} nor {target} is there; nothing was done")
    if here is not None and there is not None:
        raise Refused(f"both {source} and {target} are there; nothing was done")
    if here is None:
        return
    for wanted in made:
        _make(root, wanted)
    parents = [path.rpartition("/") for path in (source, target)]
    before = open_directory(root, parents[0][0])
    try:
        after = open_directory(root, parents[1][0])
        try:
            _rename(before, parents[0][2], after, parents[1][2], target)
            os.fsync(after)
            os.fsync(before)
        finally:
            os.close(after)
    finally:
        os.close(before)


def _rename(before: int, name: str, after: int, new_name: str, target: str) -> None:
    try:
        rename_noreplace(before, name, new_name, after)
    except FileExistsError as error:
        raise Refused(f"{target} appeared meanwhile; nothing was replaced") from error
    except OSError as error:
        if error.errno == errno.EXDEV:
            raise PathConflict(
                f"{target}: the scope is under a project quota already, so nothing can be renamed"
                " into it (EXDEV); copy this folder, or take the quota off the scope"
            ) from error
        raise


def _make(root: int, wanted: Directory) -> None:
    above, _, name = wanted.path.rpartition("/")
    parent = open_directory(root, above) if above else os.dup(root)
    try:
        fd = files.make_directory(parent, name, 0o700)
        try:
            found = os.fstat(fd)
            if (found.st_uid, found.st_gid) != (wanted.uid, wanted.gid):
                os.fchown(fd, wanted.uid, wanted.gid)
            if stat.S_IMODE(os.fstat(fd).st_mode) != wanted.mode:
                os.fchmod(fd, wanted.mode)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.fsync(parent)
    finally:
        os.close(parent)


def remove_empty(root: int, path: str) -> bool:
    """Remove one directory if nothing is in it; whether it is gone."""
    above, _, name = path.rpartition("/")
    try:
        parent = open_directory(root, above) if above else os.dup(root)
    except FileNotFoundError:
        return True
    try:
        return files.remove_if_empty(parent, name)
    finally:
        os.close(parent)

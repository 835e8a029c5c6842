"""Reads what lies below a root: layouts 2 and 3, our marks, vendors' id files, foreign names.

Two levels of directories at a time, never further than a folder's own directory unless sizes are
asked for; nothing is written, so a read-only mount will do.
"""

import errno
import os
import re
import stat
from collections.abc import Iterator, Set
from typing import Final

from vfolder_backends.adoption.found import (
    FoundFolder,
    FoundScope,
    FoundVersion,
    Item,
    Odd,
    Oddity,
    ScopeEnd,
    Tally,
    Tick,
)
from vfolder_backends.adoption.walk import walk
from vfolder_backends.errors import NotOurs
from vfolder_backends.ids import FolderHex, ScopeHex
from vfolder_backends.layout import (
    CONTROL_DIR,
    SCOPE_MARK,
    Aside,
    AsideName,
    folder_from_parts,
    is_new_name,
    is_prefix,
)
from vfolder_backends.openat import open_beneath
from vfolder_backends.port import FolderPhase, Owner
from vfolder_backends.tree import files, marks

VERSION_FILE: Final = "version.txt"
KNOWN_VERSIONS: Final = ("2", "3")
VENDOR_ID_FILES: Final = (".quota_id", ".vast-quota-id", "project_id")
"""In a scope's directory: ids of OneFS, VAST and EXAScaler, written by a storage proxy."""

_ORDINARY: Final = frozenset({"lost+found", ".snapshot", ".snapshots", ".snap", ".zfs"})
_ID_TEXT: Final = re.compile(r"[\x20-\x7e]{1,200}")
_PHASES: Final = {Aside.TRASH: FolderPhase.TRASHED, Aside.PURGE: FolderPhase.PURGING}


class Scan:
    """One look over a root.

    Args:
        root: its open descriptor.
        sizes: whether to walk into the folders.
        only: the scopes to look at; all of them, and layout 2, when empty.
    """

    def __init__(self, root: int, *, sizes: bool, only: Set[ScopeHex] = frozenset()) -> None:
        self._root = root
        self._sizes = sizes
        self._only = only

    def items(self) -> Iterator[Item]:
        """Yield all that is found, in the order of the names, each scope before its folders."""
        for name in sorted(os.listdir(self._root)):
            yield Tick()
            if name == CONTROL_DIR:
                continue
            if name == VERSION_FILE:
                yield self._version()
            elif is_prefix(name):
                if not self._only:
                    yield from self._prefix(self._root, name, name, None, "")
            else:
                yield from self._other(name)
        yield from self._missing_scopes()

    def _version(self) -> Item:
        try:
            text = (files.read_small(self._root, VERSION_FILE) or b"").decode("utf-8", "replace")
        except OSError as error:
            return Oddity(Odd.VERSION, VERSION_FILE, f"cannot be read: {error.strerror}")
        if text.strip() not in KNOWN_VERSIONS:
            message = f"{text.strip()[:40]!r} is not a layout that is known: 2 or 3"
            return Oddity(Odd.VERSION, VERSION_FILE, message)
        return FoundVersion(text.strip())

    def _other(self, name: str) -> Iterator[Item]:
        try:
            scope = ScopeHex(name)
        except ValueError:
            if name not in _ORDINARY:
                yield Oddity(Odd.FOREIGN, name, "neither a scope nor a folder; left alone")
            return
        if self._only and scope not in self._only:
            return
        fd = self._enter(self._root, name, name, 3)
        if isinstance(fd, Oddity):
            yield fd
            return
        if fd is not None:
            try:
                yield from self._scope(fd, scope)
            finally:
                os.close(fd)

    def _scope(self, fd: int, scope: ScopeHex) -> Iterator[Item]:
        owner = self._mark(scope, SCOPE_MARK)
        if isinstance(owner, Oddity):
            yield owner
            owner = None
        found, names = os.fstat(fd), sorted(os.listdir(fd))
        vendor_ids = {name: _vendor_id(fd, name) for name in names if name in VENDOR_ID_FILES}
        mode = stat.S_IMODE(found.st_mode)
        yield FoundScope(scope, owner, found.st_uid, found.st_gid, mode, vendor_ids)
        total = Tally() if self._sizes else None
        folders = trashed = 0
        seen: set[FolderHex] = set()
        for name in names:
            path = f"{scope}/{name}"
            if name in VENDOR_ID_FILES:
                continue
            if not is_prefix(name):
                yield Oddity(Odd.UNKNOWN, path, "no name that a folder's first level has", 3)
                continue
            for item in self._prefix(fd, name, path, scope, ""):
                if isinstance(item, FoundFolder):
                    folders += item.phase is FolderPhase.LIVE
                    trashed += item.phase is not FolderPhase.LIVE
                    seen.add(item.folder)
                    if total is not None and item.tally is not None:
                        total.add(item.tally)
                yield item
        for folder in marks.folders(self._root, scope):
            if folder not in seen:
                message = f"folder {folder.uuid} has a mark and is not there"
                yield Oddity(Odd.MISSING, f"{scope}/{folder}", message, 3)
        yield ScopeEnd(scope, folders, trashed, total)

    def _prefix(
        self, parent: int, name: str, path: str, scope: ScopeHex | None, first: str
    ) -> Iterator[Item]:
        """Look into one of the two levels above a folder; `first` is the level above this one."""
        layout = 2 if scope is None else 3
        fd = self._enter(parent, name, path, layout)
        if isinstance(fd, Oddity):
            yield fd
            return
        if fd is None:
            return
        try:
            for child in sorted(os.listdir(fd)):
                below = f"{path}/{child}"
                if first:
                    yield from self._leaf(fd, child, below, scope, first + name)
                elif is_prefix(child):
                    yield from self._prefix(fd, child, below, scope, name)
                else:
                    yield Oddity(Odd.UNKNOWN, below, "no name that a second level has", layout)
                yield Tick()
        finally:
            os.close(fd)

    def _leaf(
        self, parent: int, name: str, path: str, scope: ScopeHex | None, prefix: str
    ) -> Iterator[Item]:
        layout = 2 if scope is None else 3
        aside = AsideName.parse(name) if scope is not None else None
        leaf = aside.leaf if aside else name
        folder = folder_from_parts(prefix[:2], prefix[2:], leaf)
        if folder is None:
            if scope is None or not is_new_name(name):  # the latter holds nothing yet
                yield Oddity(Odd.UNKNOWN, path, "no name that a folder has", layout)
            return
        fd = self._enter(parent, name, path, layout)
        if isinstance(fd, Oddity):
            yield fd
            return
        if fd is None:
            return
        try:
            owner = None if scope is None else self._mark(scope, folder.value)
            if isinstance(owner, Oddity):
                yield owner
                owner = None
            tally = None
            if self._sizes:
                tally = Tally()
                for entries in walk(fd, tally):
                    yield Tick(entries)
            found = os.fstat(fd)
            yield FoundFolder(
                scope,
                folder,
                path,
                _PHASES[aside.why] if aside else FolderPhase.LIVE,
                owner,
                found.st_uid,
                found.st_gid,
                stat.S_IMODE(found.st_mode),
                tally,
                aside.since if aside else None,
            )
        finally:
            os.close(fd)

    def _mark(self, scope: ScopeHex, name: str) -> Owner | Oddity | None:
        try:
            return marks.read(self._root, scope, name)
        except NotOurs as error:
            return Oddity(Odd.DAMAGED, f"{scope}/{name}", str(error), 3)

    def _missing_scopes(self) -> Iterator[Item]:
        for scope in marks.scopes(self._root):
            if self._only and scope not in self._only:
                continue
            try:
                os.stat(scope.value, dir_fd=self._root, follow_symlinks=False)
            except FileNotFoundError:
                message = f"scope {scope.uuid} has marks and is not there"
                yield Oddity(Odd.MISSING, scope.value, message, 3)

    def _enter(self, parent: int, name: str, path: str, layout: int) -> int | Oddity | None:
        """Open a directory; what else lies there is told, and what vanished is None."""
        try:
            return open_beneath(parent, name, os.O_RDONLY | os.O_DIRECTORY, same_mount=True)
        except FileNotFoundError:
            return None
        except OSError as error:
            told = _ODD.get(error.errno or 0)
            if told is None:
                raise
        odd, message = told
        if odd is Odd.FILE and _is_link(parent, name):
            odd, message = _ODD[errno.ELOOP]
        return Oddity(odd, path, message, layout)


_ODD: Final = {
    errno.ELOOP: (Odd.LINK, "a link lies where a directory belongs"),
    errno.ENOTDIR: (Odd.FILE, "a file lies where a directory belongs"),
    errno.EXDEV: (Odd.MOUNT, "another file system is mounted here"),
    errno.EACCES: (Odd.UNREADABLE, "may not be read by this user"),
    errno.EPERM: (Odd.UNREADABLE, "may not be read by this user"),
}


def _is_link(parent: int, name: str) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def _vendor_id(scope: int, name: str) -> str:
    """The text of a vendor's id file; what is no short line of text is told as such."""
    try:
        text = (files.read_small(scope, name) or b"").decode("ascii", "replace").strip()
    except OSError as error:
        return f"(unreadable: {error.strerror})"
    return text if _ID_TEXT.fullmatch(text) else "(not an id)"

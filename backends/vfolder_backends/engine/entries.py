"""One entry of a copy: made, or found finished, or made again.

The target's directories are ours alone while they are filled, so what lies in them is what we made;
the source may change under us at any time.
"""

import os
import stat
import threading
from collections.abc import Callable
from typing import Any, Final

from vfolder_backends.engine import attributes
from vfolder_backends.engine.budget import Budget
from vfolder_backends.engine.data import Means, write
from vfolder_backends.engine.descent import Descent
from vfolder_backends.engine.problems import Problems, general, reason_of
from vfolder_backends.engine.removal import remove_contents
from vfolder_backends.engine.spans import Path
from vfolder_backends.engine.stop import Stop
from vfolder_backends.engine.visit import Entry, Kind

_ATTEMPTS: Final = 3
_LARGE: Final = 16 * 1024 * 1024  # from here on an interrupted file is continued
_BLOCK: Final = 4096
_SMALL: Final = 128 * 1024
_SOURCE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_TARGET: Final = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW: Final = _TARGET | os.O_CREAT | os.O_EXCL


class Linked(Exception):
    """The entry has other names, which a helper process cannot know of."""


class Born:
    """Whom new files in one directory belong to; learned from the first."""

    uid_gid: tuple[int, int] | None = None


class Maker:
    """Makes entries of one copy; used by several threads.

    Args:
        target: the open top of the copy.
        stop: looked at within large files.
        pulse: called within large files.
        links: where each inode of several names was copied to, of an earlier `state`.
        partial: large files begun, of an earlier `state`.
        helping: raise `Linked` for what has other names.
    """

    def __init__(
        self,
        target: int,
        stop: Stop,
        pulse: Callable[[], None],
        links: Any,
        partial: Any,
        *,
        helping: bool = False,
    ) -> None:
        self._target = target
        self._stop = stop
        self._pulse = pulse
        self._means = Means()
        self._links: dict[tuple[int, int], Path] = {
            (device, inode): tuple(path) for device, inode, path in links
        }
        self._linking = threading.Lock()
        self._helping = helping
        self._partial: dict[Path, list[int]] = {}
        self.continue_with(partial)

    def state(self) -> Any:
        """As JSON: links and partial files."""
        links = [[*key, path] for key, path in self._links.copy().items()]
        return [links, list(self._partial.copy().items())]

    def continue_with(self, partial: Any) -> None:
        """Take over large files that another began; as in `state`."""
        self._partial |= {tuple(path): marks for path, marks in partial}

    def make(
        self, source: int, target: int, path: Path, entry: Entry, problems: Problems
    ) -> int | None:
        """Make one entry; it is complete when this returns, but for a directory's attributes.

        Returns:
            The bytes it adds, 0 for what holds none; None for an entry that is left out.

        Raises:
            OSError: the source's entry is gone (`VANISHED`) or closed (EACCES, EPERM); else
                what the target says.
            Stopped: within a large file.
            Linked: see `helping`.
        """
        name = entry.name

        def complain(reason: str) -> None:
            problems.add(path, reason)

        if entry.kind is Kind.DIRECTORY:
            _make_directory(target, name)
            return 0
        if entry.kind is Kind.FILE:
            opened = os.open(name, _SOURCE, dir_fd=source)
            try:
                found = os.fstat(opened)
                if not stat.S_ISREG(found.st_mode):
                    complain("vanished")
                    return None
                return self._linked(
                    target, path, found, lambda: self._file(opened, target, path, found, complain)
                )
            finally:
                os.close(opened)
        found = os.stat(name, dir_fd=source, follow_symlinks=False)
        if stat.S_ISSOCK(found.st_mode):
            complain("socket")
            return None
        if stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode):
            complain("vanished")
            return None
        return self._linked(
            target, path, found, lambda: _special(source, target, name, found, complain)
        )

    def make_small(self, source: int, target: int, name: str, born: Born) -> int | None:
        """Make a new, small, ordinary file, which most are, in as few steps as that takes.

        Returns:
            Its size; None where it is not one or the name is taken, and nothing was done.

        Raises:
            OSError: as `make`.
        """
        opened = os.open(name, _SOURCE, dir_fd=source)
        try:
            found = os.fstat(opened)
            size = found.st_size
            if (
                size > _SMALL
                or found.st_nlink != 1
                or found.st_blocks * 512 < size
                or self._means.reflink
                or not stat.S_ISREG(found.st_mode)
                or os.listxattr(opened)
            ):
                return None
            data = os.read(opened, size + 1)  # one more, to see that it is the whole
            if len(data) != size:
                return None
            copied = _create(target, name)
            if copied is None:
                return None
            try:
                if size and (written := os.write(copied, data)) != size:
                    write(copied, data[written:], written)  # which says what is wrong
                if not born.uid_gid:
                    has = os.fstat(copied)
                    born.uid_gid = has.st_uid, has.st_gid
                if born.uid_gid != (found.st_uid, found.st_gid):
                    os.chown(copied, found.st_uid, found.st_gid)
                os.chmod(copied, found.st_mode & 0o7777)
                os.utime(copied, ns=(found.st_atime_ns, found.st_mtime_ns))
            finally:
                os.close(copied)
        finally:
            os.close(opened)
        return size

    def _linked(
        self, target: int, path: Path, found: os.stat_result, copy: Callable[[], int]
    ) -> int:
        if found.st_nlink < 2:
            return copy()
        if self._helping:
            raise Linked
        key = found.st_dev, found.st_ino
        with self._linking:  # the others of this inode wait until there is something to link to
            first = self._links.get(key)
            if first is not None and first != path and self._link(first, target, path[-1]):
                return 0
            size = copy()
            self._links[key] = path
            return size

    def _link(self, first: Path, target: int, name: str) -> bool:
        descent = Descent(self._target)
        try:
            there = descent.open(first[:-1])
            try:
                os.link(first[-1], name, src_dir_fd=there, dst_dir_fd=target, follow_symlinks=False)
            except FileExistsError:
                one = os.stat(first[-1], dir_fd=there, follow_symlinks=False)
                two = os.stat(name, dir_fd=target, follow_symlinks=False)
                if (one.st_dev, one.st_ino) != (two.st_dev, two.st_ino):
                    _remove(target, name)
                    os.link(
                        first[-1], name, src_dir_fd=there, dst_dir_fd=target, follow_symlinks=False
                    )
        except FileNotFoundError:
            return False
        except OSError as error:
            if general(error) or reason_of(error) not in ("EMLINK", "EPERM", "EOPNOTSUPP"):
                raise
            return False  # no more links here: two files, as `compare` will tell
        finally:
            descent.close()
        return True

    def _file(
        self,
        source: int,
        target: int,
        path: Path,
        found: os.stat_result,
        complain: attributes.Complain,
    ) -> int:
        fresh, at = True, 0
        try:
            copied = os.open(path[-1], _NEW, 0o600, dir_fd=target)
        except FileExistsError:
            copied, at = self._existing(target, path, found)
            fresh = False
        try:
            for _ in range(_ATTEMPTS):
                if at < found.st_size:
                    self._data(source, copied, path, found, at)
                now = os.fstat(source)
                if (now.st_size, now.st_mtime_ns) == (found.st_size, found.st_mtime_ns):
                    break
                found, at = now, 0
                os.truncate(copied, 0)
            else:
                complain("changed during the copy")
            attributes.apply(copied, source, found, os.fstat(copied), complain, fresh=fresh)
        finally:
            os.close(copied)
        self._partial.pop(path, None)
        return found.st_size

    def _data(self, source: int, copied: int, path: Path, found: os.stat_result, at: int) -> None:
        def moved(count: int) -> None:
            if found.st_size >= _LARGE:
                marks[3] += count
                self._partial[path] = marks
                self._pulse()

        marks = [found.st_ino, found.st_size, found.st_mtime_ns, at]
        self._means.copy(source, copied, found, at, self._stop, moved)

    def _existing(self, target: int, path: Path, found: os.stat_result) -> tuple[int, int]:
        name = path[-1]
        has = os.stat(name, dir_fd=target, follow_symlinks=False)
        if stat.S_ISREG(has.st_mode) and (has.st_nlink == 1 or found.st_nlink > 1):
            try:
                copied = os.open(name, _TARGET, dir_fd=target)
            except PermissionError:
                copied = -1  # finished as a file that its owner may not write
            if copied >= 0:
                return copied, self._continued(copied, path, found, has)
        _remove(target, name)
        return os.open(name, _NEW, 0o600, dir_fd=target), 0

    def _continued(
        self, copied: int, path: Path, found: os.stat_result, has: os.stat_result
    ) -> int:
        """Return from where on an existing file lacks data; it is cut to that length."""
        if (has.st_size, has.st_mtime_ns) == (found.st_size, found.st_mtime_ns):
            return found.st_size
        at, begun = 0, self._partial.get(path)
        if begun and begun[:3] == [found.st_ino, found.st_size, found.st_mtime_ns]:
            at = min(begun[3], has.st_size) // _BLOCK * _BLOCK
        os.truncate(copied, at)
        return at


def _create(target: int, name: str) -> int | None:
    try:
        return os.open(name, _NEW, 0o600, dir_fd=target)
    except FileExistsError:
        return None


def _make_directory(target: int, name: str) -> None:
    try:
        os.mkdir(name, 0o700, dir_fd=target)
    except FileExistsError:
        has = os.stat(name, dir_fd=target, follow_symlinks=False)
        if not stat.S_ISDIR(has.st_mode):
            _remove(target, name)
            os.mkdir(name, 0o700, dir_fd=target)
        elif has.st_mode & stat.S_IRWXU != stat.S_IRWXU:
            os.chmod(name, 0o700, dir_fd=target)


def _special(
    source: int, target: int, name: str, found: os.stat_result, complain: attributes.Complain
) -> int:
    link = stat.S_ISLNK(found.st_mode)
    leads = os.readlink(name, dir_fd=source) if link else ""
    fresh = True
    try:
        _make_special(target, name, found, leads)
    except FileExistsError:
        has = os.stat(name, dir_fd=target, follow_symlinks=False)
        alike = stat.S_IFMT(has.st_mode) == stat.S_IFMT(found.st_mode)
        if alike and link:
            alike = os.readlink(name, dir_fd=target) == leads
        if alike and has.st_rdev == found.st_rdev and has.st_nlink == 1:
            fresh = False
        else:
            _remove(target, name)
            _make_special(target, name, found, leads)
    has = os.stat(name, dir_fd=target, follow_symlinks=False)
    # No system call takes a descriptor of a link for all that is to be set.
    here, there = f"/proc/self/fd/{target}/{name}", f"/proc/self/fd/{source}/{name}"
    attributes.apply(here, there, found, has, complain, fresh=fresh)
    return 0


def _make_special(target: int, name: str, found: os.stat_result, leads: str) -> None:
    if stat.S_ISLNK(found.st_mode):
        os.symlink(leads, name, dir_fd=target)
    else:
        os.mknod(name, stat.S_IFMT(found.st_mode) | 0o600, found.st_rdev, dir_fd=target)


def _remove(target: int, name: str) -> None:
    """Remove what an earlier source had under this name."""
    try:
        os.unlink(name, dir_fd=target)
    except IsADirectoryError:
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=target)
        try:
            remove_contents(fd, Budget())
        finally:
            os.close(fd)
        os.rmdir(name, dir_fd=target)

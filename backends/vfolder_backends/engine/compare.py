"""What differs between two trees: proof that a migration or a copy kept everything."""

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from vfolder_backends.engine.attributes import xattrs
from vfolder_backends.engine.descent import Descent
from vfolder_backends.engine.problems import VANISHED, Problems, general, reason_of
from vfolder_backends.engine.spans import Cursor, Path
from vfolder_backends.engine.stop import Stop
from vfolder_backends.engine.usage import TreeUsage, usage
from vfolder_backends.engine.walk import Deed, Handler, Walk

_CHUNK: Final = 1024 * 1024
_OPEN: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs.

    Attributes:
        path: below the tops, `.` for the tops themselves.
        what: `missing` (only on the left), `extra` (only on the right), `kind`, `size`, `mode`,
            `owner`, `mtime`, `target` of a link, `device`, `links` (other names of the same
            inode), `xattrs`, or `data`.
    """

    path: str
    what: str
    left: str = ""
    right: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a comparison found.

    Attributes:
        differences: the first of them.
        count: of all of them.
        left: what the left tree uses.
        right: what the right tree uses.
        problems: what could not be compared.
        complete: False if it was stopped.
    """

    differences: Sequence[Difference]
    count: int
    left: TreeUsage
    right: TreeUsage
    problems: Problems
    complete: bool

    @property
    def equal(self) -> bool:
        """Whether everything was compared and nothing differs."""
        return self.complete and not self.count and not self.problems


def compare(
    left: int, right: int, *, data: bool = False, limit: int = 100, stop: Stop | None = None
) -> Comparison:
    """Compare the open directories `left` and `right`, themselves included.

    Sizes, modes, owners, times of change to the nanosecond, extended attributes with ACLs, and
    which names share an inode. Not compared: times of access, sizes of directories, and how
    many blocks are allocated, which `left` and `right` of the result tell.

    Args:
        left: an open directory.
        right: another.
        data: also compare what the files hold.
        limit: how many differences are named.
        stop: when to stop.
    """
    stop = stop or Stop()
    comparer = _Comparer(left, right, data, limit, stop)
    comparer.tops()
    end = Walk(left, comparer, stop, Cursor()).run()
    totals = [usage(top, stop=stop) for top in (left, right)]
    return Comparison(
        comparer.differences,
        comparer.count,
        totals[0],
        totals[1],
        comparer.problems,
        end.done and all(total.done for total in totals),
    )


class _Comparer(Handler[str]):
    def __init__(self, left: int, right: int, data: bool, limit: int, stop: Stop) -> None:
        super().__init__()
        self._tops = left, right
        self._data = data
        self._limit = limit
        self._stop = stop
        self._there = Descent(right)
        self._pairs: dict[tuple[int, int], tuple[int, int]] = {}
        self._back: dict[tuple[int, int], tuple[int, int]] = {}
        self.differences: list[Difference] = []
        self.count = 0

    def tops(self) -> None:
        """Compare the two tops."""
        left, right = self._tops
        self._attributes((), os.fstat(left), os.fstat(right), left, right)

    def read(self, fd: int) -> list[str]:
        return sorted(os.listdir(fd))

    def name(self, item: str) -> str:
        return item

    def rest(self) -> None:
        self._there.close()

    def act(self, fd: int, path: Path, items: Sequence[str]) -> Deed:
        there = self._there.open(path)
        below = []
        for name in items:
            self._stop.check()
            here = (*path, name)
            try:
                if self._entry(fd, there, here):
                    below.append(name)
            except OSError as error:
                if general(error):
                    raise
                self.problems.add(here, reason_of(error))
        return Deed(len(items), below, None)

    def leave(self, fd: int, path: Path) -> None:
        for name in sorted(set(os.listdir(self._there.open(path))) - set(os.listdir(fd))):
            self._differs((*path, name), "extra")

    def commit(self, tally: Any) -> None:
        pass

    def state(self) -> Any:
        return None

    def _differs(self, path: Path, what: str, left: object = "", right: object = "") -> None:
        self.count += 1
        if len(self.differences) < self._limit:
            self.differences.append(Difference("/".join(path) or ".", what, str(left), str(right)))

    def _entry(self, left: int, right: int, path: Path) -> bool:
        name = path[-1]
        one = os.stat(name, dir_fd=left, follow_symlinks=False)
        try:
            two = os.stat(name, dir_fd=right, follow_symlinks=False)
        except OSError as error:
            if error.errno not in VANISHED:
                raise
            self._differs(path, "missing")
            return False
        kinds = stat.S_IFMT(one.st_mode), stat.S_IFMT(two.st_mode)
        if kinds[0] != kinds[1]:
            self._differs(path, "kind", oct(kinds[0]), oct(kinds[1]))
            return False
        # A path, because links and devices cannot be opened; it ends in this very name.
        places = f"/proc/self/fd/{left}/{name}", f"/proc/self/fd/{right}/{name}"
        self._attributes(path, one, two, *places)
        if stat.S_ISDIR(one.st_mode):
            return True
        self._links(path, one, two)
        if stat.S_ISLNK(one.st_mode):
            leads = os.readlink(name, dir_fd=left), os.readlink(name, dir_fd=right)
            if leads[0] != leads[1]:
                self._differs(path, "target", *leads)
        elif one.st_size != two.st_size:
            self._differs(path, "size", one.st_size, two.st_size)
        elif one.st_rdev != two.st_rdev:
            self._differs(path, "device", one.st_rdev, two.st_rdev)
        elif self._data and stat.S_ISREG(one.st_mode) and not self._same_data(left, right, name):
            self._differs(path, "data")
        return False

    def _attributes(
        self,
        path: Path,
        one: os.stat_result,
        two: os.stat_result,
        left: int | str,
        right: int | str,
    ) -> None:
        for what, first, second in (
            ("mode", oct(stat.S_IMODE(one.st_mode)), oct(stat.S_IMODE(two.st_mode))),
            ("owner", f"{one.st_uid}:{one.st_gid}", f"{two.st_uid}:{two.st_gid}"),
            ("mtime", str(one.st_mtime_ns), str(two.st_mtime_ns)),
        ):
            if first != second:
                self._differs(path, what, first, second)
        has = xattrs(left), xattrs(right)
        if has[0] != has[1]:
            names = [
                " ".join(sorted(name for name in mine if mine.get(name) != other.get(name)))
                for mine, other in (has, has[::-1])
            ]
            self._differs(path, "xattrs", *names)

    def _links(self, path: Path, one: os.stat_result, two: os.stat_result) -> None:
        if one.st_nlink < 2 and two.st_nlink < 2:
            return
        first, second = (one.st_dev, one.st_ino), (two.st_dev, two.st_ino)
        there = self._pairs.setdefault(first, second)
        back = self._back.setdefault(second, first)
        if there != second or back != first:
            self._differs(path, "links", one.st_nlink, two.st_nlink)

    def _same_data(self, left: int, right: int, name: str) -> bool:
        one = os.open(name, _OPEN, dir_fd=left)
        try:
            two = os.open(name, _OPEN, dir_fd=right)
            try:
                while True:
                    self._stop.check()
                    some = os.read(one, _CHUNK)
                    other = os.read(two, len(some) or 1)
                    while len(other) < len(some) and (more := os.read(two, len(some) - len(other))):
                        other += more
                    if some != other:
                        return False
                    if not some:
                        return True
            finally:
                os.close(two)
        finally:
            os.close(one)

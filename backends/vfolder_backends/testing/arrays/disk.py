"""The file system of a simulated array: a real directory, its usage, and limits on parts of it.

Limits are enforced in two ways. Where the directory is on CephFS, they are put on it as CephFS
quotas, and any process that writes there is stopped for real, a pod included. Anywhere else there
is nothing underneath that could stop a process: usage is found by walking, and only what writes
through `write`, `mkdir` and `rename` here is stopped, with the errno that the array would give.
"""

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_BLOCK: Final = 4096
_CEPH_BYTES: Final = "ceph.quota.max_bytes"
_CEPH_FILES: Final = "ceph.quota.max_files"


@dataclass(frozen=True, slots=True)
class Used:
    """What lies below a directory; `files` counts directories, too, the one itself included."""

    bytes: int
    files: int


@dataclass(frozen=True, slots=True)
class Limit:
    """What a directory may hold; None is unlimited."""

    bytes: int | None = None
    files: int | None = None


class Disk:
    """A directory in the part of an array's file system.

    Args:
        root: an existing directory; paths given elsewhere begin with a slash and lie below it.
        over_limit: the errno of a writer that is stopped.
    """

    def __init__(self, root: Path, over_limit: int = errno.EDQUOT) -> None:
        self.root = root
        self.over_limit = over_limit
        self.limits: Callable[[], dict[Path, Limit]] = dict
        """Gives the limits in force, by directory; an array's simulator sets it."""
        self.real = _is_ceph(root)

    def place(self, path: str) -> Path:
        """Return where a path of the array is; `..` leads nowhere else."""
        parts = [part for part in path.split("/") if part not in ("", ".", "..")]
        return self.root.joinpath(*parts)

    def path(self, place: Path) -> str:
        """The reverse of `place`."""
        return "/" + "/".join(place.relative_to(self.root).parts)

    def find(self, inode: int, hint: Path | None = None) -> Path | None:
        """Return the directory with that inode number; `hint` is looked at first."""
        if hint is not None and _inode(hint) == inode:
            return hint
        if _inode(self.root) == inode:
            return self.root
        for folder, names, _ in os.walk(self.root):
            for name in names:
                if _inode(Path(folder, name)) == inode:
                    return Path(folder, name)
        return None

    def used(self, place: Path) -> Used:
        """Count what lies below; sizes as written, in whole blocks, nothing for directories."""
        size, count = 0, 1
        for folder, names, files in os.walk(place):
            count += len(names) + len(files)
            for name in files:
                with suppress(FileNotFoundError):
                    size += -(-os.lstat(os.path.join(folder, name)).st_size // _BLOCK) * _BLOCK
        return Used(size, count)

    def enforce(self, place: Path, limit: Limit) -> None:
        """Put a limit on a directory for real, where the machine can; else do nothing."""
        if self.real:
            os.setxattr(place, _CEPH_BYTES, str(limit.bytes or 0).encode())
            os.setxattr(place, _CEPH_FILES, str(limit.files or 0).encode())

    def write(self, place: Path, size: int) -> None:
        """Write a file of `size` bytes as a client of the array would.

        Raises:
            OSError: with `over_limit`, when a limit stands against it; nothing is written.
        """
        if not self.real:
            old = os.lstat(place).st_size if place.exists() else 0
            grown = -(-size // _BLOCK) * _BLOCK - -(-old // _BLOCK) * _BLOCK
            self._admit(place, grown, 0 if place.exists() else 1)
        with place.open("wb") as file:
            file.write(b"x" * size)
            file.flush()
            os.fsync(file.fileno())

    def mkdir(self, place: Path) -> None:
        """Make a directory as a client would."""
        if not self.real:
            self._admit(place, 0, 1)
        place.mkdir()

    def rename(self, old: Path, new: Path) -> None:
        """Rename as a client would: EXDEV between parts under different limits."""
        if not self.real and self._above(old) != self._above(new):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(old), None, str(new))
        old.rename(new)

    def _above(self, place: Path) -> set[Path]:
        return {limited for limited in self.limits() if limited in place.parents}

    def _admit(self, place: Path, size: int, files: int) -> None:
        for limited, limit in self.limits().items():
            if limited not in place.parents:
                continue
            used = self.used(limited)
            over = limit.bytes is not None and size > 0 and used.bytes + size > limit.bytes
            over |= limit.files is not None and files > 0 and used.files + files > limit.files
            if over:
                raise OSError(self.over_limit, os.strerror(self.over_limit), str(place))


def _inode(place: Path) -> int | None:
    try:
        return os.lstat(place).st_ino
    except OSError:
        return None


def _is_ceph(place: Path) -> bool:
    try:
        os.getxattr(place, "ceph.dir.rbytes")
    except OSError:
        return False
    return True

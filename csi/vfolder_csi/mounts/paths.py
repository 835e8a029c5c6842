"""Paths walked by directory descriptor: never through a symbolic link, never out of their root.

What is opened here is worked with by descriptor afterwards, so that nobody can swap a directory
between the check and the use.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from vfolder_backends.openat import BENEATH, RESOLVE_NO_XDEV, openat2
from vfolder_csi.errors import FailedPrecondition, InvalidArgument, from_os_error
from vfolder_csi.settings import is_normalised

DIRECTORY: Final = os.O_PATH | os.O_DIRECTORY


def check_beneath(root: str, path: str, field: str) -> str:
    """Return `path` relative to `root`.

    Raises:
        InvalidArgument: it is not absolute and normalised, or not below `root`.
    """
    if not is_normalised(path):
        raise InvalidArgument(f"{field}: {path!r} is not an absolute, normalised path")
    if not path.startswith(f"{root}/"):
        raise InvalidArgument(f"{field}: {path!r} is not below the kubelet folder {root}")
    return path[len(root) + 1 :]


def open_beneath(directory: int, path: str, flags: int = DIRECTORY) -> int:
    """Open a path below a directory descriptor; the caller closes the result.

    Raises:
        OSError: ELOOP for a symbolic link, EXDEV for a way out, and what open(2) gives.
    """
    return openat2(directory, path, flags, BENEATH)


@dataclass(frozen=True, slots=True)
class Spot:
    """A place to mount at: a name in an open directory.

    Attributes:
        parent: descriptor of the directory the name stands in.
        path: the whole path as mountinfo prints it.
    """

    parent: int
    name: str
    path: str

    @property
    def link(self) -> str:
        """A path for system calls that take no descriptor; only its last part is walked."""
        return f"/proc/self/fd/{self.parent}/{self.name}"

    def open_bare(self) -> int | None:
        """Open the directory, or return None when something is mounted on it.

        Nothing of what is mounted there is touched.

        Raises:
            OSError: ENOENT when it is absent, ELOOP or ENOTDIR when it is no directory.
        """
        flags = os.O_RDONLY | os.O_DIRECTORY
        try:
            return openat2(self.parent, self.name, flags, BENEATH | RESOLVE_NO_XDEV)
        except OSError as error:
            if error.errno == errno.EXDEV:
                return None
            raise

    def prepare(self) -> int | None:
        """Make the directory if it is absent, and unwritable; None when it is mounted on already.

        Mode 0, so that nobody writes below a mount that was lost.

        Raises:
            FailedPrecondition: something that is no directory is there.
            CsiError: the kernel refused.
        """
        try:
            try:
                bare = self.open_bare()
            except FileNotFoundError:
                os.mkdir(self.name, 0, dir_fd=self.parent)
                bare = self.open_bare()
            if bare is not None:
                os.fchmod(bare, 0)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise FailedPrecondition(f"{self.path} is not a directory") from error
            raise from_os_error(error, f"making {self.path}") from error
        return bare


@contextmanager
def spot(root: str, path: str, field: str) -> Iterator[Spot]:
    """Open the directory that `path`, which must lie below `root`, stands in.

    Raises:
        InvalidArgument: the path is not allowed, or leads through a symbolic link.
        FileNotFoundError: the directory it stands in does not exist.
        CsiError: the kernel refused.
    """
    relative, _, name = check_beneath(root, path, field).rpartition("/")
    try:
        top = os.open(root, DIRECTORY | os.O_CLOEXEC)
        try:
            parent = open_beneath(top, relative or ".")
        finally:
            os.close(top)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.EXDEV):
            raise InvalidArgument(
                f"{field}: {path!r} leads through something that is not a directory"
            ) from error
        raise from_os_error(error, f"opening the folder of {path}") from error
    try:
        yield Spot(parent, name, f"{os.readlink(f'/proc/self/fd/{parent}')}/{name}")
    finally:
        os.close(parent)

"""Snapshots of single directories: a folder held still while it is copied.

A snapshot is a directory made in `.snap`, for which the key needs the `s` capability. It shows what
was there in that moment, also what other clients had not flushed yet. No limit counts it, and its
directory cannot be removed before it: so each is named for what it is made for, found again by that
name after a crash, and all of ours on a directory can be let go of at once.
"""

import errno
import os
from contextlib import suppress
from typing import Final

_SNAPSHOTS: Final = ".snap"
_OURS: Final = "vfolder-clone-"
_ABOVE: Final = "_"
_NOT_ALLOWED: Final = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.EMLINK)
"""ENOENT where the mount hides snapshots, EMLINK where a directory has all it may have."""


def allowed(directory: int) -> bool:
    """Whether our key may make snapshots, tried on an open directory of ours."""
    fd = freeze(directory, "trial")
    if fd is None:
        return False
    os.close(fd)
    thaw(directory, "trial")
    return True


def freeze(directory: int, name: str) -> int | None:
    """Open the directory as it was when this name was first used on it; the caller closes it.

    Returns:
        A descriptor for reading, or None if no snapshot can be made.
    """
    path = f"{_SNAPSHOTS}/{_OURS}{name}"
    try:
        with suppress(FileExistsError):
            os.mkdir(path, dir_fd=directory)
    except OSError as error:
        if error.errno in _NOT_ALLOWED:
            return None
        raise
    return _open(directory, path)


def frozen(directory: int, name: str) -> int | None:
    """Open what `freeze` made under this name, None if it is not there."""
    try:
        return _open(directory, f"{_SNAPSHOTS}/{_OURS}{name}")
    except FileNotFoundError:
        return None


def _open(directory: int, path: str) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)


def thaw(directory: int, name: str | None = None) -> None:
    """Remove what `freeze` made under a name, or under any; gone is success."""
    ours = (one for one in _names(directory) if one.startswith(_OURS))
    names = ours if name is None else [f"{_OURS}{name}"]
    for one in names:
        with suppress(FileNotFoundError):
            os.rmdir(f"{_SNAPSHOTS}/{one}", dir_fd=directory)


def others(directory: int) -> list[str]:
    """The names of snapshots of the directory that are none of ours."""
    return sorted(name for name in _names(directory) if not name.startswith(_OURS))


def _names(directory: int) -> list[str]:
    try:
        fd = os.open(_SNAPSHOTS, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
    except FileNotFoundError:
        return []
    try:
        # Those of directories above are listed, too, by names that begin with an underscore.
        return [name for name in os.listdir(fd) if not name.startswith(_ABOVE)]
    finally:
        os.close(fd)

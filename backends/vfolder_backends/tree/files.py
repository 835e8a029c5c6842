"""Small files and directories under the control directory, written whole or not at all."""

import errno
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from vfolder_backends.layout import CONTROL_DIR, TEMP_DIR
from vfolder_backends.openat import directory, open_beneath

_MAX_SIZE: Final = 64 * 1024
_ATTEMPTS: Final = 16
_TEMP_PATH: Final = f"{CONTROL_DIR}/{TEMP_DIR}"
_STALE_SECONDS: Final = 24 * 3600


def read_small(root: int, path: str) -> bytes | None:
    """Return the content of a small regular file, None when it is absent."""
    try:
        fd = open_beneath(root, path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    with open(fd, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.ENOTDIR, "not a regular file", path)
        return file.read(_MAX_SIZE)


def make_directory(parent: int, name: str, mode: int) -> int:
    """Open the directory `name` in `parent`, made before if need be, with at least `mode`.

    A directory that lies there keeps what it allows beyond `mode`; what our umask, or a crash right
    after the making, left out is added.
    """
    with suppress(FileExistsError):
        os.mkdir(name, mode, dir_fd=parent)
    fd = open_beneath(parent, name, os.O_RDONLY | os.O_DIRECTORY)
    try:
        found = os.fstat(fd)
        present = stat.S_IMODE(found.st_mode)
        if mode & ~present and found.st_uid == os.geteuid():
            os.fchmod(fd, present | mode)
    except BaseException:
        os.close(fd)
        raise
    return fd


@contextmanager
def made_directory(root: int, path: str, mode: int = 0o700) -> Iterator[int]:
    """Open the directory at `path`, all of it made if need be.

    Somebody may remove the empty directory again while it is in use here; what is then made in it
    fails with FileNotFoundError, and the caller begins anew.
    """
    fd = _make_path(root, path, mode)
    try:
        yield fd
    finally:
        os.close(fd)


def _make_path(root: int, path: str, mode: int) -> int:
    for attempt in range(1, _ATTEMPTS + 1):
        with suppress(FileNotFoundError):
            return open_beneath(root, path, os.O_RDONLY | os.O_DIRECTORY)
        fd = os.dup(root)
        try:
            for part in path.split("/"):
                child = make_directory(fd, part, mode)
                os.close(fd)
                fd = child
            return os.dup(fd)
        except FileNotFoundError:
            if attempt == _ATTEMPTS:
                raise
        except OSError as error:
            error.filename = path
            raise
        finally:
            os.close(fd)
    raise AssertionError("unreachable")


@contextmanager
def _temporary(root: int, data: bytes, mode: int) -> Iterator[tuple[int, str]]:
    with made_directory(root, _TEMP_PATH) as folder:
        name = secrets.token_hex(16)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name, flags, mode, dir_fd=folder)
        try:
            with open(fd, "wb", buffering=0) as file:
                os.fchmod(fd, mode)
                file.write(data)
                # Without this a power cut could leave the name without its content.
                os.fsync(fd)
            yield folder, name
        finally:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)


def create(root: int, folder: int, name: str, data: bytes, mode: int = 0o600) -> None:
    """Write `name` in the open directory `folder` exactly once.

    Raises:
        FileExistsError: it is there already.
    """
    with _temporary(root, data, mode) as (temp, temp_name):
        os.link(temp_name, name, src_dir_fd=temp, dst_dir_fd=folder, follow_symlinks=False)


def replace(root: int, folder: int, name: str, data: bytes, mode: int = 0o600) -> None:
    """Write `name` in the open directory `folder`, over what it held."""
    with _temporary(root, data, mode) as (temp, temp_name):
        os.rename(temp_name, name, src_dir_fd=temp, dst_dir_fd=folder)


def list_names(root: int, path: str) -> list[str]:
    """Return the names in a directory, none when it is absent."""
    try:
        with directory(root, path) as fd:
            return os.listdir(fd)
    except FileNotFoundError:
        return []


def remove_if_empty(parent: int, name: str) -> bool:
    """Remove a directory unless something is in it; return whether it is gone."""
    try:
        os.rmdir(name, dir_fd=parent)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    return True


def sweep_temporaries(root: int) -> None:
    """Remove what crashes left in the directory for temporary files more than a day ago."""
    try:
        with directory(root, _TEMP_PATH) as folder:
            for name in os.listdir(folder):
                with suppress(FileNotFoundError):
                    age = time.time() - os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime
                    if age > _STALE_SECONDS:
                        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return

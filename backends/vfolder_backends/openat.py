"""System calls that the standard library lacks: `openat2`, `renameat2`, `syncfs`.

Everything below a backend's root is reached from a directory descriptor, never by an absolute path,
and no symbolic link is followed on the way: a tenant who swaps a directory for a link in the very
moment we walk through it gains nothing. `openat2` asks the kernel for that in one call; where it is
missing (before Linux 5.6, or hidden by a container's seccomp profile) the path is walked one
component at a time.
"""

import ctypes
import errno
import functools
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_SYS_OPENAT2: Final = 437  # the same number on every architecture that Python and we run on
RESOLVE_NO_XDEV: Final = 0x01
RESOLVE_NO_MAGICLINKS: Final = 0x02
RESOLVE_NO_SYMLINKS: Final = 0x04
RESOLVE_BENEATH: Final = 0x08
BENEATH: Final = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS
"""Below the descriptor, and through no link of any kind."""

_RENAME_NOREPLACE: Final = 1
_AGAIN: Final = 32  # openat2 says EAGAIN when a rename elsewhere disturbed its walk

_libc = ctypes.CDLL(None, use_errno=True)


class _OpenHow(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


def openat2(parent: int, path: str, flags: int, resolve: int) -> int:
    """Open `path` relative to a directory descriptor under the rules of `resolve`.

    Raises:
        OSError: ENOSYS where the kernel lacks the call, else what openat2(2) gives.
    """
    how = _OpenHow(flags | os.O_CLOEXEC, 0, resolve)
    for _ in range(_AGAIN):
        fd: int = _libc.syscall(
            ctypes.c_long(_SYS_OPENAT2),
            ctypes.c_int(parent),
            ctypes.c_char_p(os.fsencode(path)),
            ctypes.byref(how),
            ctypes.c_size_t(ctypes.sizeof(how)),
        )
        if fd >= 0:
            return fd
        number = ctypes.get_errno()
        if number not in (errno.EAGAIN, errno.EINTR):
            raise OSError(number, os.strerror(number), path)
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN), path)


@functools.cache
def has_openat2() -> bool:
    """Whether this kernel, seen through our seccomp profile, has `openat2`."""
    here = os.open("/", os.O_PATH | os.O_DIRECTORY)
    try:
        os.close(openat2(here, ".", os.O_PATH, BENEATH))
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EPERM):
            return False
        raise
    finally:
        os.close(here)
    return True


def _walk(parent: int, path: str, flags: int) -> int:
    *above, last = path.split("/")
    fd = parent
    try:
        for part in above:
            child = _step(fd, part, os.O_PATH | os.O_DIRECTORY)
            if fd != parent:
                os.close(fd)
            fd = child
        return _step(fd, last, flags)
    except OSError as error:
        error.filename = path
        raise
    finally:
        if fd != parent:
            os.close(fd)


def _step(parent: int, part: str, flags: int) -> int:
    if part in ("", ".", ".."):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), part)
    return os.open(part, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)


def open_beneath(parent: int, path: str, flags: int, *, same_mount: bool = False) -> int:
    """Open what exists at the relative `path` below the descriptor `parent`.

    Args:
        parent: an open directory.
        path: components joined by slashes; none of them may be a link, `.` or `..`.
        flags: as for `os.open`; nothing is created.
        same_mount: also refuse to step onto another mount, bind mounts included. Without
            `openat2` a bind mount of the same file system is not noticed.

    Raises:
        OSError: ELOOP or ENOTDIR for a link or a file on the way, EXDEV for a way out.
    """
    if not has_openat2():
        fd = _walk(parent, path, flags)
        if same_mount and os.fstat(fd).st_dev != os.fstat(parent).st_dev:
            os.close(fd)
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
        return fd
    resolve = BENEATH | (RESOLVE_NO_XDEV if same_mount else 0)
    return openat2(parent, path, flags, resolve)


@contextmanager
def directory(parent: int, path: str) -> Iterator[int]:
    """Open an existing directory below `parent` for the length of a `with` block."""
    fd = open_beneath(parent, path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


def rename_noreplace(
    parent: int, source: str, target: str, target_parent: int | None = None
) -> None:
    """Rename inside one directory, or into `target_parent`, and never onto something.

    File systems without the flag (NFS, older FUSE) get a look and a plain rename: between the two
    an empty directory could be replaced by ours, never one that holds anything.

    Raises:
        FileExistsError: the target is there.
    """
    into = parent if target_parent is None else target_parent
    sys.audit("os.rename", source, target, parent, into)  # as `os.rename` itself does
    renameat2 = getattr(_libc, "renameat2", None)
    number = errno.ENOSYS
    if renameat2 is not None:
        names = os.fsencode(source), os.fsencode(target)
        if renameat2(parent, names[0], into, names[1], _RENAME_NOREPLACE) == 0:
            return
        number = ctypes.get_errno()
    if number not in (errno.EINVAL, errno.ENOSYS):
        raise OSError(number, os.strerror(number), source, None, target)
    try:
        os.stat(target, dir_fd=into, follow_symlinks=False)
    except FileNotFoundError:
        try:
            os.rename(source, target, src_dir_fd=parent, dst_dir_fd=into)
        except OSError as error:
            if error.errno == errno.ENOTEMPTY:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target) from error
            raise
    else:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)


def syncfs(fd: int) -> None:
    """Write all of the file system that `fd` is open on to its storage.

    Raises:
        OSError: what could not be written, ENOSPC and EDQUOT of late servers among them.
    """
    if _libc.syncfs(fd) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))

"""The system calls about mounts that Python does not wrap.

Numbers from 424 on are the same on every architecture Kubernetes runs on; `mount` and `umount2` are
in every C library.
Each function raises OSError with the kernel's errno and nothing else.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_libc = ctypes.CDLL(None, use_errno=True)

_OPEN_TREE: Final = 428
_MOVE_MOUNT: Final = 429
_FSOPEN: Final = 430
_FSCONFIG: Final = 431
_FSMOUNT: Final = 432
_MOUNT_SETATTR: Final = 442

AT_EMPTY_PATH: Final = 0x1000

OPEN_TREE_CLONE: Final = 1
MOVE_MOUNT_F_EMPTY_PATH: Final = 0x04
MOVE_MOUNT_T_EMPTY_PATH: Final = 0x40

_FSOPEN_CLOEXEC: Final = 1
_FSMOUNT_CLOEXEC: Final = 1
_SET_FLAG: Final = 0
_SET_STRING: Final = 1
_CREATE: Final = 6

MS_REMOUNT: Final = 0x20
MS_BIND: Final = 0x1000

MNT_DETACH: Final = 2
UMOUNT_NOFOLLOW: Final = 8


class _MountAttr(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _syscall(number: int, *arguments: object) -> int:
    return _checked(_libc.syscall(ctypes.c_long(number), *arguments))


def open_tree(source: int) -> int:
    """Return a detached clone of the mount, with the directory `source` as its root."""
    flags = OPEN_TREE_CLONE | os.O_CLOEXEC | AT_EMPTY_PATH
    return _syscall(_OPEN_TREE, ctypes.c_int(source), b"", ctypes.c_uint(flags))


def mount_setattr(tree: int, attr_set: int, attr_clr: int) -> None:
    """Set and clear attributes of the mount a descriptor stands for."""
    attr = _MountAttr(attr_set=attr_set, attr_clr=attr_clr)
    _syscall(
        _MOUNT_SETATTR,
        ctypes.c_int(tree),
        b"",
        ctypes.c_uint(AT_EMPTY_PATH),
        ctypes.byref(attr),
        ctypes.c_size_t(ctypes.sizeof(attr)),
    )


def move_mount(tree: int, target: int) -> None:
    """Attach a detached mount to the directory `target`."""
    flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
    _syscall(_MOVE_MOUNT, ctypes.c_int(tree), b"", ctypes.c_int(target), b"", ctypes.c_uint(flags))


@contextmanager
def opened_context(fs_type: str) -> Iterator[int]:
    """Begin a mount of a file system that is attached nowhere; ENOSYS before Linux 5.2."""
    context = _syscall(_FSOPEN, fs_type.encode(), ctypes.c_uint(_FSOPEN_CLOEXEC))
    try:
        yield context
    finally:
        os.close(context)


def set_string(context: int, name: str, value: str) -> None:
    """Give an option with a value to a mount that was begun."""
    _configure(context, _SET_STRING, name.encode(), value.encode())


def set_flag(context: int, name: str) -> None:
    """Give an option without a value to a mount that was begun."""
    _configure(context, _SET_FLAG, name.encode(), None)


def detached_mount(context: int, attr: int) -> int:
    """Mount what was begun, with attributes of mount_setattr(2); it goes with its descriptor."""
    _configure(context, _CREATE, None, None)
    flags = ctypes.c_uint(_FSMOUNT_CLOEXEC)
    return _syscall(_FSMOUNT, ctypes.c_int(context), flags, ctypes.c_uint(attr))


def _configure(context: int, command: int, name: bytes | None, value: bytes | None) -> None:
    _syscall(_FSCONFIG, ctypes.c_int(context), ctypes.c_uint(command), name, value, ctypes.c_int(0))


def mount(source: str, target: str, fs_type: str, flags: int, data: str) -> None:
    """Mount by the old call; an empty `fs_type` or `data` is passed as a null pointer."""
    _checked(
        _libc.mount(
            os.fsencode(source),
            os.fsencode(target),
            fs_type.encode() or None,
            ctypes.c_ulong(flags),
            data.encode() or None,
        )
    )


def umount2(target: str, flags: int) -> None:
    """Unmount what is on top at `target`."""
    _checked(_libc.umount2(os.fsencode(target), ctypes.c_int(flags)))

"""How each file system is seen below the operator's root, under its name.

By autofs: its root is a file system of the kernel in which nobody makes anything, so what is not
mounted is not there, and what is there is mounted. That is looked at all the same.
"""

import os
from typing import Final

from vfolder_backends.containers import MODE
from vfolder_backends.errors import Misconfigured, NotEmpty, PathConflict
from vfolder_backends.layout import CONTROL_DIR
from vfolder_backends.mountinfo import filesystem_type
from vfolder_backends.openat import directory

_AUTOFS: Final = "autofs"


def check_automounted(root: int, path: str) -> None:
    """Raise Misconfigured unless the root is an autofs map with a file system for our marks."""
    found = filesystem_type(root)
    if found != _AUTOFS:
        raise Misconfigured(
            f"operatorPath: {path} is {found}; with parameters.view Automount it is an autofs map"
            f" whose keys are names of file systems, and {CONTROL_DIR} (docs/flashblade.md)"
        )
    try:
        check_own(root, CONTROL_DIR)
    except FileNotFoundError as error:
        raise Misconfigured(
            f"operatorPath: the autofs map at {path} has no key {CONTROL_DIR}: it names the file"
            " system that holds our marks (docs/flashblade.md)"
        ) from error


def check_own(root: int, name: str) -> None:
    """Raise PathConflict unless a file system of its own is mounted there."""
    with directory(root, name) as found:
        if os.fstat(found).st_dev == os.fstat(root).st_dev:
            raise PathConflict(f"{name} is a bare directory: the file system is not mounted there")


def dress(root: int, name: str, mounted: bool) -> None:
    """Let everybody pass through the file system's root, and nobody else list or change it.

    Raises:
        FileNotFoundError: it does not appear there.
    """
    if mounted:
        check_own(root, name)
    with directory(root, name) as found:
        os.fchmod(found, MODE)


def empty(root: int, name: str, mounted: bool) -> bool:
    """Return True when nothing lies in it, False when it does not appear there (`NotEmpty`)."""
    try:
        if mounted:
            check_own(root, name)
        with directory(root, name) as found, os.scandir(found) as entries:
            entry = next(entries, None)
    except FileNotFoundError:
        return False
    if entry is not None:
        raise NotEmpty(f"{name} is not empty: {entry.name} lies in it")
    return True


def seen(root: int, name: str) -> bool:
    """Whether it appears there."""
    try:
        with directory(root, name):
            return True
    except FileNotFoundError:
        return False

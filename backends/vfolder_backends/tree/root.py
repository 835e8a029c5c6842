"""The root mark: how an unmounted backend is told from an empty one.

A random id is written once into the root. Whoever works below it afterwards opens the root afresh,
compares the id through that very descriptor, and goes on beneath it: a mount that vanishes, or is
replaced by another one, in between changes nothing any more.
"""

import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from vfolder_backends.errors import Misconfigured, RootLost, RootMissing
from vfolder_backends.layout import CONTROL_DIR, MARKS_DIR, NAMES_DIR, ROOT_MARK, TEMP_DIR
from vfolder_backends.tree import files

LAYOUT: Final = 3
"""The layout written into the mark; see `layout`."""

_ID = re.compile(r"[0-9a-f]{32}")
_MARK_PATH: Final = f"{CONTROL_DIR}/{ROOT_MARK}"


def read_root_id(root: int) -> str | None:
    """Return the id in the root mark below the descriptor `root`, None when there is no mark.

    Raises:
        RootLost: the mark cannot be read as one.
        Misconfigured: the mark tells of a layout that this version does not know.
    """
    data = files.read_small(root, _MARK_PATH)
    if data is None:
        return None
    try:
        mark = json.loads(data)
        layout, root_id = mark["layout"], mark["rootID"]
    except (ValueError, KeyError, TypeError) as error:
        raise RootLost(f"the root mark {_MARK_PATH} is damaged: {error!r}") from error
    if layout != LAYOUT:
        raise Misconfigured(f"the root mark {_MARK_PATH} tells of layout {layout!r}, not {LAYOUT}")
    if not isinstance(root_id, str) or not _ID.fullmatch(root_id):
        raise RootLost(f"the root mark {_MARK_PATH} is damaged: rootID {root_id!r}")
    return root_id


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise RootMissing(f"{path} does not exist") from error
    except NotADirectoryError as error:
        raise Misconfigured(f"{path} is not a directory") from error


@contextmanager
def opened_root(path: str) -> Iterator[int]:
    """Open the root directory for the length of a `with` block; links to it are the admin's own.

    Raises:
        RootMissing: there is nothing at `path`.
        Misconfigured: it is not a directory.
    """
    root = _open(path)
    try:
        yield root
    finally:
        os.close(root)


@contextmanager
def verified_root(path: str, root_id: str) -> Iterator[int]:
    """Open the root for the length of a `with` block, its mark compared through the descriptor.

    Raises:
        RootLost: there is no root, no mark, or the mark of another root.
    """
    try:
        root = _open(path)
    except Misconfigured as error:
        raise RootLost(f"{error}; it was there before") from error
    try:
        compare(root, path, root_id)
        yield root
    finally:
        os.close(root)


def compare(root: int, path: str, root_id: str) -> None:
    """Raise RootLost unless the mark below `root` holds `root_id`."""
    found = read_root_id(root)
    if found is None:
        raise RootLost(
            f"{path} has no root mark, expected {root_id}: the storage is not mounted there"
        )
    if found != root_id:
        raise RootLost(f"{path} has the root mark {found}, expected {root_id}: another storage")


def initialise(root: int) -> str:
    """Return the id of the root, written now if there is none; two racing writers get the same."""
    found = read_root_id(root)
    if found is not None:
        return found
    with files.made_directory(root, CONTROL_DIR, 0o711) as control:
        for name in (MARKS_DIR, NAMES_DIR, TEMP_DIR):
            os.close(files.make_directory(control, name, 0o700))
        mark = json.dumps({"layout": LAYOUT, "rootID": secrets.token_hex(16)})
        with suppress(FileExistsError):
            # Anybody may read it: the node plugin can be an unprivileged user to an NFS server.
            files.create(root, control, ROOT_MARK, mark.encode() + b"\n", 0o644)
    found = read_root_id(root)
    if found is None:
        raise RootLost(f"the root mark {_MARK_PATH} is gone right after it was written")
    return found

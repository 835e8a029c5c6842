"""The index of names: which scope or folder an object of that name had.

An object that is deleted with its data kept, and later applied again, has a new uid and no status;
only its name leads back to the data. The index is a hint: what counts is the mark of what it names,
so an entry without such a mark is stale and ignored.
"""

import os
from contextlib import suppress
from enum import StrEnum
from typing import Final

from vfolder_backends.layout import CONTROL_DIR, NAMES_DIR
from vfolder_backends.openat import directory
from vfolder_backends.port import Owner
from vfolder_backends.tree import files
from vfolder_backends.tree.marks import check_owner

_ATTEMPTS: Final = 16


class Kind(StrEnum):
    """What a name is the name of."""

    SCOPES = "scopes"
    FOLDERS = "folders"


def _namespace_path(kind: Kind, owner: Owner) -> str:
    check_owner(owner)
    return f"{CONTROL_DIR}/{NAMES_DIR}/{owner.cluster}/{owner.namespace}/{kind}"


def recall(root: int, kind: Kind, owner: Owner) -> str | None:
    """Return what the entry of `owner` holds, None when there is none."""
    data = files.read_small(root, f"{_namespace_path(kind, owner)}/{owner.name}")
    return None if data is None else data.decode("ascii", "replace").strip()


def remember(root: int, kind: Kind, owner: Owner, target: str) -> None:
    """Let the name of `owner` lead to `target`."""
    if recall(root, kind, owner) == target:
        return
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with files.made_directory(root, _namespace_path(kind, owner)) as folder:
                files.replace(root, folder, owner.name, target.encode() + b"\n")
            return
        except FileNotFoundError:  # `forget` removed the directory in the same moment
            if attempt == _ATTEMPTS:
                raise


def forget(root: int, kind: Kind, owner: Owner, target: str) -> None:
    """Remove the entry of `owner` if it leads to `target`, and directories that empty with it."""
    if recall(root, kind, owner) not in (None, target):
        return
    with suppress(FileNotFoundError), directory(root, _namespace_path(kind, owner)) as folder:
        os.unlink(owner.name, dir_fd=folder)
    path = _namespace_path(kind, owner)
    for _ in ("kind", "namespace"):
        above, _, name = path.rpartition("/")
        try:
            with directory(root, above) as folder:
                if not files.remove_if_empty(folder, name):
                    return
        except FileNotFoundError:
            return
        path = above

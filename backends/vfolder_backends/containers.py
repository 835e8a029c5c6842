"""A scope's container where it is a directory that we make and an array puts a limit on.

Made and removed through the mount, so that making is exclusive and removing never takes anything
with it. Before the limit goes the container is set aside: renamed to where no user gets at it. So
there is no moment at which a tenant's directory is in its place without a limit, and after a crash
it is found there, still with its number, by which arrays know the limit.
"""

import os
import secrets
from contextlib import suppress
from typing import Final

from vfolder_backends.errors import NotEmpty
from vfolder_backends.ids import ScopeHex
from vfolder_backends.layout import CONTROL_DIR, GONE_DIR
from vfolder_backends.openat import directory, rename_noreplace
from vfolder_backends.tree import files

MODE: Final = 0o711  # passed through, never listed, by those who mount a folder below it
_GONE: Final = f"{CONTROL_DIR}/{GONE_DIR}"
_PROBE: Final = "probe-"
_STALE_SECONDS: Final = 3600.0  # long after the deadline of whoever made it


def make(root: int, scope: ScopeHex) -> None:
    """Make the directory; there already is success."""
    os.close(files.make_directory(root, scope.value, MODE))


def inode(root: int, scope: ScopeHex) -> int:
    """Return the number of the directory (`FileNotFoundError`)."""
    with directory(root, scope.value) as container:
        return os.fstat(container).st_ino


def present(root: int) -> frozenset[str]:
    """Return the names of all directories in the root."""
    with os.scandir(root) as entries:
        return frozenset(e.name for e in entries if e.is_dir(follow_symlinks=False))


def aside_path(scope: ScopeHex) -> str:
    """Where a container lies that was set aside, relative to the root."""
    return f"{_GONE}/{scope}"


def set_aside(root: int, scope: ScopeHex) -> bool:
    """Rename an empty container aside; return whether one lies there now, be it from before.

    Raises:
        NotEmpty: something lies in it; it stays, or comes back, where it was.
    """
    aside = aside_path(scope)
    try:
        if not _is_directory(root, aside):
            _require_empty(root, scope.value, scope)
            # Another actor may be quicker, and as far as we are.
            with files.made_directory(root, _GONE), suppress(FileExistsError):
                rename_noreplace(root, scope.value, aside)
        _require_empty(root, aside, scope)
    except FileNotFoundError:
        files.remove_if_empty(root, _GONE)
        return False
    except NotEmpty:
        bring_back(root, scope)
        raise
    return True


def bring_back(root: int, scope: ScopeHex) -> None:
    """Undo `set_aside`; a container made meanwhile in its place stays where it is."""
    with suppress(FileNotFoundError, FileExistsError):
        rename_noreplace(root, aside_path(scope), scope.value)


def remove_aside(root: int, scope: ScopeHex) -> None:
    """Remove what was set aside; gone is success (`NotEmpty`)."""
    if not files.remove_if_empty(root, aside_path(scope)):
        raise NotEmpty(f"scope {scope} is not empty any more: see {aside_path(scope)}")
    files.remove_if_empty(root, _GONE)


def make_probe(root: int) -> str:
    """Make an empty directory that nobody else knows of; return its path below the root.

    Those that are left of probes that were cut off are removed on the way.
    """
    path = f"{_GONE}/{_PROBE}{secrets.token_hex(8)}"
    with files.made_directory(root, path) as made:
        now = os.fstat(made).st_mtime  # by the storage's clock, as theirs
    for name in files.list_names(root, _GONE):
        if name.startswith(_PROBE):
            with suppress(FileNotFoundError), directory(root, f"{_GONE}/{name}") as old:
                if now - os.fstat(old).st_mtime > _STALE_SECONDS:
                    files.remove_if_empty(root, f"{_GONE}/{name}")
    return path


def remove_probe(root: int, path: str) -> None:
    """Remove it again."""
    files.remove_if_empty(root, path)
    files.remove_if_empty(root, _GONE)


def _is_directory(root: int, path: str) -> bool:
    try:
        with directory(root, path):
            return True
    except FileNotFoundError:
        return False


def _require_empty(root: int, path: str, scope: ScopeHex) -> None:
    with directory(root, path) as container, os.scandir(container) as entries:
        found = next(entries, None)
    if found is not None:
        raise NotEmpty(f"scope {scope} is not empty: {found.name} lies in it")

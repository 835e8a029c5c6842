"""Folders of the in-memory backend: how they are told, filled and purged."""

import time
from dataclasses import replace

from vfolder_backends.errors import NotFound, NotOurs
from vfolder_backends.ids import FolderHex, ScopeHex
from vfolder_backends.layout import folder_path
from vfolder_backends.port import (
    FolderAttributes,
    FolderPhase,
    FolderState,
    Progress,
    PurgePolicy,
    PurgeResult,
    Usage,
)
from vfolder_backends.testing.memory_storage import Folder, Life, Scope, Tree


def folder_states(tree: Tree, scope: ScopeHex, folder: FolderHex) -> list[FolderState]:
    """The states of one folder, the one that `describe_folder` shows first (`NotFound`)."""
    held = tree.scopes.get(scope)
    entry = held.folders.get(folder) if held else None
    if entry is None:
        raise NotFound(f"folder {scope}/{folder} does not exist")
    path = folder_path(scope, folder)
    first = entry.live or entry.trashed
    lives = sorted(entry.lives, key=lambda life: life is not first)
    return [
        FolderState(
            scope,
            folder,
            entry.owner,
            life.phase,
            path,
            life.attributes,
            Usage(life.bytes, 1 + life.files, time.time()) if tree.counts_folders else None,
            life.since,
            _expires(entry, life),
            _progress(life),
        )
        for life in lives
    ] or [FolderState(scope, folder, entry.owner, FolderPhase.MISSING, path)]


def _expires(entry: Folder, life: Life) -> float | None:
    if life.phase is not FolderPhase.TRASHED or life.since is None or entry.keep is None:
        return None
    return life.since + entry.keep


def _progress(life: Life) -> Progress | None:
    if life.source is None or life.since is not None:
        return None
    return Progress("Copying", "copying", life.copied, life.source.files)


def fill(life: Life, files: int) -> None:
    """Go on with the copy that makes a clone, by so many files."""
    source = life.source
    if source is None:
        return
    life.copied = min(source.files, life.copied + files)
    life.files = life.copied
    if life.copied == source.files:
        life.bytes, life.source = source.bytes, None


def merged(have: FolderAttributes, want: FolderAttributes) -> FolderAttributes:
    """What is there after what is wanted was set."""
    chosen = {
        name: getattr(want, name) if getattr(want, name) is not None else getattr(have, name)
        for name in ("uid", "gid", "mode")
    }
    return replace(have, **chosen)


def purge(held: Scope | None, policy: PurgePolicy) -> PurgeResult:
    """Remove trash as `port.StorageBackend.purge` does; each file of a folder is one entry."""
    folders, entries, foreign = 0, 0, None
    for since, folder, entry, life in _waiting(held):
        if not (life.doomed or policy.due(folder, since, _expires(entry, life))):
            continue
        owner = entry.owner
        if owner is None:
            continue
        if policy.cluster not in (None, owner.cluster):
            foreign = NotOurs(f"folder {folder} in the trash belongs to {owner}")
            continue
        life.doomed = True
        taken = min(life.files, policy.budget - entries)
        entries += taken
        life.bytes -= life.bytes * taken // life.files if life.files else life.bytes
        life.files -= taken
        if life.files:
            return PurgeResult(folders, entries, more=True)
        entry.lives.remove(life)
        if not entry.lives and held is not None:
            del held.folders[folder]
        folders += 1
    if foreign is not None:
        raise foreign
    return PurgeResult(folders, entries, more=False)


def _waiting(held: Scope | None) -> list[tuple[float, FolderHex, Folder, Life]]:
    found = [
        (life.since, folder, entry, life)
        for folder, entry in (held.folders.items() if held else ())
        for life in entry.lives
        if life.since is not None
    ]
    return sorted(found, key=lambda item: item[0])

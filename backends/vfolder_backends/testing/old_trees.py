"""Trees of the storage proxy whose layouts are adopted and migrated, made for tests.

And a portrait of a tree that is taken by other means than the engine's own walk.
"""

import csv
import hashlib
import os
import stat
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vfolder_backends.ids import FolderHex, ScopeHex
from vfolder_backends.layout import folder_path

DAY: Final = 86_400 * 10**9
Portrait = dict[str, tuple[object, ...]]


@dataclass(frozen=True, slots=True)
class OldFolder:
    """One folder of the predecessor's."""

    scope: ScopeHex
    folder: FolderHex
    name: str

    @classmethod
    def of(cls, scope: int, folder: int) -> "OldFolder":
        """Ids from small numbers."""
        hexes = FolderHex(uuid.uuid5(uuid.NAMESPACE_OID, f"{scope}/{folder}").hex)
        return cls(scope_of(scope), hexes, f"set-{scope}-{folder}")

    def path(self, root: Path, layout: int) -> Path:
        """Where it lies."""
        path = folder_path(self.scope, self.folder)
        return root / (path if layout == 3 else path.partition("/")[2])


def scope_of(number: int) -> ScopeHex:
    """A scope's id from a small number."""
    return ScopeHex(uuid.uuid5(uuid.NAMESPACE_DNS, str(number)).hex)


def plant(root: Path, folder: OldFolder, layout: int, *, owner: tuple[int, int] | None) -> Path:
    """Make a folder with a bit of everything in it."""
    top = folder.path(root, layout)
    (top / "sub" / "deep").mkdir(parents=True)
    (top / "file").write_bytes(folder.name.encode() * 1000)
    (top / "file").chmod(0o640)
    (top / "sub" / "empty").touch()
    (top / "sub" / "ünïcode name").write_text("x")
    os.link(top / "file", top / "sub" / "twin")
    (top / "sub" / "link").symlink_to("../file")
    (top / "sub" / "dangling").symlink_to("/nowhere")
    with (top / "sub" / "sparse").open("wb") as file:
        file.truncate(1 << 20)
    os.setxattr(top / "file", "user.origin", folder.name.encode())
    for path in (top / "file", top / "sub" / "empty"):
        os.utime(path, ns=(DAY, 2 * DAY))
    if owner is not None:
        for path in (top, *top.rglob("*")):
            os.chown(path, *owner, follow_symlinks=False)
        for above in top.relative_to(root).parents:
            if above != Path():
                os.chown(root / above, *owner)
    return top


def write_mapping(
    path: Path, folders: Iterable[OldFolder], more: Mapping[str, str] | None = None
) -> Path:
    """Write a mapping file with a row for each folder; `more` holds columns that are the same."""
    extra = dict(more or {})
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["folder_id", "quota_scope_id", "name", *extra])
        for folder in folders:
            scope = f"project:{folder.scope.uuid}"
            writer.writerow([folder.folder.uuid, scope, folder.name, *extra.values()])
    return path


def portrait(top: Path) -> Portrait:
    """Everything that can be seen of a tree but access and status-change times, by path.

    Times of directories are left out: they change when something is moved out and back.
    """
    seen: Portrait = {}
    for path in (top, *sorted(top.rglob("*"))):
        found = path.lstat()
        folder = stat.S_ISDIR(found.st_mode)
        content: object = None
        if stat.S_ISREG(found.st_mode):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        elif stat.S_ISLNK(found.st_mode):
            content = os.readlink(path)
        seen[str(path.relative_to(top))] = (
            found.st_mode,
            found.st_uid,
            found.st_gid,
            None if folder else (found.st_ino, found.st_size, found.st_nlink, found.st_mtime_ns),
            content,
            tuple(
                (key, os.getxattr(path, key, follow_symlinks=False))
                for key in sorted(os.listxattr(path, follow_symlinks=False))
            ),
        )
    return seen


def users_data(root: Path) -> Portrait:
    """The same without what is ours."""
    mine = (".vfolder",)
    return {path: facts for path, facts in portrait(root).items() if not path.startswith(mine)}

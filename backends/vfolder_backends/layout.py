"""Where things lie below a backend's root; pure functions, no input or output.

    <root>/<scope 32 hex>/<2>/<2>/<28>                      a folder
    <root>/<scope 32 hex>/<2>/<2>/.new-<28>                 being made, or filled; never handed out
    <root>/<scope 32 hex>/<2>/<2>/.trash-<28>-<hex time>    a folder in the trash: it can come back
    <root>/<scope 32 hex>/<2>/<2>/.purge-<28>-<hex time>    being removed, no way back
    <root>/.vfolder/root                                    the root mark
    <root>/.vfolder/marks/<scope>/scope                     owner mark of a scope
    <root>/.vfolder/marks/<scope>/intent                    who is about to make that scope
    <root>/.vfolder/marks/<scope>/<folder>                  owner mark of a folder
    <root>/.vfolder/projects/<id>                           which scope claims a project id
    <root>/.vfolder/projects/last                           the highest id that was ever claimed
    <root>/.vfolder/projects/of-<scope>                     the project id that is the scope's
    <root>/.vfolder/projects/tagging-<scope>                how far a walk is that gives it to all
    <root>/.vfolder/projects/new-<scope>                    a scope's directory being made
    <root>/.vfolder/clones/<scope>/<folder>                 how far a clone is, and of what
    <root>/.vfolder/clones/lock                             held, in part, by whoever fills a clone
    <root>/.vfolder/retired/<scope>                         removed once its trash is gone: for whom
    <root>/.vfolder/retired/<scope>.doomed                  the same, being removed
    <root>/.vfolder/marks/<scope>.doomed/                   the marks of that scope
    <root>/.vfolder/names/<cluster>/<namespace>/<kind>/<name>    index: which id a name had
    <root>/.vfolder/tmp/<random>                            a mark or an index entry being written
    <root>/.vfolder/migrate/{open,<time>.jsonl}             migrations from layout 2: see adoption/
    <root>/.vfolder/gone/<scope>                            an empty scope whose limit is removed

The first line is the layout (version 3) of the system this one follows, so its trees can be
adopted as they lie. Marks live outside the scopes: they are charged to no quota, so a scope that is
full can still be emptied, and no user can reach them.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from vfolder_backends.ids import FolderHex, ScopeHex

CONTROL_DIR: Final = ".vfolder"
ROOT_MARK: Final = "root"
MARKS_DIR: Final = "marks"
NAMES_DIR: Final = "names"
RETIRED_DIR: Final = "retired"
SCOPE_MARK: Final = "scope"
INTENT_MARK: Final = "intent"
PROJECTS_DIR: Final = "projects"
LAST_PROJECT: Final = "last"
CLONES_DIR: Final = "clones"
CLONES_LOCK: Final = "lock"
TEMP_DIR: Final = "tmp"
GONE_DIR: Final = "gone"

_ASIDE = re.compile(r"\.(trash|purge)-([0-9a-f]{28})-([0-9a-f]{1,16})")
_PREFIX = re.compile(r"[0-9a-f]{2}")
_LEAF = re.compile(r"[0-9a-f]{28}")


class Aside(StrEnum):
    """Why a folder's directory was renamed aside."""

    TRASH = "trash"
    PURGE = "purge"


@dataclass(frozen=True, slots=True)
class AsideName:
    """The parsed name of a directory in the trash; `since` is in seconds since 1970."""

    why: Aside
    leaf: str
    since: int

    @classmethod
    def parse(cls, name: str) -> "AsideName | None":
        """Return None for every other name."""
        match = _ASIDE.fullmatch(name)
        return cls(Aside(match[1]), match[2], int(match[3], 16)) if match else None

    def __str__(self) -> str:
        return f".{self.why}-{self.leaf}-{self.since:x}"


def project_mark_name(scope: ScopeHex) -> str:
    """The name of the file that says which project is the scope's."""
    return f"of-{scope}"


def tagging_note_name(scope: ScopeHex) -> str:
    """The name of the file that says how far the scope's tree is charged to its project."""
    return f"tagging-{scope}"


def new_scope_name(scope: ScopeHex) -> str:
    """The name below `PROJECTS_DIR` that a scope's directory has until it has its project."""
    return f"new-{scope}"


def prefix_parts(folder: FolderHex) -> tuple[str, str]:
    """The two directory levels that spread folders over a scope."""
    return folder.value[:2], folder.value[2:4]


def is_prefix(name: str) -> bool:
    """Whether a name can be one of these two levels."""
    return _PREFIX.fullmatch(name) is not None


def leaf_name(folder: FolderHex) -> str:
    """The name of the folder's own directory."""
    return folder.value[4:]


def new_name(folder: FolderHex) -> str:
    """The name a folder has while it is being made."""
    return f".new-{leaf_name(folder)}"


def is_new_name(name: str) -> bool:
    """Whether a name is one that `new_name` gives."""
    return name.startswith(".new-") and _LEAF.fullmatch(name[5:]) is not None


def folder_parts(scope: ScopeHex, folder: FolderHex) -> tuple[str, str, str, str]:
    """All path components of a folder below the root."""
    return scope.value, *prefix_parts(folder), leaf_name(folder)


def folder_path(scope: ScopeHex, folder: FolderHex) -> str:
    """The same as text, relative to the root."""
    return "/".join(folder_parts(scope, folder))


def folder_from_parts(first: str, second: str, leaf: str) -> FolderHex | None:
    """The folder a directory belongs to, or None if the names are not ours."""
    if not _LEAF.fullmatch(leaf):
        return None
    try:
        folder = FolderHex(first + second + leaf)
    except ValueError:
        return None
    return folder if (first, second) == prefix_parts(folder) else None

"""Owner marks: which Kubernetes object a scope or a folder belongs to.

The mark, not the directory, is the commitment that something was made for somebody. A mark that
cannot be read never counts as absent: what cannot be proven to be ours is not touched.
"""

import json
import math
import os
import re
from dataclasses import dataclass
from typing import Final

from vfolder_backends.errors import Misconfigured, NotOurs
from vfolder_backends.ids import FolderHex, ScopeHex
from vfolder_backends.layout import CONTROL_DIR, INTENT_MARK, MARKS_DIR, SCOPE_MARK
from vfolder_backends.openat import directory
from vfolder_backends.port import Adoption, Owner
from vfolder_backends.tree import files

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_ALL: Final = f"{CONTROL_DIR}/{MARKS_DIR}"


@dataclass(frozen=True, slots=True)
class Mark:
    """What an owner mark says.

    Attributes:
        owner: whom it belongs to.
        keep: for how many seconds it can come back from the trash, if it was trashed with a time
            of its own. It stands here, and not on the object, to outlive the object.
    """

    owner: Owner
    keep: float | None = None


def check_owner(owner: Owner) -> Owner:
    """Return `owner` if each of its parts can stand in a path.

    Raises:
        Misconfigured: a part is not a lower-case DNS name of at most 253 characters.
    """
    for part in (owner.cluster, owner.namespace, owner.name):
        if not _NAME.fullmatch(part):
            raise Misconfigured(f"{part!r} in the owner {owner} is not a lower-case DNS name")
    return owner


def read(root: int, scope: ScopeHex, name: str) -> Owner | None:
    """Return the owner in one mark; see `read_mark`."""
    mark = read_mark(root, scope, name)
    return None if mark is None else mark.owner


def read_mark(root: int, scope: ScopeHex, name: str) -> Mark | None:
    """Return what one mark says, None when there is no such mark.

    Args:
        root: the root's descriptor.
        scope: the scope the mark lies under.
        name: `SCOPE_MARK`, `INTENT_MARK` or a folder's 32 digits.

    Raises:
        NotOurs: the mark is damaged.
    """
    path = f"{_ALL}/{scope}/{name}"
    data = files.read_small(root, path)
    return None if data is None else parse(data, path)


def parse(data: bytes, path: str) -> Mark:
    """Return what the content of a mark says.

    Raises:
        NotOurs: it is damaged.
    """
    try:
        mark = json.loads(data)
        owner = check_owner(Owner(mark["cluster"], mark["namespace"], mark["name"]))
        keep = mark.get("keepSeconds")
        if keep is not None and not math.isfinite(keep):
            raise ValueError(f"keepSeconds {keep!r}")
        return Mark(owner, None if keep is None else float(keep))
    except (ValueError, KeyError, TypeError, AttributeError, Misconfigured) as error:
        raise NotOurs(f"the owner mark {path} is damaged, nothing is touched: {error!r}") from error


def content(owner: Owner, keep: float | None = None) -> bytes:
    """Return what a mark of that owner holds."""
    mark: dict[str, str | float] = {
        "cluster": owner.cluster,
        "namespace": owner.namespace,
        "name": owner.name,
    }
    if keep is not None:
        mark["keepSeconds"] = keep
    return json.dumps(mark).encode() + b"\n"


def claim(root: int, scope: ScopeHex, name: str, owner: Owner, keep: float | None = None) -> None:
    """Write a mark that is not there yet.

    Raises:
        FileExistsError: it is there, whoever wrote it.
    """
    with files.made_directory(root, f"{_ALL}/{scope}") as folder:
        files.create(root, folder, name, content(owner, keep))


def take_over(
    root: int, scope: ScopeHex, name: str, owner: Owner, keep: float | None = None
) -> None:
    """Write a mark over the one that is there."""
    with files.made_directory(root, f"{_ALL}/{scope}") as folder:
        files.replace(root, folder, name, content(owner, keep))


def remove(root: int, scope: ScopeHex, name: str) -> None:
    """Remove a mark; absent is success."""
    try:
        with directory(root, f"{_ALL}/{scope}") as folder:
            os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return


def scopes(root: int) -> list[ScopeHex]:
    """Return the scopes that have a directory of marks."""
    found = []
    for name in files.list_names(root, _ALL):
        try:
            found.append(ScopeHex(name))
        except ValueError:
            continue
    return sorted(found)


def folders(root: int, scope: ScopeHex) -> list[FolderHex]:
    """Return the folders of a scope that have a mark."""
    found = []
    for name in files.list_names(root, f"{_ALL}/{scope}"):
        if name not in (SCOPE_MARK, INTENT_MARK):
            try:
                found.append(FolderHex(name))
            except ValueError:
                continue
    return sorted(found)


def remove_directory(root: int, scope: ScopeHex) -> None:
    """Remove the directory of a scope's marks if it is empty."""
    with directory(root, _ALL) as folder:
        files.remove_if_empty(folder, scope.value)


def check_taking(what: str, holder: Owner | None, owner: Owner, adoption: Adoption | None) -> None:
    """Raise NotOurs unless `owner` holds `what`, or may take it from whoever does.

    Args:
        what: what is asked for, for the message.
        holder: whom its mark names, None for data without a mark.
        owner: who asks.
        adoption: the leave to take it over.
    """
    if holder == owner:
        return
    if (
        adoption is not None
        and adoption.previous in (None, holder)
        and (adoption.marked or holder is None)
    ):
        return
    if holder is None:
        raise NotOurs(f"{what} lies there without an owner mark; taking it needs an adoption entry")
    raise NotOurs(f"{what} belongs to {holder}, not to {owner}")

"""The columns of a mapping file, and how one record becomes a `Row`; errors name column and value.

A mapping is an export of the storage proxy's folder table, or a table made by hand. Columns:

    folder_id         uuid or 32 digits of the folder; also called id or vfolder_id. Required.
    quota_scope_id    user:<uuid> or project:<uuid>; or, in its place,
    ownership_type    user, project or group, with the uuid in owner_id, user, group or project
    name              the folder's name
    vfolder           name of the VFolder, where `name` cannot be one
    namespace         namespace of scope and folder; default by the command line
    scope_name        name of the QuotaScope; default <type>-<uuid>
    quota_bytes       byte limit of the scope: a quantity or Unlimited; empty leaves it as it is
    quota_files       file limit of the scope: a number or Unlimited
    max_size          the folder's own limit in MiB, only reported
    host              <proxy>:<volume>; rows of other volumes can be passed over
    status            rows of deleted folders are moved, and not adopted
    unmanaged_path    rows with one lie elsewhere and are passed over

All others are passed over. Names are compared without regard to case.
"""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from vfolder_backends.adoption.failures import MappingError
from vfolder_backends.ids import FolderHex, QuotaScopeID, ScopeHex, ScopeKind
from vfolder_backends.sizes import MAX_BYTES, UNLIMITED, parse_limit

_ID_COLUMNS: Final = ("folder_id", "vfolder_id", "id")
_OWNER_COLUMNS: Final = ("owner_id", "user", "group", "project")
_KINDS: Final = {"user": ScopeKind.USER, "project": ScopeKind.PROJECT, "group": ScopeKind.PROJECT}
_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_GONE: Final = re.compile(r"delete|purge|trash", re.IGNORECASE)
_NUMBER: Final = re.compile(r"[0-9]{1,18}")
_MIB: Final = 1 << 20

KEEP: Final = "keep"
"""A limit of which the mapping says nothing."""


@dataclass(frozen=True, slots=True)
class Defaults:
    """What holds where a record says nothing.

    Attributes:
        namespace: for rows without one; empty makes the column required.
        volume: only rows of this volume count; empty takes all.
        adapt_names: make a name that Kubernetes takes out of one that it does not.
    """

    namespace: str = ""
    volume: str = ""
    adapt_names: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One folder of the mapping.

    Attributes:
        name: name of the VFolder; empty where none can be made of what is given.
        given_name: as it is in the mapping.
        bytes: limit of the scope as text: a number, `Unlimited` or `keep`.
        files: likewise.
        deleted: the status it was deleted with, empty for a live one.
    """

    folder: FolderHex
    scope: QuotaScopeID
    namespace: str
    scope_name: str
    name: str
    given_name: str
    bytes: str
    files: str
    old_quota: int | None
    deleted: str


class Wrong(MappingError):
    """One value of a record cannot be used."""

    def __init__(self, column: str, value: str, allowed: str) -> None:
        super().__init__(f"column {column}: {value[:80]!r} {allowed}")


def parse_row(record: Mapping[str, str], defaults: Defaults) -> Row | None:
    """Read one record, its keys in lower case.

    Returns:
        None for a row that is about another volume, or lies elsewhere.

    Raises:
        Wrong: a value that is missing or not allowed.
    """
    host = record.get("host", "")
    if record.get("unmanaged_path") or (
        defaults.volume and host and host.rpartition(":")[2] != defaults.volume
    ):
        return None
    folder = _folder(record)
    scope = _scope(record)
    namespace = record.get("namespace") or defaults.namespace
    if not _LABEL.fullmatch(namespace):
        raise Wrong("namespace", namespace, "is not the name of a namespace (a DNS label)")
    scope_name = record.get("scope_name") or default_scope_name(scope)
    if not _NAME.fullmatch(scope_name):
        raise Wrong("scope_name", scope_name, "is not an object's name (lower-case DNS name)")
    explicit, given = record.get("vfolder", ""), record.get("name", "")
    if explicit and not _NAME.fullmatch(explicit):
        raise Wrong("vfolder", explicit, "is not an object's name (lower-case DNS name)")
    name = explicit or given or folder.uuid
    if not _NAME.fullmatch(name):
        name = adapted(name) if defaults.adapt_names else ""
    status = record.get("status", "")
    return Row(
        folder,
        scope,
        namespace,
        scope_name,
        name,
        given or folder.uuid,
        _limit(record, "quota_bytes"),
        _limit(record, "quota_files"),
        _mebibytes(record),
        status if _GONE.search(status) else "",
    )


def default_scope_name(scope: QuotaScopeID) -> str:
    """The QuotaScope's name where nobody gave one."""
    return f"{scope.kind}-{scope.hex.uuid}"


def adapted(name: str) -> str:
    """The nearest name that Kubernetes takes; empty if nothing is left of it."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.")[:253].rstrip("-.")


def _folder(record: Mapping[str, str]) -> FolderHex:
    column = next((c for c in _ID_COLUMNS if record.get(c)), _ID_COLUMNS[0])
    value = record.get(column, "")
    # The proxy also writes <scope id>/<folder id>.
    return FolderHex(_hex(column, value.rpartition("/")[2], value))


def _scope(record: Mapping[str, str]) -> QuotaScopeID:
    if text := record.get("quota_scope_id", ""):
        kind, colon, rest = text.partition(":")
        known = _KINDS.get(kind.lower())
        if not colon or known is None:
            raise Wrong("quota_scope_id", text, "is not user:<uuid> or project:<uuid>")
        return QuotaScopeID(known, ScopeHex(_hex("quota_scope_id", rest, text)))
    kind = record.get("ownership_type", "")
    known = _KINDS.get(kind.lower())
    if known is None:
        raise Wrong(
            "ownership_type",
            kind,
            "is not user, project or group, and there is no quota_scope_id either",
        )
    columns = ("owner_id", "user") if known is ScopeKind.USER else ("owner_id", "group", "project")
    column = next((c for c in columns if record.get(c)), columns[0])
    value = record.get(column, "")
    return QuotaScopeID(known, ScopeHex(_hex(column, value, value)))


def _hex(column: str, text: str, shown: str) -> str:
    try:
        if len(text) not in (32, 36):
            raise ValueError(text)
        return uuid.UUID(text).hex
    except ValueError as error:
        raise Wrong(column, shown, "is not a uuid") from error


def _limit(record: Mapping[str, str], column: str) -> str:
    value = record.get(column, "")
    if not value:
        return KEEP
    try:
        limit = parse_limit(value)
    except ValueError as error:
        allowed = "is not a whole quantity of at least 1, such as 500Gi, or Unlimited"
        raise Wrong(column, value, allowed) from error
    return UNLIMITED if limit is None else str(limit)


def _mebibytes(record: Mapping[str, str]) -> int | None:
    value = record.get("max_size", "")
    if not value or value.lower() in ("none", "null"):
        return None
    if not _NUMBER.fullmatch(value) or int(value) * _MIB > MAX_BYTES:
        raise Wrong("max_size", value, "is not a number of MiB")
    return int(value) * _MIB

"""The mapping: which scope, name and namespace each folder has, and what of it was seen on disk.

Held in a temporary database of the standard library's, which spills to disk by itself: a mapping of
millions of rows needs a few megabytes of memory.
"""

import csv
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, Final

from vfolder_backends.adoption.columns import KEEP, Defaults, Row, Wrong, parse_row
from vfolder_backends.adoption.failures import MappingError
from vfolder_backends.ids import FolderHex, QuotaScopeID, ScopeHex
from vfolder_backends.port import Limits
from vfolder_backends.sizes import parse_limit

_SCHEMA: Final = """
    CREATE TABLE scopes (hex TEXT PRIMARY KEY, id TEXT, namespace TEXT, name TEXT, bytes TEXT,
        files TEXT, line INTEGER, UNIQUE (namespace, name)) WITHOUT ROWID;
    CREATE TABLE folders (hex TEXT PRIMARY KEY, scope TEXT, name TEXT, given TEXT, quota INTEGER,
        deleted TEXT, line INTEGER, namespace TEXT, seen INTEGER DEFAULT 0) WITHOUT ROWID;
    CREATE INDEX by_scope ON folders (scope, hex);
    CREATE INDEX by_name ON folders (namespace, name);
"""
ELSEWHERE: Final = 1
"""Stands for a layout where a folder was seen in another scope than the mapping says."""

_FOLDER: Final = "SELECT hex, scope, name, given, quota, deleted, line, seen FROM folders"


@dataclass(frozen=True, slots=True)
class MappedScope:
    """What the mapping says of a scope; a limit of None is unlimited, `limits_said` if said."""

    id: QuotaScopeID
    namespace: str
    name: str
    bytes: str
    files: str
    line: int

    @property
    def limits_said(self) -> bool:
        """Whether the mapping gives a limit."""
        return (self.bytes, self.files) != (KEEP, KEEP)

    def limits(self, present: Limits) -> Limits:
        """The limits to set, where a limit that is not said stays as it is."""
        return Limits(
            present.bytes if self.bytes == KEEP else parse_limit(self.bytes),
            present.files if self.files == KEEP else parse_limit(self.files),
        )


@dataclass(frozen=True, slots=True)
class MappedFolder:
    """What the mapping says of a folder; `seen` holds the layouts it was seen in, as bits.

    `name` is empty where Kubernetes does not take what is given.
    """

    folder: FolderHex
    scope: ScopeHex
    name: str
    given_name: str
    old_quota: int | None
    deleted: str
    line: int
    seen: int

    def seen_in(self, layout: int) -> bool:
        """Whether it was seen in that layout."""
        return bool(self.seen & 1 << layout)


class MappingTable:
    """A mapping that was read and found consistent."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", check_same_thread=False)
        self._db.executescript(_SCHEMA)

    @classmethod
    def load(cls, path: Path, defaults: Defaults) -> "MappingTable":
        """Read a file: CSV with a header, a JSON list of objects, or JSON lines.

        Raises:
            MappingError: with file, line, column and value.
        """
        table = cls()
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                for line, record in _records(path, file):
                    table._take(path, line, record, defaults)
        except (OSError, UnicodeDecodeError) as error:
            raise MappingError(f"{path}: cannot be read: {error}") from error
        table._db.commit()
        return table

    def _take(self, path: Path, line: int, record: Mapping[str, str], defaults: Defaults) -> None:
        try:
            row = parse_row(record, defaults)
            if row is not None:
                self.add(row, line)
        except MappingError as error:
            raise MappingError(f"{path}: line {line}, {error}") from error

    def close(self) -> None:
        """Drop it."""
        self._db.close()

    def add(self, row: Row, line: int) -> None:
        """Add one row.

        Raises:
            MappingError: it contradicts an earlier one.
        """
        scope = row.scope
        known = self.scope(scope.hex)
        says = MappedScope(scope, row.namespace, row.scope_name, row.bytes, row.files, line)
        if known is None:
            try:
                self._db.execute(
                    "INSERT INTO scopes VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (scope.hex.value, str(scope), *astuple(says)[1:]),
                )
            except sqlite3.IntegrityError as error:
                raise MappingError(
                    f"column scope_name: {row.scope_name!r} in namespace {row.namespace!r} is the"
                    " name of another scope already"
                ) from error
        else:
            for column, new, old in (
                ("quota_scope_id", says.id, known.id),
                ("namespace", says.namespace, known.namespace),
                ("scope_name", says.name, known.name),
                ("quota_bytes", says.bytes, known.bytes),
                ("quota_files", says.files, known.files),
            ):
                if new != old:
                    raise MappingError(
                        f"column {column}: {str(new)!r} differs from {str(old)!r} in line"
                        f" {known.line}, and both are of scope {scope.hex.uuid}"
                    )
        try:
            self._db.execute(
                "INSERT INTO folders VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0)",
                (
                    row.folder.value,
                    scope.hex.value,
                    row.name,
                    row.given_name,
                    row.old_quota,
                    row.deleted,
                    line,
                    row.namespace,
                ),
            )
        except sqlite3.IntegrityError as error:
            raise MappingError(
                f"column folder_id: {row.folder.uuid!r} is in line {self._line(row.folder)} already"
            ) from error

    def _line(self, folder: FolderHex) -> int:
        found = self.folder(folder)
        return found.line if found is not None else 0

    def scope(self, scope: ScopeHex) -> MappedScope | None:
        """Return what is said of a scope."""
        row = self._db.execute(
            "SELECT id, namespace, name, bytes, files, line FROM scopes WHERE hex = ?",
            (scope.value,),
        ).fetchone()
        return None if row is None else MappedScope(QuotaScopeID.parse(row[0]), *row[1:])

    def folder(self, folder: FolderHex) -> MappedFolder | None:
        """Return what is said of a folder."""
        row = self._db.execute(f"{_FOLDER} WHERE hex = ?", (folder.value,)).fetchone()
        return None if row is None else _folder(row)

    def folder_in(self, scope: ScopeHex, folder: FolderHex) -> MappedFolder | None:
        """Return what is said of a folder that lies in `scope`; the mapping may say otherwise."""
        return self.folder(folder)

    def rivals(self, folder: FolderHex) -> list[int]:
        """Return the lines of other live folders that would get the same name."""
        rows = self._db.execute(
            "SELECT other.line FROM folders AS other JOIN folders AS self"
            " ON other.namespace = self.namespace AND other.name = self.name"
            " WHERE self.hex = ? AND other.hex != self.hex AND other.deleted = ''"
            " ORDER BY other.line LIMIT 10",
            (folder.value,),
        )
        return [int(line) for (line,) in rows]

    def see(self, folder: FolderHex, layout: int) -> None:
        """Note that a folder was seen in a layout."""
        self._db.execute(
            "UPDATE folders SET seen = seen | ? WHERE hex = ?", (1 << layout, folder.value)
        )

    def unseen(self) -> Iterator[MappedFolder]:
        """Yield the live folders that were seen nowhere."""
        query = f"{_FOLDER} WHERE seen = 0 AND deleted = '' ORDER BY line"
        yield from map(_folder, self._db.execute(query))

    def scopes(self) -> Iterator[MappedScope]:
        """Yield all scopes in the order of their ids."""
        query = "SELECT id, namespace, name, bytes, files, line FROM scopes ORDER BY hex"
        for row in self._db.execute(query):
            yield MappedScope(QuotaScopeID.parse(row[0]), *row[1:])

    def folders(self, scope: ScopeHex) -> Iterator[MappedFolder]:
        """Yield the folders of a scope in the order of their ids."""
        query = f"{_FOLDER} WHERE scope = ? ORDER BY hex"
        yield from map(_folder, self._db.execute(query, (scope.value,)))


def _folder(row: tuple[Any, ...]) -> MappedFolder:
    return MappedFolder(FolderHex(row[0]), ScopeHex(row[1]), *row[2:])


def _records(path: Path, file: Iterable[str]) -> Iterator[tuple[int, Mapping[str, str]]]:
    if path.suffix in (".json", ".jsonl", ".ndjson"):
        yield from _json_records(path, file)
        return
    reader = csv.DictReader(file, strict=True)
    try:
        for record in reader:
            if None in record or None in record.values():
                raise MappingError(
                    f"{path}: line {reader.line_num}, has not the {len(reader.fieldnames or [])}"
                    " values that the header has"
                )
            yield reader.line_num, {k.strip().lower(): v.strip() for k, v in record.items()}
    except csv.Error as error:
        raise MappingError(f"{path}: line {reader.line_num}, is not CSV: {error}") from error


def _json_records(path: Path, file: Iterable[str]) -> Iterator[tuple[int, Mapping[str, str]]]:
    """A list counts its objects as lines; JSON lines count as they are."""
    lines = iter(file)
    first = next(lines, "")
    try:
        if first.lstrip().startswith("["):
            records: Iterable[Any] = json.loads(first + "".join(lines))
        else:
            records = (json.loads(text) for text in (first, *lines) if text.strip())
        for line, record in enumerate(records, 1):
            if not isinstance(record, dict):
                raise MappingError(f"{path}: line {line}, is not a JSON object")
            yield line, {k.strip().lower(): _text(k, v) for k, v in record.items()}
    except ValueError as error:
        raise MappingError(f"{path}: is neither a JSON list nor JSON lines: {error}") from error
    except MappingError as error:
        prefix = "" if str(error).startswith(str(path)) else f"{path}: "
        raise MappingError(f"{prefix}{error}") from error


def _text(column: str, value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool | list | dict | float):
        raise Wrong(column, str(value), "is neither a text nor a whole number")
    return str(value).strip()

"""What a migration has done and is about to do, as JSON lines, each on disk before it goes on.

A line is written before the step it tells of where the step could otherwise not be understood
afterwards, and after it where the disk itself tells. A last line that was torn by a crash was never
acted upon: it is cut off.
"""

import json
import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from vfolder_backends.adoption.failures import JournalError

Record = dict[str, Any]

BEGIN: Final = "begin"
SCOPE: Final = "scope"
PLAN: Final = "plan"
MOVED: Final = "moved"
TAGGED: Final = "tagged"
VERIFIED: Final = "verified"
LIMITED: Final = "limited"
VERSION: Final = "version"
ROLLBACK: Final = "rollback"
RETURNED: Final = "returned"
END: Final = "end"

_MOST_LINE: Final = 1 << 20


class Journal:
    """One run's journal, open for appending; reading it again gives the last record of each kind.

    Args:
        path: the file, made if it is not there.
        read_only: only look; it has to be there then.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self._db = sqlite3.connect("", check_same_thread=False)
        self._db.execute(
            "CREATE TABLE records"
            " (n INTEGER PRIMARY KEY, type TEXT, id TEXT, scope TEXT, data TEXT)"
        )
        self._db.execute("CREATE UNIQUE INDEX by_id ON records (type, id)")
        self._db.execute("CREATE INDEX by_scope ON records (type, scope, n)")
        self._number = 0
        fresh = not read_only and not path.exists()
        flags = os.O_RDONLY if read_only else os.O_RDWR | os.O_CREAT | os.O_APPEND
        try:
            self._fd = os.open(path, flags | os.O_CLOEXEC, 0o600)
            if fresh:
                _sync_directory(path.parent)
            self._replay(read_only=read_only)
        except OSError as error:
            raise JournalError(f"journal {path}: {error.strerror}") from error

    def close(self) -> None:
        """Close the file; what was appended is on disk already."""
        os.close(self._fd)
        self._db.close()

    def _replay(self, *, read_only: bool) -> None:
        good = 0
        with open(self._fd, "rb", closefd=False) as file:
            for number, line in enumerate(iter(lambda: file.readline(_MOST_LINE), b""), 1):
                if not line.endswith(b"\n"):
                    break  # torn: only the last one can be, as each is on disk before the next
                try:
                    record = json.loads(line)
                    self._remember(number, str(record["type"]), str(record["id"]), record)
                except (ValueError, KeyError, TypeError) as error:
                    raise JournalError(
                        f"journal {self.path}: line {number} is damaged: {error!r}"
                    ) from error
                good += len(line)
                self._number = number
            if file.seek(0, os.SEEK_END) > good and not read_only:
                os.ftruncate(self._fd, good)
                os.fsync(self._fd)

    def _remember(self, number: int, type_: str, id_: str, record: Record) -> None:
        self._db.execute(
            "INSERT INTO records VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (type, id) DO UPDATE SET data = excluded.data",
            (number, type_, id_, record.get("scope", ""), json.dumps(record)),
        )

    def append(self, type_: str, id_: str = "", **data: object) -> Record:
        """Write one record, and return when it is on disk."""
        sys.audit("vfolder.journal", type_, id_)
        record: Record = {"type": type_, "id": id_, "at": round(time.time(), 3), **data}
        line = json.dumps(record).encode() + b"\n"
        written = os.write(self._fd, line)
        if written != len(line):
            raise JournalError(f"journal {self.path}: no space left for the next line")
        os.fsync(self._fd)
        self._number += 1
        self._remember(self._number, type_, id_, record)
        return record

    def get(self, type_: str, id_: str = "") -> Record | None:
        """Return the last record of that type and id."""
        row = self._db.execute(
            "SELECT data FROM records WHERE type = ? AND id = ?", (type_, id_)
        ).fetchone()
        return None if row is None else json.loads(row[0])

    def all(self, type_: str, scope: str = "") -> Iterator[Record]:
        """Yield the records of one type, oldest first; of one scope, or of all."""
        query, values = "SELECT data FROM records WHERE type = ? ORDER BY n", [type_]
        if scope:
            query = "SELECT data FROM records WHERE type = ? AND scope = ? ORDER BY n"
            values.append(scope)
        for (data,) in self._db.execute(query, values):
            yield json.loads(data)

    def count(self, type_: str) -> int:
        """Return how many records of one type there are."""
        query = "SELECT count(*) FROM records WHERE type = ?"
        return int(self._db.execute(query, (type_,)).fetchone()[0])


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)

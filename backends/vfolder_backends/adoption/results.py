"""Rows of a migration's report: its forerunner's columns, and what came of each folder."""

from dataclasses import dataclass
from typing import Final

from vfolder_backends.adoption.found import Tally
from vfolder_backends.adoption.mapping import MappedFolder
from vfolder_backends.adoption.moves import old_path
from vfolder_backends.ids import QuotaScopeID
from vfolder_backends.layout import folder_path
from vfolder_backends.port import Limits

PLANNED: Final = "planned"
MIGRATED: Final = "migrated"
ALREADY: Final = "already"
RETURNED: Final = "returned"
FAILED: Final = "failed"


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one folder.

    Attributes:
        size: allocated bytes, None when not measured.
        limits: of the scope, as read back; None when not read.
        message: why, where it failed.
    """

    folder: str
    scope: str
    size: int | None
    old_quota: int | None
    source: str
    target: str
    result: str
    inodes: int | None
    limits: Limits | None = None
    message: str = ""


def result_of(
    row: MappedFolder,
    scope: QuotaScopeID,
    result: str,
    *,
    tally: Tally | None = None,
    limits: Limits | None = None,
    message: str = "",
) -> Result:
    """Return the row of a folder."""
    return Result(
        row.folder.uuid,
        str(scope),
        tally.allocated if tally is not None else None,
        row.old_quota,
        old_path(row.folder),
        folder_path(row.scope, row.folder),
        result,
        tally.inodes if tally is not None else None,
        limits,
        message,
    )

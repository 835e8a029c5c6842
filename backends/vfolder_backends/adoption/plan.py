"""Compares what a mapping says with what lies on the disk, before anything is moved."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from vfolder_backends.adoption.found import (
    FoundFolder,
    FoundVersion,
    Odd,
    Oddity,
    Tick,
)
from vfolder_backends.adoption.journal import PLAN, Journal
from vfolder_backends.adoption.mapping import ELSEWHERE, MappingTable
from vfolder_backends.adoption.moves import Move
from vfolder_backends.adoption.pacing import Pace
from vfolder_backends.adoption.scan import Scan
from vfolder_backends.layout import folder_path
from vfolder_backends.port import FolderPhase

VERSION_IS_3: Final = "VersionIs3"


@dataclass(frozen=True, slots=True)
class Problem:
    """Why the migration cannot be done as it is; a note does not stop it."""

    reason: str
    path: str
    message: str
    note: bool = False


async def compare(
    pace: Pace,
    root: int,
    mapping: MappingTable,
    journal: Journal | None,
    *,
    leave_unmapped: bool,
) -> AsyncIterator[Problem | Tick]:
    """Yield what stands against the migration, and note in the mapping what was seen where."""
    async for item in pace.each(Scan(root, sizes=False).items()):
        if isinstance(item, Tick):
            yield item
        elif isinstance(item, FoundFolder):
            problem = _folder(item, mapping, journal, leave_unmapped=leave_unmapped)
            if problem is not None:
                yield problem
        elif isinstance(item, Oddity):
            note = item.odd is not Odd.VERSION and item.layout != 2
            yield Problem(item.odd, item.path, item.message, note)
        elif isinstance(item, FoundVersion) and item.text == "3":
            yield Problem(VERSION_IS_3, "version.txt", "says layout 3 already", note=True)
    for row in mapping.unseen():
        yield Problem(
            "NotOnDisk",
            folder_path(row.scope, row.folder),
            f"folder {row.folder.uuid} (line {row.line}) is in the mapping and in neither layout on"
            " disk; remove the line, or bring the folder back",
        )


def _folder(
    item: FoundFolder, mapping: MappingTable, journal: Journal | None, *, leave_unmapped: bool
) -> Problem | None:
    if item.phase is not FolderPhase.LIVE:
        return None
    row = mapping.folder(item.folder)
    if row is None:
        if item.layout == 3:
            return None
        return Problem(
            "NotInMapping",
            item.path,
            f"folder {item.folder.uuid} is not in the mapping; add its line, or leave such folders"
            " where they are with --leave-unmapped",
            note=leave_unmapped,
        )
    if item.scope is not None and item.scope != row.scope:
        mapping.see(item.folder, ELSEWHERE)
        return Problem(
            "ScopeDiffers",
            item.path,
            f"folder {item.folder.uuid} (line {row.line}) lies in scope {item.scope.uuid}, and the"
            f" mapping says {row.scope.uuid}",
        )
    other = 5 - item.layout
    mapping.see(item.folder, item.layout)
    if row.seen_in(other):
        return Problem(
            "TargetExists",
            folder_path(row.scope, item.folder),
            f"folder {item.folder.uuid} (line {row.line}) is there in both layouts; one of the two"
            " has to go first",
        )
    record = journal.get(PLAN, item.folder.value) if journal is not None else None
    if record is not None and Move.load(record).target != folder_path(row.scope, item.folder):
        return Problem(
            "MappingChanged",
            item.path,
            f"folder {item.folder.uuid} (line {row.line}) was planned for another scope when this"
            " migration began; put the old one back, or take the migration back",
        )
    return None

"""`vfolder-adm scan`: what lies below a root."""

import argparse
from pathlib import Path
from typing import Any

from vfolder_backends.adoption.found import (
    OTHERS,
    FoundFolder,
    FoundScope,
    FoundVersion,
    Odd,
    Oddity,
    ScopeEnd,
    Tally,
    Tick,
)
from vfolder_backends.adoption.pacing import Pace
from vfolder_backends.adoption.scan import Scan
from vfolder_backends.errors import BackendError
from vfolder_backends.port import ScopeState, StorageBackend
from vfolder_backends.tree.root import opened_root
from vfolder_operator.adm import progress, storage
from vfolder_operator.adm.output import Column, Row, Rows, add_output, choose
from vfolder_operator.adm.progress import Teller
from vfolder_operator.adm.world import DONE, FAILED, UsageError, World

_DESCRIPTION = """\
Tells what lies below ROOT: folders of layout 2 (ROOT/<2>/<2>/<28>) and layout 3
(ROOT/<scope>/<2>/<2>/<28>), our own marks, id files of other systems, and all that is
neither. Nothing is changed; a read-only mount will do.

Sizes are those of du: blocks in use (allocated), bytes in files (apparent), inodes with hard
links once. Owners are counted as uid:gid=inodes. With --type or --backend the storage is asked
for each scope's limits, usage and project id.
"""

_EPILOG = """\
examples:
  vfolder-adm scan /mnt/scratch
  vfolder-adm scan /mnt/scratch --no-sizes --output json | jq 'select(.kind == "problem")'
  vfolder-adm scan /mnt/scratch --type xfs --output csv > scratch.csv
"""

COLUMNS = (
    Column("kind", 8),
    Column("layout", 6),
    Column("path", 72),
    Column("state", 12),
    Column("object", 24, "OBJECT"),
    Column("owner", 12),
    Column("mode", 5),
    Column("allocated_bytes", 9, "ALLOCATED", size=True),
    Column("apparent_bytes", 9, "APPARENT", size=True),
    Column("inodes", 9),
    Column("limit_bytes", 9, "LIMIT", size=True),
    Column("limit_files", 9, "FILES"),
    Column("note", 1),
    Column("scope"),
    Column("folder"),
    Column("cluster"),
    Column("owners"),
    Column("used_bytes"),
    Column("storage_ids"),
)


def add(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "scan",
        help="tell what lies there; changes nothing",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    parser.add_argument("root", metavar="ROOT", type=storage.root_path, help="the directory")
    add_output(parser)
    parser.add_argument(
        "--no-sizes", action="store_true", help="do not walk into folders: quick, and no sizes"
    )
    parser.add_argument("--type", default="", metavar="TYPE", help="kind of storage, such as xfs")
    parser.add_argument(
        "--backend", default="", metavar="FILE", help="manifest of the StorageBackend, for limits"
    )
    storage.add_storage_arguments(parser)
    storage.add_deadlines(parser)
    progress.add_arguments(parser)
    parser.set_defaults(run=run)


async def run(args: argparse.Namespace, world: World) -> int:
    """Scan and print; FAILED when something could not be read."""
    backend = None
    if args.backend and args.type:
        raise UsageError("--backend and --type: only one of them can be given")
    if args.backend or args.type:
        found = storage.read_manifest(Path(args.backend)) if args.backend else None
        backend = storage.build(world, args, args.root, found, read_only=True)
        await backend.attach(None, initialise=False)
    rows = Rows(world.out, COLUMNS, choose(args.output, world.out))
    teller = Teller(world.err, args.progress)
    pace = Pace(str(args.root), args.answer_seconds)
    try:
        with opened_root(str(args.root)) as root:
            return await _scan(pace, root, rows, teller, backend, sizes=not args.no_sizes)
    finally:
        teller.close()
        pace.close()
        if backend is not None:
            await backend.close()


async def _scan(
    pace: Pace,
    root: int,
    rows: Rows,
    teller: Teller,
    backend: StorageBackend | None,
    *,
    sizes: bool,
) -> int:
    code, total = DONE, Tally()
    folders: dict[int, int] = {2: 0, 3: 0}
    scope: FoundScope | None = None
    async for item in pace.each(Scan(root, sizes=sizes).items()):
        if isinstance(item, Tick):
            teller.entries("Scanning", item.entries)
            continue
        teller.clear()
        if isinstance(item, FoundScope):
            scope = item
        elif isinstance(item, FoundFolder):
            folders[item.layout] += 1
            total.add(item.tally or Tally())
            rows.write(folder_row(item))
        elif isinstance(item, FoundVersion):
            rows.write({"kind": "version", "path": "version.txt", "note": f"layout {item.text}"})
        elif isinstance(item, Oddity):
            code = FAILED if item.odd is Odd.UNREADABLE else code
            rows.write(oddity_row(item))
        elif scope is not None:
            state = await _state(backend, scope, rows) if backend is not None else None
            rows.write(scope_row(scope, item, state))
    note = f"{folders[2]} folders in layout 2, {folders[3]} in layout 3"
    rows.write({"kind": "total", "note": note, **(tally_row(total) if sizes else {})})
    return code


async def _state(backend: StorageBackend, scope: FoundScope, rows: Rows) -> ScopeState | None:
    try:
        return await backend.describe_scope(scope.scope)
    except BackendError as error:
        note = f"{error.reason}: {error}"
        rows.write(
            {"kind": "problem", "path": scope.path, "state": "LimitsUnreadable", "note": note}
        )
        return None


def tally_row(tally: Tally | None) -> dict[str, str | int | None]:
    """Sums as columns."""
    if tally is None:
        return {}
    owners = (
        f"{'others' if key == OTHERS else f'{key[0]}:{key[1]}'}={count}"
        for key, count in tally.owners.most_common()
    )
    inside = [f"{tally.mounts} mounts inside"] if tally.mounts else []
    inside += [f"{tally.unreadable} directories unreadable"] if tally.unreadable else []
    row: dict[str, str | int | None] = {
        "allocated_bytes": tally.allocated,
        "apparent_bytes": tally.apparent,
        "inodes": tally.inodes,
        "owners": " ".join(owners),
    }
    if inside:
        row["note"] = ", ".join(inside)
    return row


def folder_row(item: FoundFolder) -> Row:
    """A folder as columns."""
    return {
        "kind": "folder",
        "layout": item.layout,
        "path": item.path,
        "state": item.phase,
        "object": f"{item.owner.namespace}/{item.owner.name}" if item.owner else None,
        "cluster": item.owner.cluster if item.owner else None,
        "owner": f"{item.uid}:{item.gid}",
        "mode": f"{item.mode:04o}",
        "scope": item.scope.uuid if item.scope is not None else None,
        "folder": item.folder.uuid,
        **tally_row(item.tally),
    }


def scope_row(item: FoundScope, end: ScopeEnd, state: ScopeState | None) -> Row:
    """A scope with the sums over its folders as columns."""
    ids = {**item.vendor_ids}
    if state is not None:
        ids |= {key: str(value) for key, value in state.ref.items()}
    return {
        "kind": "scope",
        "layout": 3,
        "path": item.path,
        "state": "Marked" if item.owner else "Unmarked",
        "object": f"{item.owner.namespace}/{item.owner.name}" if item.owner else None,
        "cluster": item.owner.cluster if item.owner else None,
        "owner": f"{item.uid}:{item.gid}",
        "mode": f"{item.mode:04o}",
        "scope": item.scope.uuid,
        "note": f"{end.folders} folders, {end.trashed} in the trash",
        **tally_row(end.tally),
        "limit_bytes": state.limits.bytes if state is not None else None,
        "limit_files": state.limits.files if state is not None else None,
        "used_bytes": state.usage.bytes if state is not None and state.usage is not None else None,
        "storage_ids": ids or None,
    }


def oddity_row(item: Oddity) -> Row:
    """A problem as columns."""
    return {
        "kind": "problem",
        "layout": item.layout or None,
        "path": item.path,
        "state": item.odd,
        "note": item.message,
    }

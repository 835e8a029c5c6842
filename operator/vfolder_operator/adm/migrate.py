"""`vfolder-adm migrate`: layout 2 to layout 3, and back."""

import argparse
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any

from vfolder_backends.adoption import columns, results
from vfolder_backends.adoption.columns import Defaults
from vfolder_backends.adoption.found import MIGRATION_CLUSTER, Tick
from vfolder_backends.adoption.mapping import MappingTable
from vfolder_backends.adoption.plan import Problem
from vfolder_backends.adoption.results import Result
from vfolder_backends.adoption.runs import Event, Order, migrate, preview, roll_back
from vfolder_operator.adm import progress, storage
from vfolder_operator.adm.adopt import add_mapping_arguments
from vfolder_operator.adm.output import Column, Rows, add_output, choose, printable, report_file
from vfolder_operator.adm.progress import Teller
from vfolder_operator.adm.world import DONE, FAILED, Format, UsageError, World

_DESCRIPTION = """\
Moves folders from layout 2 (ROOT/<2>/<2>/<28>) to layout 3 (ROOT/<scope>/<2>/<2>/<28>) by renames
on one file system, and puts the scopes under their limits. By default it only tells what it would
do; --apply does it.

Each scope in turn: its folders are measured and moved; the storage does what limits need (project
quotas tag every file, which takes a walk); each folder is compared with what it was: inodes, sizes,
owners, modes, times, links and extended attributes; last the limits are set and read back. Nobody
may write to the folders meanwhile: what changed is not verified, and its scope gets no limit.

Every step is in a journal (ROOT/.vfolder/migrate/ or --journal) before or right after it is done.
Killed at any point, the same command goes on; --rollback takes the whole run back, also when it is
finished, until an operator has adopted the first folder.

Refused before anything is moved: folders on disk that no line is about, and lines of folders that
are not on disk; a target that exists; links, files, mounts and unknown names in layout 2.

The mapping (CSV with a header, a JSON list, or JSON lines):

"""

_EPILOG = """\
report columns: volume_id, folder_id, quota_scope_id, current_size, old_quota, src_path, dst_path,
  result (planned, migrated, already, returned, failed), inode_count, limit_bytes, limit_files,
  message

examples:
  vfolder-adm migrate /mnt/scratch --mapping folders.csv --namespace team-a
  vfolder-adm migrate /mnt/scratch --mapping folders.csv --namespace team-a --type xfs \\
      --report report.csv --apply
  vfolder-adm migrate /mnt/scratch --type xfs --rollback
"""

COLUMNS = (
    Column("volume_id"),
    Column("folder_id", 36, "FOLDER"),
    Column("quota_scope_id", 44, "SCOPE"),
    Column("current_size", 9, "SIZE", size=True),
    Column("old_quota", 9, "OLD QUOTA", size=True),
    Column("src_path"),
    Column("dst_path"),
    Column("result", 8),
    Column("inode_count", 9, "INODES"),
    Column("limit_bytes", 9, "LIMIT", size=True),
    Column("limit_files", 9, "FILES"),
    Column("message", 1),
)


def add(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command."""
    table = (columns.__doc__ or "").partition("Columns:\n\n")[2]
    parser = commands.add_parser(
        "migrate",
        help="move folders from layout 2 to layout 3, or back",
        description=_DESCRIPTION + table,
        epilog=_EPILOG,
    )
    parser.add_argument("root", metavar="ROOT", type=storage.root_path, help="the directory")
    add_mapping_arguments(parser)
    parser.add_argument(
        "--namespace",
        default="",
        metavar="NS",
        help="whom scopes are marked for where the mapping names no namespace",
    )
    parser.add_argument("--type", default="", metavar="TYPE", help="kind of storage, such as xfs")
    parser.add_argument(
        "--backend", default="", metavar="FILE", help="manifest of the StorageBackend, for --type"
    )
    parser.add_argument(
        "--cluster-uid",
        default=MIGRATION_CLUSTER,
        metavar="UID",
        help="uid of the kube-system namespace of the cluster that will have the scopes; without "
        "it they are marked as migrated, and adopt takes them over",
    )
    parser.add_argument("--apply", action="store_true", help="do it")
    parser.add_argument("--rollback", action="store_true", help="take the run back")
    parser.add_argument(
        "--journal",
        default="",
        metavar="FILE",
        help="the run's journal (default: the open one, else a new one in ROOT/.vfolder/migrate/)",
    )
    parser.add_argument(
        "--leave-unmapped",
        action="store_true",
        help="leave folders that no line is about where they are",
    )
    parser.add_argument(
        "--write-version",
        action="store_true",
        help="write 3 to ROOT/version.txt when all is done; --rollback puts back what was there",
    )
    add_output(parser, "form of the report on standard output")
    parser.add_argument("--report", default="", metavar="FILE", help="write it there, too, as CSV")
    parser.add_argument(
        "--lock-seconds",
        type=storage.seconds,
        default=10.0,
        metavar="S",
        help="how long to wait for another run on this root (default: %(default)g)",
    )
    parser.add_argument(
        "--stall-seconds",
        type=storage.seconds,
        default=600.0,
        metavar="S",
        help="how long the storage's own work may show no progress (default: %(default)g)",
    )
    storage.add_storage_arguments(parser)
    storage.add_deadlines(parser)
    progress.add_arguments(parser)
    parser.set_defaults(run=run)


async def run(args: argparse.Namespace, world: World) -> int:
    """Foretell, migrate or take back."""
    _check(args)
    order = Order(
        args.root,
        Path(args.journal) if args.journal else None,
        args.cluster_uid,
        args.answer_seconds,
        args.lock_seconds,
        args.stall_seconds,
        args.leave_unmapped,
        args.write_version,
    )
    async with AsyncExitStack() as stack:
        teller = Teller(world.err, args.progress)
        stack.callback(teller.close)
        events = await stack.enter_async_context(
            aclosing(await _events(args, world, order, teller, stack))
        )
        files = [stack.enter_context(report_file(args.report))] if args.report else []
        reports = [Rows(world.out, COLUMNS, choose(args.output, world.out))]
        reports += [Rows(file, COLUMNS, Format.CSV) for file in files]
        failed = False
        async for event in events:
            if isinstance(event, Tick):
                teller.entries("Comparing", event.entries)
            elif isinstance(event, Problem):
                failed |= not event.note
                teller.clear()
                kind = "note" if event.note else "refused"
                line = f"{kind}: {event.path}: {event.reason}: {event.message}"
                world.err.write(printable(line) + "\n")
            else:
                failed |= event.result == results.FAILED
                teller.clear()
                for rows in reports:
                    rows.write(result_row(event, args.volume or args.root.name))
        return FAILED if failed else DONE


def _check(args: argparse.Namespace) -> None:
    if args.backend and args.type:
        raise UsageError("--backend and --type: only one of them can be given")
    if (args.apply or args.rollback) and not (args.backend or args.type):
        raise UsageError("--type TYPE or --backend FILE is needed: limits are set through it")
    if args.apply and args.rollback:
        raise UsageError("--apply and --rollback: only one of them can be given")
    if not args.rollback and not args.mapping:
        raise UsageError("--mapping FILE is needed: which scope a folder is of is not on the disk")


async def _events(
    args: argparse.Namespace, world: World, order: Order, teller: Teller, stack: AsyncExitStack
) -> AsyncGenerator[Event, None]:
    mapping = None
    if not args.rollback:
        defaults = Defaults(args.namespace, args.volume, adapt_names=True)
        mapping = MappingTable.load(Path(args.mapping), defaults)
        stack.callback(mapping.close)
        if not args.apply:
            return preview(order, mapping)
    found = storage.read_manifest(Path(args.backend)) if args.backend else None
    port = storage.build(world, args, args.root, found, read_only=False)
    stack.push_async_callback(port.close)
    await port.attach(None)
    if mapping is None:
        return roll_back(order, port, teller)
    return migrate(order, port, mapping, teller)


def result_row(result: Result, volume: str) -> dict[str, str | int | None]:
    """A folder as columns."""
    limits = result.limits
    return {
        "volume_id": volume,
        "folder_id": result.folder,
        "quota_scope_id": result.scope,
        "current_size": result.size,
        "old_quota": result.old_quota,
        "src_path": result.source,
        "dst_path": result.target,
        "result": result.result,
        "inode_count": result.inodes,
        "limit_bytes": limits.bytes if limits is not None else None,
        "limit_files": limits.files if limits is not None else None,
        "message": result.message,
    }

"""A migration from its lock to its last journal line, forward or back."""

from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from vfolder_backends.adoption import lock, results
from vfolder_backends.adoption.failures import JournalError
from vfolder_backends.adoption.found import MIGRATION_CLUSTER, Tick
from vfolder_backends.adoption.journal import END, Journal
from vfolder_backends.adoption.mapping import MappingTable
from vfolder_backends.adoption.migration import Migration, Site
from vfolder_backends.adoption.pacing import Pace
from vfolder_backends.adoption.plan import VERSION_IS_3, Problem, compare
from vfolder_backends.adoption.results import Result, result_of
from vfolder_backends.adoption.rollback import Rollback
from vfolder_backends.port import Progress, StorageBackend
from vfolder_backends.tree.root import opened_root


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked for.

    Attributes:
        root: the root directory.
        journal: its file; None takes the open one, or a new one in the control directory.
        cluster: uid of the kube-system namespace of the cluster that will have the scopes.
        answer_seconds: how long the file system may take for one answer.
        lock_seconds: how long to wait for another run to end.
        stall_seconds: how long a storage's own work may show no progress.
        leave_unmapped: whether folders that no line is about may stay where they are.
        write_version: whether version.txt says 3 afterwards.
    """

    root: Path
    journal: Path | None = None
    cluster: str = MIGRATION_CLUSTER
    answer_seconds: float = 60.0
    lock_seconds: float = 10.0
    stall_seconds: float = 600.0
    leave_unmapped: bool = False
    write_version: bool = False


Event = Problem | Result | Tick


async def preview(order: Order, mapping: MappingTable) -> AsyncGenerator[Event, None]:
    """Yield what stands against a migration, and else what it would do; changes nothing."""
    pace = Pace(str(order.root), order.answer_seconds)
    try:
        with opened_root(str(order.root)) as root:
            noted = await pace.run(lock.open_journal, root)
            journal = None
            if noted is not None and (order.root / noted).exists():
                journal = await pace.run(Journal, order.root / noted, read_only=True)
            stopped = False
            async for item in compare(
                pace, root, mapping, journal, leave_unmapped=order.leave_unmapped
            ):
                stopped |= isinstance(item, Problem) and not item.note
                yield item
        if not stopped:
            for result in _foreseen(mapping):
                yield result
    finally:
        pace.close()


def _foreseen(mapping: MappingTable) -> Iterator[Result]:
    for scope in mapping.scopes():
        for row in mapping.folders(scope.id.hex):
            if row.seen_in(2) or row.seen_in(3):
                what = results.PLANNED if row.seen_in(2) else results.ALREADY
                yield result_of(row, scope.id, what)


def _existing(path: Path) -> Journal | None:
    return Journal(path) if path.exists() else None


async def migrate(
    order: Order,
    backend: StorageBackend,
    mapping: MappingTable,
    tell: Callable[[Progress], None] = lambda _: None,
) -> AsyncGenerator[Event, None]:
    """Migrate, or go on with the run that is open; the backend is attached to the same root.

    Yields problems first; any that is no note ends it before anything is moved.
    """
    pace = Pace(str(order.root), order.answer_seconds)
    try:
        with opened_root(str(order.root)) as root:
            async with lock.locked(pace, root, order.lock_seconds):
                name = await pace.run(lock.choose_journal, root, order.root, order.journal)
                found = await pace.run(_existing, order.root / name)
                if found is not None and order.journal is None and found.get(END) is not None:
                    # Killed between its last line and the note's removal.
                    await _close(pace, root, found)
                    name = await pace.run(lock.choose_journal, root, order.root, None)
                    found = None
                stopped, written = False, not order.write_version
                async for item in compare(
                    pace, root, mapping, found, leave_unmapped=order.leave_unmapped
                ):
                    if isinstance(item, Problem):
                        stopped |= not item.note
                        written |= item.reason == VERSION_IS_3
                    yield item
                if stopped:
                    return
                if found is None and written and not _work(mapping):
                    for result in _foreseen(mapping):
                        yield result
                    return
                await pace.run(lock.note_open, root, name)
                journal: Journal = found or Journal(order.root / name)
                site = Site(
                    root, pace, backend, mapping, journal, order.cluster, order.stall_seconds, tell
                )
                async for done in Migration(site, write_version=order.write_version).run():
                    yield done
                await _close(pace, root, journal)
    finally:
        pace.close()


def _work(mapping: MappingTable) -> bool:
    return any(
        row.seen_in(2) for scope in mapping.scopes() for row in mapping.folders(scope.id.hex)
    )


async def roll_back(
    order: Order,
    backend: StorageBackend,
    tell: Callable[[Progress], None] = lambda _: None,
) -> AsyncGenerator[Event, None]:
    """Take back the run that is open, or the finished one whose journal is named."""
    pace = Pace(str(order.root), order.answer_seconds)
    try:
        with opened_root(str(order.root)) as root:
            async with lock.locked(pace, root, order.lock_seconds):
                name = await pace.run(lock.choose_journal, root, order.root, order.journal)
                journal = await pace.run(_existing, order.root / name)
                if journal is None:
                    raise JournalError(
                        f"journal {name} is not there; name the finished run's with --journal"
                    )
                await pace.run(lock.note_open, root, name)
                site = Site(
                    root,
                    pace,
                    backend,
                    MappingTable(),
                    journal,
                    stall_seconds=order.stall_seconds,
                    tell=tell,
                )
                async for result in Rollback(site).run():
                    yield result
                await _close(pace, root, journal)
    finally:
        pace.close()


async def _close(pace: Pace, root: int, journal: Journal) -> None:
    """Remove the note if the run is finished."""
    end = journal.get(END)
    if end is not None:
        await pace.run(lock.note_closed, root)
    journal.close()

"""What a migration refuses, what it waits for, and what it does when something fails on the way."""

import fcntl
import os
import subprocess
from contextlib import suppress
from dataclasses import replace

import pytest

from vfolder_backends.adoption import moves, results
from vfolder_backends.adoption.columns import Defaults
from vfolder_backends.adoption.failures import Busy, JournalError, Refused
from vfolder_backends.adoption.journal import PLAN, Journal
from vfolder_backends.adoption.mapping import MappingTable
from vfolder_backends.adoption.plan import Problem
from vfolder_backends.adoption.results import Result
from vfolder_backends.adoption.runs import Order, migrate, preview, roll_back
from vfolder_backends.backend import TreeBackend
from vfolder_backends.config import BackendConfig
from vfolder_backends.directories import DirectoryDriver
from vfolder_backends.port import Adoption, FolderRequest, Limits, Owner, Progress, ScopeRequest
from vfolder_backends.registry import Registry
from vfolder_backends.testing.old_trees import OldFolder, plant, portrait, users_data, write_mapping
from vfolder_backends.vendors.vfs.backend import NoQuota

A, B, C = OldFolder.of(1, 1), OldFolder.of(1, 2), OldFolder.of(2, 1)
ALL = (A, B, C)


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    for folder in ALL:
        plant(root, folder, 2, owner=None)
    return root


@pytest.fixture
async def backend(root):
    backend = Registry().build(BackendConfig("b", "vfs", str(root)))
    await backend.attach(None)
    yield backend
    await backend.close()


@pytest.fixture
def table(tmp_path):
    def load(folders=ALL, **columns):
        path = write_mapping(tmp_path / "map.csv", folders, columns)
        return MappingTable.load(path, Defaults("team-a"))

    return load


async def collect(events):
    found = [event async for event in events]
    problems = [e for e in found if isinstance(e, Problem)]
    return problems, [e for e in found if isinstance(e, Result)]


async def refused(order, backend, mapping):
    """The reasons, which are the same beforehand and in earnest."""
    before = users_data(order.root)
    foreseen, rows = await collect(preview(order, mapping))
    assert rows == []
    problems, rows = await collect(migrate(order, backend, mapping))
    assert rows == []
    assert {p.reason for p in problems} == {p.reason for p in foreseen}
    assert users_data(order.root) == before
    assert not (order.root / ".vfolder/migrate/open").exists()
    return {p.reason for p in problems if not p.note}


async def test_a_preview_tells_all_and_changes_nothing(root, table):
    before = portrait(root)
    problems, rows = await collect(preview(Order(root), table()))
    assert problems == []
    assert {row.result for row in rows} == {results.PLANNED}
    assert portrait(root) == before


async def test_folders_without_a_line_are_refused_or_left(root, backend, table):
    assert await refused(Order(root), backend, table([A, B])) == {"NotInMapping"}
    order = Order(root, leave_unmapped=True)
    problems, rows = await collect(migrate(order, backend, table([A, B])))
    assert [(p.reason, p.note) for p in problems] == [("NotInMapping", True)]
    assert [row.result for row in rows] == [results.MIGRATED] * 2
    assert C.path(root, 2).is_dir()


async def test_lines_without_a_folder_are_refused(root, backend, table):
    more = OldFolder.of(9, 9)
    assert await refused(Order(root), backend, table([*ALL, more])) == {"NotOnDisk"}


async def test_a_target_that_exists_is_refused(root, backend, table):
    plant(root, A, 3, owner=None)
    assert await refused(Order(root), backend, table()) == {"TargetExists"}


async def test_a_folder_in_another_scope_than_the_mapping_says_is_refused(root, backend, table):
    plant(root, replace(A, scope=C.scope), 3, owner=None)
    assert await refused(Order(root), backend, table()) == {"ScopeDiffers"}


@pytest.mark.parametrize("how", ["link", "file", "name", "version"])
async def test_oddities_in_layout_2_are_refused(root, backend, table, how):
    (root / "ab" / "cd").mkdir(parents=True)
    match how:
        case "link":
            (root / "ab" / "cd" / ("1" * 28)).symlink_to("/etc")
        case "file":
            (root / "ab" / "cd" / ("1" * 28)).touch()
        case "name":
            (root / "ab" / "cd" / "photos").mkdir()
        case "version":
            (root / "version.txt").write_text("4")
    told = {"link": "Link", "file": "File", "name": "UnknownName", "version": "UnknownVersion"}
    assert await refused(Order(root), backend, table()) == {told[how]}


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
@pytest.mark.parametrize("where", ["folder", "inside"])
async def test_nothing_moves_across_mounts(root, backend, table, tmp_path, where):
    place = A.path(root, 2) if where == "folder" else A.path(root, 2) / "sub"
    (tmp_path / "other").mkdir()
    subprocess.run(["mount", "--bind", tmp_path / "other", place], check=True)
    try:
        problems, rows = await collect(migrate(Order(root), backend, table()))
        if where == "folder":
            assert {p.reason for p in problems} == {"Mount", "NotOnDisk"}
        else:
            failed = {row.folder for row in rows if row.result == results.FAILED}
            assert failed == {A.folder.uuid, B.folder.uuid}, "the scope is not done by half"
        assert A.path(root, 2).is_dir()
    finally:
        subprocess.run(["umount", place], check=True)
    _, rows = await collect(migrate(Order(root), backend, table()))
    assert {row.result for row in rows} <= {results.MIGRATED, results.ALREADY}


async def test_another_run_is_waited_for_until_the_deadline(root, backend, table):
    (root / ".vfolder/migrate").mkdir(mode=0o700)
    fd = os.open(root / ".vfolder/migrate", os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        with pytest.raises(Busy, match=r"another vfolder-adm .* waited 0.3 s"):
            await collect(migrate(Order(root, lock_seconds=0.3), backend, table()))
    finally:
        os.close(fd)
    await collect(migrate(Order(root), backend, table()))


def interrupt(after):
    """Stop a run the hard way while a scope is moved."""

    def tell(progress):
        if progress.reason == after:
            raise InterruptedError(after)

    return tell


async def test_another_journal_is_refused_while_one_is_open(root, backend, table, tmp_path):
    order = Order(root, journal=tmp_path / "mine.jsonl")
    with suppress(InterruptedError):
        await collect(migrate(order, backend, table(), interrupt("Moving")))
    other = Order(root, journal=tmp_path / "other.jsonl")
    with pytest.raises(Busy, match=r"mine\.jsonl of another run is open"):
        await collect(migrate(other, backend, table()))
    assert not (tmp_path / "other.jsonl").exists()
    _, rows = await collect(migrate(Order(root), backend, table()))  # finds the open one
    assert {row.result for row in rows} == {results.MIGRATED}
    with pytest.raises(Refused, match="is finished"):
        await collect(migrate(order, backend, table()))


async def test_a_line_that_changed_after_its_folder_was_moved_is_refused(root, backend, table):
    with suppress(InterruptedError):
        await collect(migrate(Order(root), backend, table(), interrupt("Moving")))
    (moved,) = (f for f in ALL if f.path(root, 3).exists())
    elsewhere = OldFolder.of(7, 7).scope
    changed = [replace(f, scope=elsewhere) if f == moved else f for f in ALL]
    problems, _ = await collect(migrate(Order(root), backend, table(changed)))
    assert {p.reason for p in problems} == {"ScopeDiffers"}
    await collect(migrate(Order(root), backend, table()))


async def test_a_line_that_changed_before_its_folder_was_moved_is_refused(
    root, backend, table, tmp_path
):
    order, fd = Order(root, journal=tmp_path / "j"), os.open(root, os.O_RDONLY)
    journal = Journal(order.journal)
    move = moves.plan(fd, A.folder, A.scope)
    journal.append(PLAN, A.folder.value, scope=A.scope.value, before={}, **move.dump())
    journal.close()
    os.close(fd)
    changed = [replace(f, scope=C.scope) if f == A else f for f in ALL]
    problems, _ = await collect(migrate(order, backend, table(changed)))
    assert {p.reason for p in problems} == {"MappingChanged"}


async def test_a_folder_that_somebody_wrote_to_is_told_and_can_go_back(root, backend, table):
    def write(progress):
        if progress.reason == "Moving":
            (root / progress.message / "late").write_text("x")

    _, rows = await collect(migrate(Order(root), backend, table(), write))
    assert {row.result for row in rows} == {results.FAILED}
    assert "inodes 9 -> 10" in rows[0].message
    assert (root / ".vfolder/migrate/open").exists(), "the run is not finished"
    _, rows = await collect(roll_back(Order(root), backend))
    assert {row.result for row in rows} == {results.RETURNED}
    assert all((f.path(root, 2) / "late").exists() for f in ALL)
    _, rows = await collect(migrate(Order(root), backend, table()))
    assert {row.result for row in rows} == {results.MIGRATED}


async def test_a_limit_that_the_storage_does_not_keep_is_a_failure(root, backend, table):
    _, rows = await collect(migrate(Order(root), backend, table(quota_bytes="1Gi")))
    assert {row.result for row in rows} == {results.FAILED}
    assert "keeps no such limit" in rows[0].message
    _, rows = await collect(migrate(Order(root), backend, table()))  # without one it is done
    assert {row.result for row in rows} == {results.MIGRATED}


async def test_a_scope_of_somebody_else_is_left_alone_and_the_others_go_on(root, backend, table):
    other = Owner("elsewhere", "x", "y")
    await backend.ensure_scope(ScopeRequest(C.scope, other, Limits()))
    _, rows = await collect(migrate(Order(root), backend, table()))
    told = {row.folder: (row.result, row.message) for row in rows}
    assert told[A.folder.uuid][0] == told[B.folder.uuid][0] == results.MIGRATED
    assert told[C.folder.uuid][0] == results.FAILED
    assert "belongs to x/y of cluster elsewhere" in told[C.folder.uuid][1]
    assert C.path(root, 2).is_dir()


async def test_a_scope_that_was_there_keeps_what_it_had(root, backend, table):
    other = OldFolder.of(1, 77)
    plant(root, other, 3, owner=None)
    before = portrait(other.path(root, 3))
    await collect(migrate(Order(root), backend, table()))
    (journal,) = (root / ".vfolder/migrate").glob("*.jsonl")
    await collect(roll_back(Order(root, journal=journal), backend))
    assert portrait(other.path(root, 3)) == before
    assert (await backend.describe_scope(other.scope)).owner is None
    assert not (root / C.scope.value).exists()


async def test_the_way_back_is_closed_by_the_first_adopted_folder(root, backend, table):
    owner = Owner("real", "team-a", "data")
    await collect(migrate(Order(root, cluster="real"), backend, table()))
    await backend.ensure_folder(
        FolderRequest(A.scope, A.folder, owner, must_exist=True, adoption=Adoption())
    )
    (journal,) = (root / ".vfolder/migrate").glob("*.jsonl")
    _, rows = await collect(roll_back(Order(root, journal=journal), backend))
    told = {row.folder: row.result for row in rows}
    assert told[A.folder.uuid] == told[B.folder.uuid] == results.FAILED
    assert A.path(root, 3).is_dir()


async def test_a_run_that_is_taken_back_does_not_go_forward(root, backend, table):
    await collect(migrate(Order(root), backend, table()))
    (journal,) = (root / ".vfolder/migrate").glob("*.jsonl")
    order = Order(root, journal=journal)
    with suppress(InterruptedError):
        await collect(roll_back(order, backend, interrupt("Returning")))
    with pytest.raises(Refused, match="being taken back"):
        await collect(migrate(order, backend, table()))
    await collect(roll_back(order, backend))
    with pytest.raises(Refused, match="taken back before"):
        await collect(roll_back(order, backend))


async def test_taking_back_needs_a_journal(root, backend):
    with pytest.raises(JournalError, match="is not there"):
        await collect(roll_back(Order(root), backend))


async def test_the_version_is_written_and_put_back_when_asked(root, backend, table):
    (root / "version.txt").write_text("2")
    order = Order(root, write_version=True)
    await collect(migrate(order, backend, table()))
    assert (root / "version.txt").read_text() == "3\n"
    assert (root / "version.txt").stat().st_mode & 0o777 == 0o644
    (journal,) = (root / ".vfolder/migrate").glob("*.jsonl")
    await collect(roll_back(replace(order, journal=journal), backend))
    assert (root / "version.txt").read_text() == "2"


class Slow(DirectoryDriver):
    """Needs some calls before limits hold, as project quotas do."""

    def __init__(self, access, calls):
        super().__init__(access, NoQuota())
        self.left = calls

    async def settle(self, scope):
        self.left -= 1
        done = 100 - self.left if self.left < 100 else 0
        return Progress("Tagging", "half of it", done) if self.left > 0 else None


@pytest.mark.parametrize("calls", [4, 10**6])
async def test_the_storages_own_work_is_waited_for_while_it_gets_on(root, table, calls, tmp_path):
    config = BackendConfig("b", "vfs", str(root))
    backend = TreeBackend(config, lambda access: Slow(access, calls))
    await backend.attach(None)
    told = []
    order = Order(root, stall_seconds=0.2)
    try:
        _, rows = await collect(migrate(order, backend, table(), told.append))
    finally:
        await backend.close()
    if calls == 4:
        assert {row.result for row in rows} == {results.MIGRATED}
        assert [p.done for p in told if p.reason == "Tagging"] == [97, 98, 99]
    else:
        assert {row.result for row in rows} == {results.FAILED}
        assert "no progress" in rows[0].message

import itertools
import os
import subprocess

import pytest

from vfolder_backends.adoption.found import (
    FoundFolder,
    FoundScope,
    FoundVersion,
    Odd,
    Oddity,
    ScopeEnd,
    Tick,
)
from vfolder_backends.adoption.scan import Scan
from vfolder_backends.config import BackendConfig
from vfolder_backends.port import (
    FolderPhase,
    FolderRequest,
    Limits,
    Owner,
    ScopeRequest,
)
from vfolder_backends.registry import Registry
from vfolder_backends.testing.old_trees import OldFolder, plant

OLD, NEW, OURS = OldFolder.of(1, 1), OldFolder.of(2, 1), OldFolder.of(3, 1)
ME = Owner("cluster", "team-a", "data")


def scan(root, **more):
    fd = os.open(root, os.O_RDONLY)
    try:
        found = list(Scan(fd, sizes=True, **more).items())
    finally:
        os.close(fd)
    return [item for item in found if not isinstance(item, Tick)]


def only(items, kind):
    return [item for item in items if isinstance(item, kind)]


def odd(items):
    return {(item.odd, item.path) for item in only(items, Oddity)}


@pytest.fixture
async def root(tmp_path):
    """A bit of everything."""
    root = tmp_path / "root"
    root.mkdir()
    backend = Registry().build(BackendConfig("b", "vfs", str(root)))
    await backend.attach(None)
    await backend.ensure_scope(ScopeRequest(OURS.scope, ME, Limits()))
    gone = OldFolder.of(3, 2)
    for folder in (OURS, gone):
        await backend.ensure_folder(FolderRequest(folder.scope, folder.folder, ME))
    await backend.trash_folder(gone.scope, gone.folder, ME)
    await backend.close()
    plant(root, OLD, 2, owner=None)
    plant(root, NEW, 3, owner=None)
    (root / NEW.scope.value / ".quota_id").write_text("AbC123\n")
    (root / "version.txt").write_text("3\n")
    (root / "foreign").mkdir()
    (root / "lost+found").mkdir()
    return root


async def test_everything_is_found(root):
    items = scan(root)
    assert [item.text for item in only(items, FoundVersion)] == ["3"]
    scopes = {item.scope: item for item in only(items, FoundScope)}
    assert scopes[OURS.scope].owner == ME
    assert scopes[NEW.scope].owner is None
    assert scopes[NEW.scope].vendor_ids == {".quota_id": "AbC123"}
    folders = {(f.layout, f.folder, f.phase): f for f in only(items, FoundFolder)}
    assert set(folders) == {
        (2, OLD.folder, FolderPhase.LIVE),
        (3, NEW.folder, FolderPhase.LIVE),
        (3, OURS.folder, FolderPhase.LIVE),
        (3, OldFolder.of(3, 2).folder, FolderPhase.TRASHED),
    }
    assert folders[2, OLD.folder, FolderPhase.LIVE].tally.inodes == 9
    ends = {item.scope: item for item in only(items, ScopeEnd)}
    assert (ends[OURS.scope].folders, ends[OURS.scope].trashed) == (1, 1)
    assert ends[NEW.scope].tally.inodes == 9
    assert odd(items) == {(Odd.FOREIGN, "foreign")}


async def test_what_is_odd_is_told(root, tmp_path):
    scope = root / NEW.scope.value
    (root / ("0" * 32)).symlink_to(tmp_path)
    (root / ("1" * 32)).touch()
    (root / "ab").mkdir()
    (root / "ab" / "cd").symlink_to(scope)
    (root / "ab" / "xyz").mkdir()
    (scope / "abc").mkdir()
    (scope / "aa" / "bb").mkdir(parents=True)
    (scope / "aa" / "bb" / ("2" * 28)).touch()
    (scope / "aa" / "bb" / "short").mkdir()
    (root / ".vfolder/marks" / OURS.scope.value / ("3" * 32)).write_text("no mark")
    OURS.path(root, 3).rename(tmp_path / "taken")
    (root / "version.txt").write_text("seven")
    assert odd(scan(root)) == {
        (Odd.FOREIGN, "foreign"),
        (Odd.VERSION, "version.txt"),
        (Odd.LINK, "0" * 32),
        (Odd.FILE, "1" * 32),
        (Odd.LINK, "ab/cd"),
        (Odd.UNKNOWN, "ab/xyz"),
        (Odd.UNKNOWN, f"{NEW.scope}/abc"),
        (Odd.FILE, f"{NEW.scope}/aa/bb/{'2' * 28}"),
        (Odd.UNKNOWN, f"{NEW.scope}/aa/bb/short"),
        (Odd.MISSING, f"{OURS.scope}/{'3' * 32}"),
        (Odd.MISSING, f"{OURS.scope}/{OURS.folder}"),
    }


async def test_a_damaged_mark_is_told(root):
    mark = root / ".vfolder/marks" / OURS.scope.value / OURS.folder.value
    mark.write_text("{")
    assert (Odd.DAMAGED, f"{OURS.scope}/{OURS.folder}") in odd(scan(root))


async def test_a_scope_that_is_gone_is_told(root, tmp_path):
    (root / OURS.scope.value).rename(tmp_path / "taken")
    assert (Odd.MISSING, OURS.scope.value) in odd(scan(root))


def everything(root):
    seen = {}
    for path in (root, *root.rglob("*")):
        found = path.lstat()
        seen[path] = (
            found.st_mode, found.st_uid, found.st_gid, found.st_size, found.st_mtime_ns,
            found.st_ctime_ns, found.st_nlink, found.st_ino,
        )  # fmt: skip
    return seen


async def test_nothing_is_changed(root):
    before = everything(root)
    scan(root)
    assert everything(root) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
async def test_a_read_only_mount_will_do(root, tmp_path):
    shown = tmp_path / "shown"
    shown.mkdir()
    subprocess.run(["mount", "--bind", root, shown], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", shown], check=True)
        assert scan(shown) == scan(root)
    finally:
        subprocess.run(["umount", shown], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
async def test_a_mount_where_a_directory_belongs_is_told_and_not_entered(root, tmp_path):
    (tmp_path / "other").mkdir()
    (root / "ab").mkdir()
    subprocess.run(["mount", "--bind", tmp_path / "other", root / "ab"], check=True)
    try:
        assert (Odd.MOUNT, "ab") in odd(scan(root))
    finally:
        subprocess.run(["umount", root / "ab"], check=True)


async def test_only_the_scopes_asked_for(root):
    items = scan(root, only={NEW.scope})
    assert {item.scope for item in only(items, FoundScope)} == {NEW.scope}
    assert {item.layout for item in only(items, FoundFolder)} == {3}


async def test_it_looks_as_it_is_asked_and_holds_no_tree_in_memory(root):
    fd = os.open(root, os.O_RDONLY)
    items = Scan(fd, sizes=False).items()
    assert len(list(itertools.islice(items, 2))) == 2
    items.close()
    os.close(fd)

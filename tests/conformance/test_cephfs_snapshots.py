"""A folder held still by a snapshot, on a real CephFS, by keys that may and one that may not."""

import errno
import os
import shutil

import pytest

from e2e.cluster import Ceph, packages
from e2e.cluster.ceph import OPERATOR, client
from vfolder_backends.config import BackendConfig
from vfolder_backends.errors import NotEmpty, NotFound
from vfolder_backends.port import FolderPhase
from vfolder_backends.registry import Registry
from vfolder_backends.testing.conformance.base import (
    DATASETS,
    FOLDER,
    SCOPE,
    folder_request,
    purge_all,
    scope_request,
)
from vfolder_backends.testing.conformance.clone_operations import (
    CLONE,
    COPIES,
    clone_request,
    differences,
    plant,
    until_live,
)
from vfolder_backends.testing.storages import TreeUnderTest
from vfolder_backends.tree import folders
from vfolder_backends.tree.clones import Cloning
from vfolder_backends.vendors.cephfs import snapshots

_MISSING = packages.missing(packages.CEPH)

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="a private CephFS needs root"),
    pytest.mark.skipif(bool(_MISSING), reason=f"packages are missing: {', '.join(_MISSING)}"),
]

MAY = client("may", "allow rwps")


@pytest.fixture(scope="module")
def ceph():
    with Ceph(quick=True, entities=(MAY,)) as ceph:
        ceph.mount(MAY, ceph.state.folder / "may")
        yield ceph


@pytest.fixture
def folder(ceph, tmp_path):
    """A folder, and how it is seen with the key that may make snapshots: path and descriptor."""
    (ceph.node_mount / tmp_path.name).mkdir()
    path = ceph.state.folder / "may" / tmp_path.name
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    yield path, fd
    os.close(fd)


def read(directory, name):
    fd = os.open(name, os.O_RDONLY, dir_fd=directory)
    with open(fd, "rb") as file:
        return file.read()


def test_a_frozen_folder_stays_as_it_was_however_often_it_is_asked_for(ceph, folder, tmp_path):
    as_a_pod = ceph.node_mount / tmp_path.name / "file"
    as_a_pod.write_bytes(b"before")
    for now in (b"after", b"later still"):
        frozen = snapshots.freeze(folder[1], "x")
        as_a_pod.write_bytes(now)
        assert read(frozen, "file") == b"before"
        os.close(frozen)
    snapshots.thaw(folder[1], "x")
    snapshots.thaw(folder[1], "x")
    assert os.listdir(folder[0] / ".snap") == []
    anew = snapshots.freeze(folder[1], "x")
    assert read(anew, "file") == b"later still"
    os.close(anew)
    snapshots.thaw(folder[1])


def test_what_was_left_behind_is_let_go_of_and_nobody_elses(folder):
    path, fd = folder
    for name in ("x", "y"):
        os.close(snapshots.freeze(fd, name))
    (path / ".snap" / "weekly").mkdir()
    with pytest.raises(OSError, match=os.strerror(errno.ENOTEMPTY)):
        path.rmdir()
    snapshots.thaw(fd)
    assert os.listdir(path / ".snap") == ["weekly"]
    (path / ".snap" / "weekly").rmdir()
    path.rmdir()


def test_a_key_that_may_not_gets_none(ceph, folder, tmp_path):
    fd = os.open(ceph.operator_mount / tmp_path.name, os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert snapshots.freeze(fd, "x") is None
        snapshots.thaw(fd)
    finally:
        os.close(fd)
    assert os.listdir(folder[0] / ".snap") == []


@pytest.mark.parametrize(("who", "may"), [(MAY, True), (OPERATOR, False)], ids=["s", "no s"])
async def test_the_capability_tells_what_the_key_may(ceph, tmp_path, who, may):
    mount = ceph.state.folder / "may" if who is MAY else ceph.operator_mount
    root = mount / tmp_path.name
    root.mkdir()
    backend = Registry().build(BackendConfig("under-test", "cephfs", str(root)))
    await backend.attach(None)
    for _ in range(2):
        assert (await backend.probe()).capabilities.snapshot is may
    assert os.listdir(ceph.state.folder / "may" / tmp_path.name / ".vfolder" / ".snap") == []
    await backend.close()


@pytest.fixture
async def begun(ceph, tmp_path):
    """A backend, its storage, and a clone of which nothing but the beginning is made."""
    root = ceph.state.folder / "may" / tmp_path.name
    root.mkdir()
    storage = TreeUnderTest(root, "cephfs")
    backend = storage.build()
    await backend.attach(None)
    await backend.ensure_scope(scope_request())
    await backend.ensure_folder(folder_request())
    plant(storage.path(SCOPE, FOLDER), 50)
    shutil.copytree(storage.path(SCOPE, FOLDER), tmp_path / "before", symlinks=True)
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    state = folders.ensure(fd, clone_request(), lambda _: None, Cloning(0.0, snapshots))
    os.close(fd)
    assert state.phase is FolderPhase.FILLING
    assert "as it was" in state.progress.message
    yield storage, backend
    await backend.close()


def held(path):
    return os.listdir(path / ".snap")


async def test_a_clone_is_of_the_moment_it_was_begun_in_whatever_becomes_of_its_source(
    begun, tmp_path
):
    storage, backend = begun
    source, clone = storage.path(SCOPE, FOLDER), storage.path(SCOPE, CLONE)
    assert held(source) == [f"vfolder-clone-{CLONE}"]
    (source / "dir" / "file-7").write_text("changed")
    (source / "dir" / "file-8").unlink()
    await backend.trash_folder(SCOPE, FOLDER, DATASETS)
    await until_live(backend, clone_request())
    for number in (7, 8):
        assert (clone / "dir" / f"file-{number}").read_text() == f"number {number}"
    assert sorted(os.listdir(clone / "dir")) == sorted(os.listdir(tmp_path / "before" / "dir"))
    await backend.restore_folder(SCOPE, FOLDER, DATASETS)
    assert held(source) == []
    assert len(differences(source, clone)) >= 2


async def test_a_clone_that_is_thrown_away_lets_go_of_its_source(begun):
    storage, backend = begun
    await backend.trash_folder(SCOPE, CLONE, COPIES)
    assert held(storage.path(SCOPE, FOLDER)) == []
    await purge_all(backend)
    assert not [path for path in storage.snapshot() if CLONE.value in path]


@pytest.mark.parametrize("below", ["", "dir"])
async def test_a_snapshot_that_somebody_else_left_is_named_by_the_purge(begun, below):
    """It cannot be removed with what it is of, and is not ours to remove."""
    storage, backend = begun
    await backend.trash_folder(SCOPE, CLONE, COPIES)
    weekly = storage.path(SCOPE, FOLDER) / below / ".snap" / "weekly"
    weekly.mkdir()
    await backend.trash_folder(SCOPE, FOLDER, DATASETS)
    for _ in range(2):
        with pytest.raises(NotEmpty, match="'weekly'") as caught:
            await purge_all(backend)
        assert FOLDER.value in str(caught.value)
    (trash,) = storage.path(SCOPE, FOLDER).parent.glob(".purge-*")
    assert os.listdir(trash / below / ".snap") == ["weekly"]
    (trash / below / ".snap" / "weekly").rmdir()
    await purge_all(backend)
    assert not [path for path in storage.snapshot() if FOLDER.value in path]


async def test_a_source_that_is_purged_ends_its_unfinished_clone(begun):
    _, backend = begun
    await backend.trash_folder(SCOPE, FOLDER, DATASETS)
    assert (await purge_all(backend)).removed_folders == 1
    with pytest.raises(NotFound, match="delete the copy"):
        await backend.ensure_folder(clone_request())
    await backend.trash_folder(SCOPE, CLONE, COPIES)
    await purge_all(backend)
    await backend.delete_scope(SCOPE, scope_request().owner)

"""What a clone does that the conformance suite cannot make happen on every storage."""

import os
import subprocess
from dataclasses import replace

import pytest

from vfolder_backends.config import BackendConfig
from vfolder_backends.engine.helpers import Recipe, _Helper
from vfolder_backends.errors import NotOurs, Unsupported
from vfolder_backends.port import FolderPhase
from vfolder_backends.registry import Registry
from vfolder_backends.testing.conformance.base import (
    FOLDER,
    SCOPE,
    folder_request,
    purge_all,
    scope_request,
)
from vfolder_backends.testing.conformance.clone_operations import CLONE, COPIES, clone_request
from vfolder_backends.testing.storages import TreeUnderTest
from vfolder_backends.tree import clone_notes
from vfolder_backends.tree.clone_notes import Note


@pytest.fixture
def storage(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    return TreeUnderTest(root)


@pytest.fixture
async def backend(storage):
    backend = storage.build()
    await backend.attach(None)
    await backend.ensure_scope(scope_request())
    await backend.ensure_folder(folder_request())
    yield backend
    await backend.close()


@pytest.fixture
def root(storage):
    fd = os.open(storage.root, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
async def test_what_cannot_be_copied_faithfully_never_goes_live(storage, backend, tmp_path):
    """A mount inside the source is not walked into, and a hole in the copy would not be seen."""
    inside = storage.path(SCOPE, FOLDER) / "inside"
    inside.mkdir()
    (tmp_path / "other").mkdir()
    subprocess.run(["mount", "--bind", tmp_path / "other", inside], check=True)
    try:
        for _ in range(2):
            with pytest.raises(Unsupported, match=r"not faithful.*inside \(mount\)"):
                await backend.ensure_folder(clone_request())
            assert not storage.path(SCOPE, CLONE).exists()
    finally:
        subprocess.run(["umount", inside], check=True)
    with pytest.raises(Unsupported):
        await backend.ensure_folder(clone_request())
    await backend.trash_folder(SCOPE, CLONE, COPIES)
    await purge_all(backend)
    assert (await backend.ensure_folder(clone_request())).phase is FolderPhase.LIVE


async def test_who_comes_second_is_told_how_far_it_is_and_touches_nothing(storage, backend, root):
    with clone_notes.locked(root, SCOPE, CLONE) as lock:
        assert lock is not None
        before = storage.snapshot()
        state = await backend.ensure_folder(clone_request())
        assert (state.phase, state.progress.reason) == (FolderPhase.FILLING, "Copying")
        assert [path for path in storage.snapshot() if "/names/" not in path] == [
            path for path in before if "/names/" not in path
        ]
    assert (await backend.ensure_folder(clone_request())).phase is FolderPhase.LIVE


async def test_a_helper_that_outlives_its_caller_keeps_others_out(storage, backend, root):
    with clone_notes.locked(root, SCOPE, CLONE) as lock:
        helper = _Helper(root, Recipe("copy", (root,), held=(lock,)))
    try:
        with clone_notes.locked(root, SCOPE, CLONE) as lock:
            assert lock is None
    finally:
        helper.end()
    with clone_notes.locked(root, SCOPE, CLONE) as lock:
        assert lock is not None
    with clone_notes.locked(root, SCOPE, FOLDER) as other:
        assert other is not None


async def test_a_source_made_anew_is_another_source(storage, backend, root):
    source = replace(clone_request().source)
    await backend.ensure_folder(clone_request())
    await backend.trash_folder(SCOPE, CLONE, COPIES)
    await purge_all(backend)
    (storage.path(SCOPE, CLONE).parent).mkdir(parents=True)
    new = storage.path(SCOPE, CLONE).with_name(f".new-{CLONE.value[4:]}")
    new.mkdir()
    clone_notes.write(root, SCOPE, CLONE, Note(source, inode=1, entries=7))
    with pytest.raises(BaseException, match="made anew since the copy began"):
        await backend.ensure_folder(clone_request())


async def test_a_damaged_note_is_refused_and_can_be_deleted(storage, backend, root):
    (storage.path(SCOPE, CLONE).parent).mkdir(parents=True)
    storage.path(SCOPE, CLONE).with_name(f".new-{CLONE.value[4:]}").mkdir()
    clone_notes.write(root, SCOPE, CLONE, Note(clone_request().source, 1))
    note = storage.root / ".vfolder" / "clones" / SCOPE.value / CLONE.value
    note.write_text("{}")
    with pytest.raises(NotOurs, match="damaged"):
        await backend.ensure_folder(clone_request())
    assert FOLDER in [state.folder async for state in backend.list_folders(SCOPE)]
    await backend.trash_folder(SCOPE, CLONE, COPIES)
    await purge_all(backend)
    assert not note.exists()
    assert (await backend.ensure_folder(clone_request())).phase is FolderPhase.LIVE


async def test_the_capability_tells_how_files_are_copied(storage, backend):
    able = (await backend.probe()).capabilities
    assert able.clone in ("Copy", "Reflink")
    assert os.listdir(storage.root / ".vfolder" / "tmp") == []
    reader = Registry().build(
        BackendConfig("reader", "vfs", str(storage.root.parent), read_only=True)
    )
    await reader.attach(None, initialise=False)
    assert (await reader.probe()).capabilities.clone == "Copy"
    await reader.close()

"""Rules on what lies on the disk: the layout, marks that are read strictly, data nobody made."""

import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from vfolder_backends.errors import DataMissing, Misconfigured, NotEmpty, NotOurs, RootLost
from vfolder_backends.ids import FolderHex, ScopeHex
from vfolder_backends.layout import folder_path, new_name
from vfolder_backends.port import Adoption, FolderAttributes, FolderPhase, Limits, StorageBackend
from vfolder_backends.testing.conformance.base import (
    DATASETS,
    FOLDER,
    LIMITS,
    SCOPE,
    STRANGER,
    TEAM,
    Rules,
    folder_request,
    purge_all,
    scope_request,
)
from vfolder_backends.testing.storages import TreeUnderTest

MARKS = f".vfolder/marks/{SCOPE}"
NAMES = f".vfolder/names/{TEAM.cluster}/{TEAM.namespace}"


class DiskRules(Rules):
    """The tree as it is found on the disk."""

    async def test_layout(
        self, storage: TreeUnderTest, backend: StorageBackend, folder: FolderHex
    ) -> None:
        """Everything lies where `layout` says, and tenants cannot read whose what is."""
        path = folder_path(SCOPE, folder)
        assert storage.snapshot() == sorted(
            [
                ".vfolder",
                ".vfolder/marks",
                MARKS,
                f"{MARKS}/scope",
                f"{MARKS}/{folder}",
                ".vfolder/names",
                f".vfolder/names/{TEAM.cluster}",
                NAMES,
                f"{NAMES}/folders",
                f"{NAMES}/folders/{DATASETS.name}",
                f"{NAMES}/scopes",
                f"{NAMES}/scopes/{TEAM.name}",
                ".vfolder/root",
                ".vfolder/tmp",
                *(str(parent) for parent in Path(path).parents[:3]),
                path,
            ]
        )
        modes = {
            name: stat.S_IMODE((storage.root / name).stat().st_mode)
            for name in (".vfolder", ".vfolder/root", ".vfolder/marks", ".vfolder/names")
        }
        assert modes == {
            ".vfolder": 0o711,
            ".vfolder/root": 0o644,
            ".vfolder/marks": 0o700,
            ".vfolder/names": 0o700,
        }
        mark = json.loads((storage.root / ".vfolder/root").read_text())
        assert mark == {"layout": 3, "rootID": await backend.attach(None)}

    async def test_nothing_is_left_of_what_was_deleted(
        self, storage: TreeUnderTest, backend: StorageBackend, folder: FolderHex
    ) -> None:
        """After the last deletion the tree is as after the attach."""
        await storage.fill(SCOPE, folder, 10)
        await backend.trash_folder(SCOPE, folder, DATASETS)
        await purge_all(backend)
        await backend.delete_scope(SCOPE, TEAM)
        left = [path for path in storage.snapshot() if not path.startswith(".vfolder/names/")]
        assert left == [
            ".vfolder",
            ".vfolder/marks",
            ".vfolder/names",
            ".vfolder/root",
            ".vfolder/tmp",
        ]
        assert list(storage.root.joinpath(".vfolder/tmp").iterdir()) == []

    async def test_trash_takes_no_inode_in_the_scope(
        self, storage: TreeUnderTest, backend: StorageBackend, folder: FolderHex
    ) -> None:
        """The rename stays in the folder's own parent: it works in a scope that is full."""
        parent = storage.path(SCOPE, folder).parent
        before = sorted(os.walk(storage.root / SCOPE.value))
        inode = storage.path(SCOPE, folder).stat().st_ino
        await backend.trash_folder(SCOPE, folder, DATASETS)
        (aside,) = parent.iterdir()
        assert aside.name.startswith(f".trash-{folder.value[4:]}-")
        assert aside.stat().st_ino == inode
        assert len(list(os.walk(storage.root / SCOPE.value))) == len(before)

    @pytest.mark.parametrize("content", ["", "{", "[]", '{"cluster": "c"}', '{"cluster": 1}'])
    async def test_damaged_marks_are_never_absent(
        self, storage: TreeUnderTest, backend: StorageBackend, folder: FolderHex, content: str
    ) -> None:
        """What cannot be read as a mark is not ours, whatever is asked."""
        (storage.root / MARKS / folder.value).write_text(content)
        with pytest.raises(NotOurs):
            await backend.ensure_folder(replace(folder_request(), adoption=Adoption()))
        with pytest.raises(NotOurs):
            await backend.trash_folder(SCOPE, folder, DATASETS)
        (storage.root / MARKS / "scope").write_text(content)
        for call in (
            backend.ensure_scope(replace(scope_request(), adoption=Adoption())),
            backend.delete_scope(SCOPE, TEAM),
            backend.set_limits(SCOPE, TEAM, Limits()),
        ):
            with pytest.raises(NotOurs):
                await call
        assert [state.owner async for state in backend.list_scopes()] == [None]
        assert storage.path(SCOPE, folder).is_dir()
        (storage.root / ".vfolder/root").write_text(content)
        with pytest.raises(RootLost):
            await storage.build().attach(None)

    async def test_marks_of_later_versions_are_read(
        self, storage: TreeUnderTest, backend: StorageBackend, folder: FolderHex
    ) -> None:
        """Fields that we do not know do not matter; a layout that we do not know does."""
        mark = storage.root / MARKS / folder.value
        mark.write_text(json.dumps({**json.loads(mark.read_text()), "more": [1]}))
        assert (await backend.ensure_folder(folder_request())).owner == DATASETS
        root_mark = storage.root / ".vfolder/root"
        root_mark.write_text(root_mark.read_text().replace("3", "4", 1))
        with pytest.raises(Misconfigured, match="layout 4"):
            await storage.build().attach(None)

    async def test_index_is_only_a_hint(
        self, storage: TreeUnderTest, backend: StorageBackend, folder: FolderHex
    ) -> None:
        """Stale, damaged and missing entries are ignored, and mended by the next `ensure`."""
        entries = {
            storage.root / NAMES / "scopes" / TEAM.name: scope_request(),
            storage.root / NAMES / "folders" / DATASETS.name: folder_request(),
        }
        for entry in entries:
            right = entry.read_text()
            for wrong in ("", "../../x", "0" * 32, f"{SCOPE}/{'0' * 32}", None):
                if wrong is None:
                    entry.unlink()
                else:
                    entry.write_text(wrong)
                found = (await backend.find_scope(TEAM), await backend.find_folder(DATASETS))
                assert None in found
                await backend.ensure_scope(scope_request())
                await backend.ensure_folder(folder_request())
                assert entry.read_text() == right

    async def test_adoption_moves_not_a_byte(
        self, storage: TreeUnderTest, backend: StorageBackend
    ) -> None:
        """A tree of the same layout made by others is taken over as it lies."""
        path = storage.path(SCOPE, FOLDER)
        path.mkdir(parents=True)
        (path / "data").write_text("precious")
        os.chown(path, 4711, 4712)
        path.chmod(0o2711)

        def seen() -> list[tuple[object, ...]]:
            below = (storage.root / SCOPE.value).rglob("*")
            found = [(str(p), p.lstat()) for p in (storage.root / SCOPE.value, *below)]
            return [(n, s.st_ino, s.st_mode, s.st_uid, s.st_gid, s.st_mtime_ns) for n, s in found]

        before = seen()
        with pytest.raises(NotOurs):
            await backend.ensure_scope(scope_request())
        with pytest.raises(NotOurs):
            await backend.delete_scope(SCOPE, TEAM)
        with pytest.raises(NotOurs):
            await backend.set_limits(SCOPE, TEAM, LIMITS)
        assert [(s.scope, s.owner) async for s in backend.list_scopes()] == [(SCOPE, None)]
        taken = await backend.ensure_scope(replace(scope_request(), adoption=Adoption()))
        assert taken.owner == TEAM
        request = replace(folder_request(), attributes=FolderAttributes(), must_exist=True)
        state = await backend.ensure_folder(replace(request, adoption=Adoption()))
        assert state.attributes == FolderAttributes(4711, 4712, 0o2711)
        assert seen() == before
        assert (path / "data").read_text() == "precious"

    async def test_intent_covers_only_an_empty_container(
        self, storage: TreeUnderTest, backend: StorageBackend, scope: ScopeHex
    ) -> None:
        """After a lost answer an unmarked container is ours if nothing is in it, not otherwise."""
        mark = storage.root / MARKS / "scope"
        mark.rename(storage.intent(scope))
        (storage.root / scope.value / "file").write_text("somebody's")
        with pytest.raises(NotOurs):
            await backend.ensure_scope(scope_request())
        with pytest.raises(NotEmpty):
            await backend.delete_scope(scope, TEAM)
        with pytest.raises(NotOurs):
            await backend.ensure_scope(scope_request(STRANGER))
        (storage.root / scope.value / "file").unlink()
        assert (await backend.ensure_scope(scope_request())).owner == TEAM
        assert not storage.intent(scope).exists()

    @pytest.mark.parametrize(
        "foreign", ["file", "zz/x", "f0/file", "f0/f0/file", "f0/f0/.trash-x", "f0/f0/x/y"]
    )
    async def test_foreign_things_hold_a_scope(
        self, storage: TreeUnderTest, backend: StorageBackend, scope: ScopeHex, foreign: str
    ) -> None:
        """A deletion removes our own empty directories and nothing else."""
        thing = storage.root / scope.value / foreign
        thing.parent.mkdir(parents=True, exist_ok=True)
        thing.write_text("not yours")
        for _ in range(2):
            with pytest.raises(NotEmpty, match=foreign.split("/")[0]):
                await backend.delete_scope(scope, TEAM)
        assert thing.read_text() == "not yours"
        assert (await backend.describe_scope(scope)).owner == TEAM

    async def test_unmarked_trash_is_left_alone(
        self, storage: TreeUnderTest, backend: StorageBackend, folder: FolderHex
    ) -> None:
        """No purge without an owner mark, whatever the name says."""
        parent = storage.path(SCOPE, folder).parent
        leaf = "0" * 28
        for why in ("trash", "purge"):
            (parent / f".{why}-{leaf}-1").mkdir()
            (parent / f".{why}-{leaf}-1" / "data").write_text("precious")
        await purge_all(backend)
        for why in ("trash", "purge"):
            assert (parent / f".{why}-{leaf}-1" / "data").read_text() == "precious"

    async def test_foreign_marks_stay(
        self, storage: TreeUnderTest, backend: StorageBackend, folder: FolderHex
    ) -> None:
        """Nothing we may do touches what is marked for another cluster."""
        await backend.trash_folder(SCOPE, folder, DATASETS)
        await backend.ensure_folder(replace(folder_request(STRANGER), folder=FolderHex("ab" * 16)))
        mark = (storage.root / MARKS / ("ab" * 16)).read_bytes()
        with pytest.raises(NotOurs):
            await backend.trash_folder(SCOPE, FolderHex("ab" * 16), DATASETS)
        await purge_all(backend)
        with pytest.raises(NotEmpty):
            await backend.delete_scope(SCOPE, TEAM)
        assert (storage.root / MARKS / ("ab" * 16)).read_bytes() == mark
        state = await backend.describe_folder(SCOPE, FolderHex("ab" * 16))
        assert (state.owner, state.phase) == (STRANGER, FolderPhase.LIVE)

    async def test_folder_does_not_bring_back_its_scope(
        self, storage: TreeUnderTest, backend: StorageBackend, scope: ScopeHex
    ) -> None:
        """A container that vanished is not made by the folder's `mkdir`, without its limits."""
        await storage.lose_scope(scope)
        with pytest.raises(DataMissing):
            await backend.ensure_folder(folder_request())
        assert not (storage.root / scope.value).exists()

    async def test_leftovers_of_a_creation_are_empty_names(
        self, storage: TreeUnderTest, backend: StorageBackend, folder: FolderHex
    ) -> None:
        """An unfinished directory beside a live folder goes, and never hides the data."""
        await storage.fill(SCOPE, folder, 10)
        left = storage.path(SCOPE, folder).with_name(new_name(folder))
        left.mkdir()
        await backend.trash_folder(SCOPE, folder, DATASETS)
        await backend.restore_folder(SCOPE, folder, DATASETS)
        assert [p.name for p in storage.path(SCOPE, folder).iterdir()] == ["data-10"]
        left.mkdir()
        await backend.ensure_folder(folder_request())
        assert not left.exists()

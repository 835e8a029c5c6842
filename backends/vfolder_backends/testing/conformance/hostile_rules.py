"""Rules on what tenants, or admins by mistake, may have left on the disk."""

import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from vfolder_backends.errors import Misconfigured, PathConflict, RootMissing
from vfolder_backends.ids import FolderHex, ScopeHex
from vfolder_backends.layout import folder_parts
from vfolder_backends.port import Owner, StorageBackend
from vfolder_backends.testing.conformance.base import (
    DATASETS,
    FOLDER,
    SCOPE,
    Rules,
    folder_request,
    purge_all,
    scope_request,
)
from vfolder_backends.testing.storages import TreeUnderTest

_DEPTH = 400


class HostileRules(Rules):
    """Links, files and trees that are meant to hurt."""

    @pytest.mark.parametrize("kind", ["link", "dangling", "file"])
    @pytest.mark.parametrize("level", [1, 2, 3])
    async def test_something_in_the_way_of_a_folder(
        self,
        storage: TreeUnderTest,
        backend: StorageBackend,
        scope: ScopeHex,
        tmp_path: Path,
        level: int,
        kind: str,
    ) -> None:
        """Whatever lies at one of the levels of a path is a conflict, and stays as it is."""
        parts = folder_parts(scope, FOLDER)
        place = storage.root.joinpath(*parts[: level + 1])
        await self._conflict(tmp_path, place, kind, lambda: self._all(backend))

    @pytest.mark.parametrize("kind", ["link", "dangling", "file"])
    async def test_something_in_the_way_of_a_scope(
        self, storage: TreeUnderTest, backend: StorageBackend, tmp_path: Path, kind: str
    ) -> None:
        """The same at the scope's own place."""

        async def ensure() -> None:
            await backend.ensure_scope(scope_request())

        await self._conflict(tmp_path, storage.root / SCOPE.value, kind, ensure)

    async def _all(self, backend: StorageBackend) -> None:
        for call in (
            lambda: backend.trash_folder(SCOPE, FOLDER, DATASETS),
            lambda: backend.restore_folder(SCOPE, FOLDER, DATASETS),
            lambda: backend.describe_folder(SCOPE, FOLDER),
        ):
            with pytest.raises(PathConflict):
                await call()
        await backend.ensure_folder(folder_request())

    async def _conflict(
        self,
        outside: Path,
        place: Path,
        kind: str,
        call: Callable[[], Awaitable[object]],
    ) -> None:
        seen = _obstruct(outside, place, kind)
        for _ in range(2):
            with pytest.raises(PathConflict):
                await call()
        assert _paths(outside) == seen
        assert _kind(place) == kind

    async def test_link_in_place_of_the_control_directory(self, storage: TreeUnderTest) -> None:
        """No mark is written through a link."""
        elsewhere = storage.root / "elsewhere"
        elsewhere.mkdir()
        (storage.root / ".vfolder").symlink_to(elsewhere)
        with pytest.raises(PathConflict):
            await storage.build().attach(None)
        assert list(elsewhere.iterdir()) == []

    async def test_no_root(self, storage: TreeUnderTest) -> None:
        """A root that is not there, or no directory, is named."""
        storage.root.rmdir()
        with pytest.raises(RootMissing, match=str(storage.root)):
            await storage.build().attach(None)
        storage.root.write_text("")
        with pytest.raises(Misconfigured, match=str(storage.root)):
            await storage.build().attach(None)

    async def test_names_that_would_climb(
        self, storage: TreeUnderTest, backend: StorageBackend, scope: ScopeHex
    ) -> None:
        """An owner's parts become components of a path; nothing but a name passes."""
        before = storage.snapshot()
        for bad in ("..", ".", "", "a/b", "A", "x\n", "a" * 254, "\u00fc"):
            for owner in (Owner(bad, "n", "x"), Owner("c", bad, "x"), Owner("c", "n", bad)):
                with pytest.raises(Misconfigured):
                    await backend.ensure_folder(folder_request(owner))
                with pytest.raises(Misconfigured):
                    await backend.find_folder(owner)
        assert storage.snapshot() == before

    async def test_purge_of_a_hostile_tree(
        self,
        storage: TreeUnderTest,
        backend: StorageBackend,
        folder: FolderHex,
        tmp_path: Path,
    ) -> None:
        """Everything in it goes; nothing beside, above or behind a link does."""
        beside = FolderHex(FOLDER.value[:4] + "b" * 28)
        await backend.ensure_folder(folder_request(Owner("c", "n", "beside"), beside))
        await storage.fill(SCOPE, beside, 10)
        outside = tmp_path / "outside"
        (outside / "deep").mkdir(parents=True)
        (outside / "deep" / "file").write_text("precious")
        _make_hostile(storage.path(SCOPE, folder), outside, storage.root)
        kept = [p for p in storage.snapshot() if folder.value[4:] not in p]
        kept.remove(f".vfolder/names/{DATASETS.cluster}/{DATASETS.namespace}/folders/datasets")
        kept.remove(f".vfolder/names/{DATASETS.cluster}/{DATASETS.namespace}/folders")
        await backend.trash_folder(SCOPE, folder, DATASETS)
        result = await purge_all(backend)
        assert result.removed_folders == 1
        assert storage.snapshot() == kept
        assert (outside / "deep" / "file").read_text() == "precious"
        assert [p.name for p in storage.path(SCOPE, beside).iterdir()] == ["data-10"]

    async def test_two_purges_of_one_tree(
        self, storage: TreeUnderTest, backend: StorageBackend, folder: FolderHex
    ) -> None:
        """Two actors that remove the same tree at once do not trip over each other."""
        top = storage.path(SCOPE, folder)
        for number in range(300):
            deep = top / str(number % 10) / str(number % 7) / str(number)
            deep.mkdir(parents=True)
            (deep / "file").write_text("")
        await backend.trash_folder(SCOPE, folder, DATASETS)
        results = await self.race(storage, *[purge_all] * 4)
        assert not [result for result in results if isinstance(result, BaseException)]
        assert not top.parent.exists()


def _obstruct(outside: Path, place: Path, kind: str) -> list[str]:
    victim = outside / "victim"
    (victim / "f0" / "f0").mkdir(parents=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    if kind == "file":
        place.write_text("in the way")
    else:
        place.symlink_to(victim if kind == "link" else outside / "nowhere")
    return _paths(outside)


def _paths(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*"))


def _kind(place: Path) -> str:
    if not place.is_symlink():
        return "file" if place.is_file() else "gone"
    return "link" if place.exists() else "dangling"


def _make_hostile(top: Path, outside: Path, root: Path) -> None:
    (top / "link-out").symlink_to(outside)
    (top / "link-up").symlink_to("../..")
    (top / "link-root").symlink_to(root)
    (top / "hard").write_text("x")
    os.link(top / "hard", top / "hard-too")
    (top / ("n" * 255)).write_text("")
    (top / "new\nline \x07 and space").mkdir()
    os.close(os.open(os.fsencode(top) + b"/\xff\xfe", os.O_CREAT | os.O_WRONLY))
    (top / ".purge-me").mkdir()
    os.mkfifo(top / "pipe")
    here = os.open(top, os.O_RDONLY)
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(f"/proc/self/fd/{here}/socket")
        # Deeper than any path may be long: only one step at a time reaches the end.
        fd = os.dup(here)
        for level in range(_DEPTH):
            name = f"{level:03}".ljust(40, "d")
            os.mkdir(name, dir_fd=fd)
            os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
            below = os.open(name, os.O_RDONLY, dir_fd=fd)
            os.close(fd)
            fd = below
        os.close(fd)
    finally:
        os.close(here)
    closed = top / "closed" / "inner"
    closed.mkdir(parents=True)
    (closed / "file").write_text("")
    closed.chmod(0)
    closed.parent.chmod(0)

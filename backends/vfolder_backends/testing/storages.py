"""Storages under test: how the conformance suite reaches behind a backend's back."""

import asyncio
import os
import shutil
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final

from vfolder_backends.config import BackendConfig
from vfolder_backends.ids import FolderHex, ScopeHex
from vfolder_backends.layout import CONTROL_DIR, INTENT_MARK, MARKS_DIR, TEMP_DIR, folder_path
from vfolder_backends.port import Limits, StorageBackend
from vfolder_backends.registry import Registry
from vfolder_backends.testing.memory import MemoryBackend
from vfolder_backends.testing.memory_storage import MemoryStorage

_KINDS: Final = Registry()
"""Read once, as a server of child processes does before it has any."""


class StorageUnderTest(ABC):
    """One empty storage; every `build` gives one more actor on it."""

    @abstractmethod
    def build(self) -> StorageBackend:
        """Return a backend that is not attached yet."""

    @abstractmethod
    async def fill(self, scope: ScopeHex, folder: FolderHex, size: int) -> None:
        """Write `size` bytes into a live folder, as a pod would."""

    @abstractmethod
    async def tamper(self, scope: ScopeHex, limits: Limits) -> None:
        """Change a scope's limits as somebody on the storage would."""

    @abstractmethod
    async def lose_scope(self, scope: ScopeHex) -> None:
        """Let a scope's container vanish with all in it."""

    @abstractmethod
    async def lose_folder(self, scope: ScopeHex, folder: FolderHex) -> None:
        """Let a folder's directory vanish."""

    @abstractmethod
    async def plant_folder(self, scope: ScopeHex, folder: FolderHex) -> None:
        """Put a folder there that nobody marked."""

    @abstractmethod
    async def unmount(self) -> None:
        """Show an empty directory in place of the root."""

    @abstractmethod
    async def mount(self) -> None:
        """Show the root again."""


@dataclass
class MemoryUnderTest(StorageUnderTest):
    """The in-memory backend."""

    storage: MemoryStorage = field(default_factory=MemoryStorage)
    files: Counter[FolderHex] = field(default_factory=Counter)

    def build(self) -> StorageBackend:
        """Return one more actor."""
        return MemoryBackend(BackendConfig("memory", "memory", "/memory"), self.storage)

    async def fill(self, scope: ScopeHex, folder: FolderHex, size: int) -> None:
        """Say so."""
        self.files[folder] += 1
        self.storage.fill(scope, folder, size, files=self.files[folder])

    async def tamper(self, scope: ScopeHex, limits: Limits) -> None:
        """Say so."""
        self.storage.tamper(scope, limits)

    async def lose_scope(self, scope: ScopeHex) -> None:
        """Say so."""
        self.storage.lose_scope(scope)

    async def lose_folder(self, scope: ScopeHex, folder: FolderHex) -> None:
        """Say so."""
        self.storage.lose_folder(scope, folder)

    async def plant_folder(self, scope: ScopeHex, folder: FolderHex) -> None:
        """Say so."""
        self.storage.plant_folder(scope, folder, None)

    async def unmount(self) -> None:
        """Say so."""
        self.storage.unmount()

    async def mount(self) -> None:
        """Say so."""
        self.storage.mount()


@dataclass
class TreeUnderTest(StorageUnderTest):
    """A backend over a directory that the test can reach; kinds with limits add `tamper`.

    Instances can be pickled, so that another process can build a backend, too.

    Attributes:
        root: an existing empty directory.
        kind: the backend's type.
        holds_open_files: whether a file cannot be removed while somebody here has it open.
        limits_bind_operator: whether what is enforced stops plain writes by us, too.
    """

    holds_open_files: ClassVar[bool] = False
    limits_bind_operator: ClassVar[bool] = True

    root: Path
    kind: str = "vfs"

    def build(self) -> StorageBackend:
        """Return one more actor."""
        kinds = _KINDS if self.kind in _KINDS.types else Registry()  # installed since
        return kinds.build(self.configured())

    def configured(self) -> BackendConfig:
        """What it is built with."""
        return BackendConfig("under-test", self.kind, str(self.root))

    def path(self, scope: ScopeHex, folder: FolderHex) -> Path:
        """Where a live folder is."""
        return self.root / folder_path(scope, folder)

    def intent(self, scope: ScopeHex) -> Path:
        """Where the intent to make a scope is."""
        return self.root / CONTROL_DIR / MARKS_DIR / scope.value / INTENT_MARK

    async def fill(self, scope: ScopeHex, folder: FolderHex, size: int) -> None:
        """Write a file."""
        await asyncio.to_thread(_write, self.path(scope, folder) / f"data-{size}", size)

    async def tamper(self, scope: ScopeHex, limits: Limits) -> None:
        """There is nothing to tamper with where no limit is kept."""
        raise NotImplementedError

    async def lose_scope(self, scope: ScopeHex) -> None:
        """Remove it."""
        await asyncio.to_thread(shutil.rmtree, self.root / scope.value)

    async def lose_folder(self, scope: ScopeHex, folder: FolderHex) -> None:
        """Remove it."""
        await asyncio.to_thread(shutil.rmtree, self.path(scope, folder))

    async def plant_folder(self, scope: ScopeHex, folder: FolderHex) -> None:
        """Make the directory."""
        self.path(scope, folder).mkdir(parents=True)

    @property
    def _hidden(self) -> Path:
        return self.root.with_name(f"{self.root.name}.hidden")

    async def unmount(self) -> None:
        """Rename the root away and leave an empty directory: what a lost mount looks like."""
        self.root.rename(self._hidden)
        self.root.mkdir()

    async def mount(self) -> None:
        """Undo `unmount`."""
        self.root.rmdir()
        self._hidden.rename(self.root)

    def snapshot(self) -> list[str]:
        """Return every path below the root, temporary files left out."""
        found = []
        for folder, folders, files in os.walk(self.root):
            where = Path(folder).relative_to(self.root)
            if where != Path(CONTROL_DIR, TEMP_DIR):
                found += [str(where / name) for name in (*folders, *files)]
        return sorted(found)


@dataclass
class NfsUnderTest(TreeUnderTest):
    """A tree that the operator itself sees over NFS."""

    holds_open_files: ClassVar[bool] = True


def _write(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.write(b"x" * size)
        file.flush()
        os.fsync(file.fileno())


async def until(check: Callable[[], Awaitable[bool]], seconds: float) -> None:
    """Wait until the coroutine function `check` returns True.

    Raises:
        AssertionError: it did not in time.
    """
    deadline = time.monotonic() + seconds
    while not await check():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        await asyncio.sleep(0.05)

"""Usage by walking, for storages that count nothing: one walk over a scope, sorted out by folder.

Bytes are those of allocated blocks, as `du` gives them, and a file with several names counts once,
where it is met first. The walk is remembered in memory from one call to the next; a process that
begins anew begins its walks anew.
"""

import os
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from vfolder_backends.access import RootAccess
from vfolder_backends.engine.stop import Stop
from vfolder_backends.engine.visit import Batch, Kind, visit
from vfolder_backends.ids import FolderHex, ScopeHex
from vfolder_backends.layout import folder_from_parts
from vfolder_backends.openat import directory
from vfolder_backends.port import Survey, Usage

SOURCE: Final = "Walk"
_BLOCK: Final = 512
_SHARE: Final = 0.5  # of a call's deadline


@dataclass
class _Walk:
    """How far one walk is; callbacks may run in several threads."""

    cursor: str | None = None
    entries: int = 0
    bytes: Counter[FolderHex | None] = field(default_factory=Counter)
    files: Counter[FolderHex | None] = field(default_factory=Counter)
    linked: set[tuple[int, int]] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, batch: Batch) -> None:
        """Count some entries of one directory; those that vanished meanwhile do not count."""
        inside = folder_from_parts(*batch.path[:3]) if len(batch.path) >= 3 else None
        for name, kind in batch.entries:
            try:
                found = os.stat(name, dir_fd=batch.parent, follow_symlinks=False)
            except FileNotFoundError:
                continue
            # A folder's own directory is its part, too; its trash is the scope's.
            folder = folder_from_parts(*batch.path, name) if len(batch.path) == 2 else inside
            with self.lock:
                self.entries += 1
                if kind is not Kind.DIRECTORY and found.st_nlink > 1:
                    inode = found.st_dev, found.st_ino
                    if inode in self.linked:
                        continue
                    self.linked.add(inode)
                self.bytes[folder] += found.st_blocks * _BLOCK
                self.files[folder] += 1

    def result(self, top: os.stat_result) -> Survey:
        """What it counted, once it is through."""
        now = time.time()
        if self.cursor is not None:
            return Survey(False, self.entries, 0, (), {}, now)
        usage = {
            folder: Usage(self.bytes[folder], files, now, SOURCE)
            for folder, files in self.files.items()
            if folder is not None
        }
        size = self.bytes.total() + top.st_blocks * _BLOCK
        whole = Usage(size, self.files.total() + 1, now, SOURCE)
        return Survey(True, self.entries, 0, (), usage, now, whole)


class UsageWalks:
    """The walks of one backend, one for each scope."""

    def __init__(self, access: RootAccess) -> None:
        self._access = access
        self._walks: dict[ScopeHex, _Walk] = {}

    async def survey(self, scope: ScopeHex) -> Survey:
        """Begin a scope's walk or go on with it, for half of a call's deadline."""
        walk = self._walks.pop(scope, None) or _Walk()
        found = await self._access.run(self._go_on, scope, walk)
        if not found.complete:
            self._walks[scope] = walk
        return found

    def forget(self, scope: ScopeHex) -> None:
        """Drop the walk of a scope that is gone."""
        self._walks.pop(scope, None)

    def _go_on(self, root: int, scope: ScopeHex, walk: _Walk) -> Survey:
        stop = Stop(time.monotonic() + self._access.timeout * _SHARE)
        with directory(root, scope.value) as container:
            walk.cursor = visit(container, walk.add, stop=stop, cursor=walk.cursor).cursor
            return walk.result(os.fstat(container))

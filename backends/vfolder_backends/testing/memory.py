"""The port on dictionaries: every rule of it, and no storage.

A `MemoryStorage` is the storage; each `MemoryBackend` over it is one actor, as two leaders of an
operator are. Tests fill it, break it and look at it through the methods of `MemoryStorage`.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from vfolder_backends.config import BackendConfig, Options
from vfolder_backends.errors import (
    DataMissing,
    DeadlineExceeded,
    NotEmpty,
    NotFound,
    PathConflict,
    RootLost,
    RootMissing,
    Unavailable,
)
from vfolder_backends.facts import Health, Level, PerformanceMetrics
from vfolder_backends.ids import FolderHex, ScopeHex
from vfolder_backends.layout import folder_path
from vfolder_backends.port import (
    BackendRef,
    FolderAttributes,
    FolderPhase,
    FolderRequest,
    FolderState,
    Limits,
    Owner,
    PurgePolicy,
    PurgeResult,
    ScopeRequest,
    ScopeState,
    StorageBackend,
    Survey,
    Usage,
)
from vfolder_backends.sizes import round_up
from vfolder_backends.testing.memory_storage import Folder, Life, MemoryStorage, Scope
from vfolder_backends.tree.marks import check_owner, check_taking

__all__ = ["MemoryBackend", "MemoryFactory", "MemoryOptions", "MemoryStorage"]


class MemoryBackend:
    """One actor on a `MemoryStorage`; a call acts at once, so two actors never see half a step."""

    def __init__(self, config: BackendConfig, storage: MemoryStorage) -> None:
        self._config = config
        self._storage = storage
        self._root_id: str | None = None
        self._closed = False

    @asynccontextmanager
    async def _call(self, method: str) -> AsyncIterator[None]:
        storage = self._storage
        storage.calls[method] += 1
        if self._closed:
            raise Unavailable(f"backend {self._config.name!r} is closed")
        late = storage.latency >= self._config.call_timeout
        await asyncio.sleep(min(storage.latency, self._config.call_timeout))
        fault = storage.take_fault(method)
        if fault is not None and not fault.after:
            raise fault.error
        if method != "attach":
            self._compare_root()
        yield
        if fault is not None:
            raise fault.error
        if late:
            raise DeadlineExceeded(f"no answer within {self._config.call_timeout:g} s")

    def _compare_root(self) -> None:
        if self._root_id is None:
            raise RootLost(f"{self._config.root}: nobody attached this backend yet")
        self._check_mark(self._root_id)

    def _check_mark(self, wanted: str) -> None:
        found = self._storage.tree.root_id
        if not self._storage.exists or found != wanted:
            raise RootLost(f"{self._config.root} has the root mark {found}, expected {wanted}")

    async def attach(self, root_id: str | None, *, initialise: bool = True) -> str:
        """See `port.StorageBackend`."""
        async with self._call("attach"):
            if not self._storage.exists:
                raise RootMissing(f"{self._config.root} does not exist")
            if root_id is not None:
                self._check_mark(root_id)
            elif self._storage.tree.root_id is None:
                if not initialise:
                    raise RootLost(f"{self._config.root} has no root mark")
                self._storage.tree.root_id = secrets.token_hex(16)
            self._root_id = root_id = root_id or self._storage.tree.root_id
            assert root_id is not None
            return root_id

    async def close(self) -> None:
        """Take no more calls."""
        self._closed = True

    async def probe(self) -> Health:
        """Report what the test set."""
        async with self._call("probe"):
            storage = self._storage
        return Health(storage.capabilities, storage.capacity, storage.warnings)

    async def metrics(self) -> PerformanceMetrics | None:
        """Report what the test set."""
        async with self._call("metrics"):
            return self._storage.performance

    async def prepare_scope(self, scope: ScopeHex, ref: BackendRef) -> BackendRef:
        """Nothing needs reserving."""
        async with self._call("prepare_scope"):
            return {}

    async def ensure_scope(self, request: ScopeRequest) -> ScopeState:
        """See `port.StorageBackend`."""
        async with self._call("ensure_scope"):
            check_owner(request.owner)
            held = self._storage.tree.scopes.get(request.scope)
            if held is None:
                if request.must_exist and not request.recreate:
                    raise DataMissing(f"scope {request.scope} is gone, mark and all")
                held = Scope(request.owner, self._stored(request.limits))
                self._storage.tree.scopes[request.scope] = held
            else:
                what = f"scope {request.scope}"
                check_taking(what, held.owner, request.owner, request.adoption)
                if not held.present:
                    if not request.recreate:
                        raise DataMissing(f"{what} was made for {held.owner} and is gone")
                    held.present, held.limits = True, self._stored(request.limits)
                held.owner = request.owner
            return self._scope_state(request.scope)

    def _stored(self, limits: Limits) -> Limits:
        levels = self._storage.capabilities.enforcement
        size = limits.bytes if levels.bytes is not Level.NONE else None
        files = limits.files if levels.files is not Level.NONE else None
        if size is not None:
            size = round_up(size, self._storage.capabilities.granularity_bytes)
        return Limits(size, files)

    def _scope(self, scope: ScopeHex) -> Scope:
        held = self._storage.tree.scopes.get(scope)
        if held is None:
            raise NotFound(f"scope {scope} does not exist")
        if not held.present:
            raise DataMissing(f"scope {scope} was made for {held.owner} and is gone")
        return held

    def _scope_state(self, scope: ScopeHex) -> ScopeState:
        held = self._scope(scope)
        usage = None
        if self._storage.capabilities.enforcement.bytes is not Level.NONE:
            lives = [life for folder in held.folders.values() for life in folder.lives]
            usage = Usage(
                held.loose_bytes + sum(life.bytes for life in lives),
                1 + held.loose_files + sum(1 + life.files for life in lives),
                time.time(),
                trash_bytes=sum(life.bytes for life in lives if life.since is not None),
            )
        enforcement = self._storage.capabilities.enforcement
        return ScopeState(scope, held.owner, scope.value, held.limits, usage, enforcement)

    async def describe_scope(self, scope: ScopeHex) -> ScopeState:
        """See `port.StorageBackend`."""
        async with self._call("describe_scope"):
            return self._scope_state(scope)

    async def set_limits(self, scope: ScopeHex, owner: Owner, limits: Limits) -> ScopeState:
        """See `port.StorageBackend`."""
        async with self._call("set_limits"):
            held = self._scope(scope)
            check_taking(f"scope {scope}", held.owner, owner, None)
            held.limits = self._stored(limits)
            return self._scope_state(scope)

    async def delete_scope(self, scope: ScopeHex, owner: Owner) -> None:
        """See `port.StorageBackend`."""
        async with self._call("delete_scope"):
            held = self._storage.tree.scopes.get(scope)
            if held is not None:
                check_taking(f"scope {scope}", held.owner, owner, None)
                if held.loose_files or any(folder.lives for folder in held.folders.values()):
                    raise NotEmpty("the scope is not empty")
                del self._storage.tree.scopes[scope]

    async def list_scopes(self) -> AsyncIterator[ScopeState]:
        """See `port.StorageBackend`."""
        async with self._call("list_scopes"):
            states = [
                self._scope_state(s)
                for s, held in self._storage.tree.scopes.items()
                if held.present
            ]
        for state in states:
            yield state

    async def survey_scope(self, scope: ScopeHex) -> Survey | None:
        """Report what the test set."""
        async with self._call("survey_scope"):
            self._scope(scope)
            return self._storage.surveys.get(scope)

    async def find_scope(self, owner: Owner) -> ScopeHex | None:
        """See `port.StorageBackend`."""
        async with self._call("find_scope"):
            held = self._storage.tree.scopes.items()
            return next((s for s, scope in held if scope.present and scope.owner == owner), None)

    async def find_folder(self, owner: Owner) -> tuple[ScopeHex, FolderHex] | None:
        """See `port.StorageBackend`."""
        async with self._call("find_folder"):
            for scope, held in self._storage.tree.scopes.items():
                for folder, entry in held.folders.items():
                    if entry.live and entry.owner == owner:
                        return scope, folder
        return None

    async def ensure_folder(self, request: FolderRequest) -> FolderState:
        """See `port.StorageBackend`."""
        async with self._call("ensure_folder"):
            check_owner(request.owner)
            held = self._scope(request.scope)
            if held.owner is None:
                raise NotFound(f"scope {request.scope} is not there, or was never finished")
            entry = held.folders.get(request.folder)
            what = f"folder {request.scope}/{request.folder}"
            if entry is not None:
                check_taking(what, entry.owner, request.owner, request.adoption)
                if not (entry.live or request.recreate):
                    where = "is in the trash" if entry.trashed else f"was made for {entry.owner}"
                    raise DataMissing(f"{what} {where}, and is not there")
            elif request.must_exist and not request.recreate:
                raise NotFound(f"{what} does not exist")
            if entry is None:
                entry = held.folders[request.folder] = Folder(request.owner)
            entry.owner = request.owner
            if entry.live is None:
                entry.lives.append(Life(FolderAttributes(0, 0, 0o755)))
            assert entry.live is not None
            entry.live.attributes = _merged(entry.live.attributes, request.attributes)
            return self._folder_states(request.scope, request.folder)[0]

    def _folder_states(self, scope: ScopeHex, folder: FolderHex) -> list[FolderState]:
        """The states of one folder, the one that `describe_folder` shows first."""
        held = self._storage.tree.scopes.get(scope)
        entry = held.folders.get(folder) if held else None
        if entry is None:
            raise NotFound(f"folder {scope}/{folder} does not exist")
        path = folder_path(scope, folder)
        first = entry.live or entry.trashed
        lives = sorted(entry.lives, key=lambda life: life is not first)
        return [
            FolderState(
                scope,
                folder,
                entry.owner,
                life.phase,
                path,
                life.attributes,
                Usage(life.bytes, 1 + life.files, time.time()),
                life.since,
            )
            for life in lives
        ] or [FolderState(scope, folder, entry.owner, FolderPhase.MISSING, path)]

    async def describe_folder(self, scope: ScopeHex, folder: FolderHex) -> FolderState:
        """See `port.StorageBackend`."""
        async with self._call("describe_folder"):
            return self._folder_states(scope, folder)[0]

    def _entry(self, scope: ScopeHex, folder: FolderHex, owner: Owner) -> Folder | None:
        held = self._storage.tree.scopes.get(scope)
        entry = held.folders.get(folder) if held else None
        if entry is not None:
            check_taking(f"folder {scope}/{folder}", entry.owner, owner, None)
        return entry

    async def trash_folder(self, scope: ScopeHex, folder: FolderHex, owner: Owner) -> None:
        """See `port.StorageBackend`."""
        async with self._call("trash_folder"):
            entry = self._entry(scope, folder, owner)
            if entry is None:
                pass
            elif not entry.lives:
                del self._storage.tree.scopes[scope].folders[folder]
            elif entry.live is not None:
                entry.live.since = float(int(time.time()))

    async def restore_folder(self, scope: ScopeHex, folder: FolderHex, owner: Owner) -> FolderState:
        """See `port.StorageBackend`."""
        async with self._call("restore_folder"):
            entry = self._entry(scope, folder, owner)
            if entry is None:
                raise NotFound(f"folder {scope}/{folder} does not exist")
            if entry.live and entry.trashed:
                raise PathConflict(f"folder {scope}/{folder} was made anew")
            if not entry.live:
                if entry.trashed is None:
                    raise NotFound(f"folder {scope}/{folder} is not in the trash any more")
                entry.trashed.since = None
            return self._folder_states(scope, folder)[0]

    async def list_folders(self, scope: ScopeHex) -> AsyncIterator[FolderState]:
        """See `port.StorageBackend`."""
        async with self._call("list_folders"):
            held = self._storage.tree.scopes.get(scope)
            marked = sorted(f for f, e in held.folders.items() if e.owner) if held else []
            states = [state for f in marked for state in self._folder_states(scope, f)]
        for state in states:
            yield state

    async def purge(self, scope: ScopeHex, policy: PurgePolicy) -> PurgeResult:
        """See `port.StorageBackend`; each file of a folder is one entry."""
        async with self._call("purge"):
            return self._purge(scope, policy)

    def _purge(self, scope: ScopeHex, policy: PurgePolicy) -> PurgeResult:
        held = self._storage.tree.scopes.get(scope)
        waiting = [
            (life.since, folder, life)
            for folder, entry in (held.folders.items() if held else ())
            for life in entry.lives
            if life.since is not None and (life.doomed or life.since < policy.before)
        ]
        assert held is not None or not waiting
        removed_folders, removed_entries = 0, 0
        for _, folder, life in sorted(waiting, key=lambda item: item[0]):
            assert held is not None
            life.doomed = True
            taken = min(life.files, policy.budget - removed_entries)
            removed_entries += taken
            life.bytes -= life.bytes * taken // life.files if life.files else life.bytes
            life.files -= taken
            if life.files:
                return PurgeResult(removed_folders, removed_entries, more=True)
            held.folders[folder].lives.remove(life)
            if not held.folders[folder].lives:
                del held.folders[folder]
            removed_folders += 1
        return PurgeResult(removed_folders, removed_entries, more=False)


def _merged(have: FolderAttributes, want: FolderAttributes) -> FolderAttributes:
    chosen = {
        name: getattr(want, name) if getattr(want, name) is not None else getattr(have, name)
        for name in ("uid", "gid", "mode")
    }
    return replace(have, **chosen)


class MemoryOptions(Options):
    """Has one parameter, so that validation of parameters can be tried."""

    flavour: str = ""


class MemoryFactory:
    """Makes `MemoryBackend`s; backends with one root share one storage.

    Attributes:
        storages: by root directory; a root that is not here gets a fresh one.
    """

    options: type[Options] = MemoryOptions

    def __init__(self, required_credentials: tuple[str, ...] = ()) -> None:
        self.required_credentials = required_credentials
        self.storages: dict[str, MemoryStorage] = {}

    def build(self, config: BackendConfig) -> StorageBackend:
        """Return one more actor on the storage of `config.root`."""
        return MemoryBackend(config, self.storages.setdefault(config.root, MemoryStorage()))

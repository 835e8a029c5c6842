"""The port on dictionaries: every rule of it, and no storage.

A `MemoryStorage` is the storage; each `MemoryBackend` over it is one actor, as two leaders of an
operator are. Tests fill it, break it and look at it through the methods of `MemoryStorage`.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Mapping
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
from vfolder_backends.facts import Health, Level, Link, PerformanceMetrics
from vfolder_backends.ids import FolderHex, ScopeHex
from vfolder_backends.port import (
    BackendRef,
    FolderAttributes,
    FolderPhase,
    FolderRequest,
    FolderSource,
    FolderState,
    Limits,
    Owner,
    Progress,
    PurgePolicy,
    PurgeResult,
    ScopeRequest,
    ScopeState,
    StorageBackend,
    Survey,
    Usage,
)
from vfolder_backends.sizes import round_up
from vfolder_backends.testing.memory_folders import fill, folder_states, merged, purge
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
        if (gate := storage.gates.get(method)) is not None:
            await asyncio.wait_for(gate.wait(), self._config.call_timeout)
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

    @property
    def link(self) -> Link | None:
        """Report what the test set."""
        return self._storage.link

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
                held.owner, held.retired = request.owner, False
            state = self._scope_state(request.scope)
            if self._storage.settling:
                left = self._storage.settling = self._storage.settling - 1
                state = replace(state, progress=Progress("Tagging", "tagging", 9 - left, 10))
            return state

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

    async def retire_scope(self, scope: ScopeHex, owner: Owner) -> None:
        """See `port.StorageBackend`."""
        async with self._call("retire_scope"):
            held = self._storage.tree.scopes.get(scope)
            if held is not None:
                check_taking(f"scope {scope}", held.owner, owner, None)
                held.retired = True

    async def list_retired(self) -> Mapping[ScopeHex, Owner]:
        """See `port.StorageBackend`."""
        async with self._call("list_retired"):
            held = self._storage.tree.scopes.items()
            return {s: scope.owner for s, scope in held if scope.retired and scope.owner}

    async def delete_retired(self, scope: ScopeHex, owner: Owner) -> bool:
        """See `port.StorageBackend`."""
        held = self._storage.tree.scopes.get(scope)
        if held is None or not held.retired:
            return False
        await self.delete_scope(scope, owner)
        return True

    async def survey_scope(self, scope: ScopeHex) -> Survey | None:
        """Report what the test set."""
        async with self._call("survey_scope"):
            self._scope(scope)
            return self._storage.surveys.get(scope)

    async def find_scope(self, owner: Owner) -> ScopeHex | None:
        """See `port.StorageBackend`."""
        async with self._call("find_scope"):
            held = self._storage.tree.scopes.items()
            return next(
                (s for s, x in held if x.present and x.owner == owner and not x.retired), None
            )

    async def find_folder(self, owner: Owner) -> tuple[ScopeHex, FolderHex] | None:
        """See `port.StorageBackend`."""
        async with self._call("find_folder"):
            for scope, held in self._storage.tree.scopes.items():
                for folder, entry in held.folders.items():
                    if entry.live and entry.owner == owner:
                        return scope, folder
        return None

    async def find_trash(self, owner: Owner) -> FolderState | None:
        """See `port.StorageBackend`."""
        async with self._call("find_trash"):
            tree = self._storage.tree
            found = [
                folder_states(tree, scope, folder)[0]
                for scope, held in tree.scopes.items()
                for folder, entry in held.folders.items()
                if entry.owner == owner and entry.trashed
            ]
        trash = [state for state in found if state.phase is FolderPhase.TRASHED]
        return max(trash, key=lambda state: state.since or 0.0, default=None)

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
            source = None
            if request.source is not None and (entry is None or entry.live is None):
                source = self._source(request.source)
            if entry is None:
                entry = held.folders[request.folder] = Folder(request.owner)
            entry.owner = request.owner
            if entry.live is None:
                entry.lives.append(Life(FolderAttributes(0, 0, 0o755), source=source))
            assert entry.live is not None
            entry.live.attributes = merged(entry.live.attributes, request.attributes)
            fill(entry.live, self._storage.copy_files)
            return folder_states(self._storage.tree, request.scope, request.folder)[0]

    def _source(self, source: FolderSource) -> Life:
        held = self._storage.tree.scopes.get(source.scope)
        entry = held.folders.get(source.folder) if held else None
        if entry is None or entry.live is None or entry.live.phase is not FolderPhase.LIVE:
            raise NotFound(f"folder {source.scope}/{source.folder} is not there to be cloned")
        return entry.live

    async def describe_folder(self, scope: ScopeHex, folder: FolderHex) -> FolderState:
        """See `port.StorageBackend`."""
        async with self._call("describe_folder"):
            return folder_states(self._storage.tree, scope, folder)[0]

    def _entry(self, scope: ScopeHex, folder: FolderHex, owner: Owner) -> Folder | None:
        held = self._storage.tree.scopes.get(scope)
        entry = held.folders.get(folder) if held else None
        if entry is not None:
            check_taking(f"folder {scope}/{folder}", entry.owner, owner, None)
        return entry

    async def trash_folder(
        self,
        scope: ScopeHex,
        folder: FolderHex,
        owner: Owner,
        keep_seconds: float | None = None,
    ) -> None:
        """See `port.StorageBackend`."""
        async with self._call("trash_folder"):
            entry = self._entry(scope, folder, owner)
            if entry is None:
                pass
            elif not entry.lives:
                del self._storage.tree.scopes[scope].folders[folder]
            elif entry.live is not None:
                entry.live.since = float(int(time.time()))
                entry.keep = keep_seconds

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
            return folder_states(self._storage.tree, scope, folder)[0]

    async def list_folders(self, scope: ScopeHex) -> AsyncIterator[FolderState]:
        """See `port.StorageBackend`."""
        async with self._call("list_folders"):
            held = self._storage.tree.scopes.get(scope)
            marked = sorted(f for f, e in held.folders.items() if e.owner) if held else []
            tree = self._storage.tree
            states = [state for f in marked for state in folder_states(tree, scope, f)]
        for state in states:
            yield state

    async def purge(self, scope: ScopeHex, policy: PurgePolicy) -> PurgeResult:
        """See `port.StorageBackend`; each file of a folder is one entry."""
        async with self._call("purge"):
            return purge(self._storage.tree.scopes.get(scope), policy)


class MemoryOptions(Options):
    """Has one parameter, so that validation of parameters can be tried."""

    flavour: str = ""


class MemoryFactory:
    """Makes `MemoryBackend`s; backends with one root share one storage.

    Attributes:
        storages: by root directory; a root that is not here gets a fresh one.
        built: the configurations that backends were built from, the last one last.
    """

    options: type[Options] = MemoryOptions

    def __init__(self, required_credentials: tuple[str, ...] = ()) -> None:
        self.required_credentials = required_credentials
        self.storages: dict[str, MemoryStorage] = {}
        self.built: list[BackendConfig] = []

    def build(self, config: BackendConfig) -> StorageBackend:
        """Return one more actor on the storage of `config.root`."""
        self.built.append(config)
        return MemoryBackend(config, self.storages.setdefault(config.root, MemoryStorage()))

"""The port, put together from the tree below a root and the driver of one kind of storage."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Final

from vfolder_backends import mountinfo
from vfolder_backends.access import RootAccess
from vfolder_backends.config import BackendConfig
from vfolder_backends.driver import Linked, QuotaDriver, ScopeQuota, freezing_of
from vfolder_backends.errors import (
    BackendError,
    DataMissing,
    DeadlineExceeded,
    NotEmpty,
    NotOurs,
    Unavailable,
)
from vfolder_backends.facts import Health, Link, PerformanceMetrics
from vfolder_backends.ids import FolderHex, ScopeHex
from vfolder_backends.port import (
    BackendRef,
    FolderRequest,
    FolderState,
    Limits,
    Owner,
    PurgePolicy,
    PurgeResult,
    ScopeRequest,
    ScopeState,
    Survey,
)
from vfolder_backends.tree import folders, marks, retirement, scopes
from vfolder_backends.tree.clones import Cloning
from vfolder_backends.tree.purge import purge
from vfolder_backends.tree.scopes import ScopePlace

_ATTEMPTS: Final = 16
_FOLDER_BATCH: Final = 64
_PURGE_SHARE: Final = 0.5  # of a call's deadline; what is left over is for the last system calls
_CLONE_SHARE: Final = 0.4  # likewise; what was copied is then written out


class TreeBackend:
    """A `port.StorageBackend` over a mounted tree; see the port for what each method promises.

    Args:
        config: name, root, deadline and how many calls may be under way.
        make_driver: gets the access to the root, which the driver shares.
    """

    def __init__(
        self, config: BackendConfig, make_driver: Callable[[RootAccess], QuotaDriver]
    ) -> None:
        self._timeout = config.call_timeout
        self._access = RootAccess(
            config.name,
            config.root,
            config.max_concurrent,
            config.call_timeout,
            read_only=config.read_only,
        )
        self._driver = make_driver(self._access)
        seconds = config.call_timeout * _CLONE_SHARE
        self._cloning = Cloning(seconds, freezing_of(self._driver))

    @property
    def link(self) -> Link | None:
        """How the connection to the array's management interface does, None where there is none."""
        return self._driver.link if isinstance(self._driver, Linked) else None

    async def attach(self, root_id: str | None, *, initialise: bool = True) -> str:
        """Open the root and return its id, written now if there is none and it may be."""
        return await self._access.attach(root_id, self._driver.check_root, initialise)

    async def close(self) -> None:
        """Let go of threads and connections; never blocks on a dead storage."""
        self._access.close()
        await self._driver.close()

    async def probe(self) -> Health:
        """Look whether the storage works and what it can do."""
        async with self._deadline():
            seen = await self._driver.probe()
        able = seen.capabilities
        if await self._access.run(mountinfo.local_locks):
            able = replace(able, clone="None")  # two actors could not be kept apart
        elif able.clone == "None":
            able = replace(able, clone="Copy")  # what the storage cannot do, the tree engine can
        return Health(able, seen.capacity, seen.warnings)

    async def metrics(self) -> PerformanceMetrics | None:
        """Rates of the whole storage."""
        async with self._deadline():
            return await self._driver.metrics()

    async def prepare_scope(self, scope: ScopeHex, ref: BackendRef) -> BackendRef:
        """Reserve vendor ids for a new scope, or confirm those recorded before."""
        async with self._deadline():
            return await self._driver.prepare(scope, ref)

    async def ensure_scope(self, request: ScopeRequest) -> ScopeState:
        """Make the scope with its limits, finish or take it, or return the one that is there."""
        async with self._deadline():
            before: ScopePlace | None = None
            for _ in range(_ATTEMPTS):
                retired = await self._access.run(retirement.read, request.scope)
                if retired is not None and retired.doomed:
                    # It is past its end: it has to be gone before there can be a new one.
                    with suppress(NotEmpty):
                        await self._remove_doomed(request.scope, retired.owner)
                    continue
                place = await self._access.run(scopes.look, request.scope)
                try:
                    scopes.check(place, request)
                    if retired is not None:
                        await self._access.run(retirement.revoke, request.scope)
                        continue
                    finished, quota = await self._advance(place, request)
                    if finished:
                        progress = await self._driver.settle(request.scope)
                        if quota is None or progress is not None:
                            quota = await self._driver.read(request.scope)
                        state = await self._state(request.scope, request.owner, quota)
                        return replace(state, progress=progress)
                except (NotOurs, DataMissing):
                    # Another actor may get on between two looks: only what is seen twice counts.
                    if place == before:
                        raise
                    before = place
            raise Unavailable(f"scope {request.scope} kept changing under us; try again")

    async def _advance(
        self, place: ScopePlace, request: ScopeRequest
    ) -> tuple[bool, ScopeQuota | None]:
        """Take the next step towards a finished scope.

        Returns:
            Whether it is there and ours, and what was read of it where limits were set.
        """
        mine = request.owner
        if place.present and place.intent != mine:
            # Made before: it becomes, or stays, ours as it lies, its limits included.
            return await self._access.run(scopes.commit, request, place.owner), None
        begun = await self._access.run(scopes.begin, request)
        if begun.owner != place.owner:
            # A quicker actor finished it meanwhile; our limits may be older than its.
            await self._access.run(scopes.drop_intent, request.scope)
            return False, None
        if not begun.present:
            await self._driver.create(request.scope, request.ref)
        if place.owner is None and not await self._access.run(scopes.is_free, request.scope):
            marks.check_taking(f"scope {request.scope}", None, mine, request.adoption)
            return await self._access.run(scopes.commit, request, None), None
        quota = await self._write_limits(request.scope, request.limits)
        return await self._access.run(scopes.commit, request, place.owner), quota

    async def describe_scope(self, scope: ScopeHex) -> ScopeState:
        """Read one scope."""
        async with self._deadline():
            place = await self._access.run(scopes.require_present, scope)
            return await self._read_scope(scope, place.owner)

    async def set_limits(self, scope: ScopeHex, owner: Owner, limits: Limits) -> ScopeState:
        """Set both limits and return what the storage then reports."""
        async with self._deadline():
            await self._access.run(scopes.require, scope, owner)
            return await self._state(scope, owner, await self._write_limits(scope, limits))

    async def _write_limits(self, scope: ScopeHex, limits: Limits) -> ScopeQuota:
        """Set limits; return what the storage then shows, which has to be them."""
        await self._driver.write(scope, limits)
        expected = self._driver.stored(limits)
        found = await self._driver.read(scope)
        if found.limits != expected:
            raise BackendError(
                f"scope {scope}: limits {expected} were set, and the storage shows {found.limits}"
            )
        return found

    async def delete_scope(self, scope: ScopeHex, owner: Owner) -> None:
        """Remove an empty scope, its limits and its marks."""
        async with self._deadline():
            place = await self._access.run(scopes.look, scope)
            if not scopes.check_deletion(place, scope, owner):
                await self._driver.cancel(scope)
                await self._access.run(scopes.tidy, scope, owner)
                return
            await self._access.run(scopes.clear, scope)
            await self._driver.release(scope)
            await self._access.run(scopes.forget, scope, owner)

    async def retire_scope(self, scope: ScopeHex, owner: Owner) -> None:
        """Note that the scope shall be removed once its trash is gone."""
        async with self._deadline():
            place = await self._access.run(scopes.look, scope)
            if scopes.check_deletion(place, scope, owner):
                await self._access.run(retirement.retire, scope, owner)

    async def list_retired(self) -> Mapping[ScopeHex, Owner]:
        """Read which scopes are retired, and whose they were."""
        return await self._access.run(retirement.listing)

    async def delete_retired(self, scope: ScopeHex, owner: Owner) -> bool:
        """Remove a retired scope; False if somebody has it again."""
        async with self._deadline():
            retired = await self._access.run(retirement.read, scope)
            if retired is None:
                return False
            marks.check_taking(f"retired scope {scope}", retired.owner, owner, None)
            if not retired.doomed:
                place = await self._access.run(scopes.look, scope)
                scopes.check_deletion(place, scope, owner)
            return await self._remove_doomed(scope, owner)

    async def _remove_doomed(self, scope: ScopeHex, owner: Owner) -> bool:
        """Begin or finish the removal of a retired scope, unless something lies in it after all."""
        if not await self._access.run(retirement.doom, scope):
            return False
        try:
            await self._access.run(scopes.clear, scope)
            await self._driver.release(scope)
        except NotEmpty:
            await self._access.run(retirement.relent, scope)
            raise
        await self._access.run(retirement.finish, scope, owner)
        return True

    async def list_scopes(self) -> AsyncIterator[ScopeState]:
        """Read all scopes in bulk."""
        owners = dict(await self._access.run(scopes.listing))
        async for scope, quota in self._driver.read_all(list(owners)):
            yield await self._state(scope, owners[scope], quota)

    async def survey_scope(self, scope: ScopeHex) -> Survey | None:
        """Walk over a scope for what escaped its limits, and for usage that nothing counts."""
        async with self._deadline():
            await self._access.run(scopes.require_present, scope)
            return await self._driver.survey(scope)

    async def _read_scope(self, scope: ScopeHex, owner: Owner | None) -> ScopeState:
        return await self._state(scope, owner, await self._driver.read(scope))

    async def _state(self, scope: ScopeHex, owner: Owner | None, quota: ScopeQuota) -> ScopeState:
        usage = quota.usage
        if usage is not None:
            usage = await self._access.run(
                folders.with_trash, scope, usage, self._driver.folder_usage
            )
        return ScopeState(
            scope, owner, scope.value, quota.limits, usage, quota.enforcement, quota.ref
        )

    async def find_scope(self, owner: Owner) -> ScopeHex | None:
        """Ask the index of names for a live scope of that owner."""
        scope = await self._access.run(scopes.find, owner)
        if scope is not None and await self._access.run(retirement.read, scope) is not None:
            return None
        return scope

    async def find_folder(self, owner: Owner) -> tuple[ScopeHex, FolderHex] | None:
        """Ask the index of names for a live folder of that owner."""
        return await self._access.run(folders.find, owner)

    async def find_trash(self, owner: Owner) -> FolderState | None:
        """Ask the index of names whether the last folder of that owner can be restored."""
        return await self._access.run(folders.find_trashed, owner, self._driver.folder_usage)

    async def ensure_folder(self, request: FolderRequest) -> FolderState:
        """Make the folder, finish or take it, or return the one that is there."""
        return await self._access.run(
            folders.ensure, request, self._driver.folder_usage, self._cloning
        )

    async def describe_folder(self, scope: ScopeHex, folder: FolderHex) -> FolderState:
        """Read one folder."""
        return await self._access.run(folders.describe, scope, folder, self._driver.folder_usage)

    async def trash_folder(
        self,
        scope: ScopeHex,
        folder: FolderHex,
        owner: Owner,
        keep_seconds: float | None = None,
    ) -> None:
        """Move the folder to the trash by one rename."""
        await self._access.run(
            folders.trash, scope, folder, owner, keep_seconds, self._cloning.freezing
        )

    async def restore_folder(self, scope: ScopeHex, folder: FolderHex, owner: Owner) -> FolderState:
        """Bring a folder back from the trash."""
        return await self._access.run(
            folders.restore, scope, folder, owner, self._driver.folder_usage
        )

    async def list_folders(self, scope: ScopeHex) -> AsyncIterator[FolderState]:
        """List the marked folders of a scope, those in the trash included."""
        marked = await self._access.run(marks.folders, scope)
        for start in range(0, len(marked), _FOLDER_BATCH):
            batch = marked[start : start + _FOLDER_BATCH]
            for state in await self._access.run(
                folders.describe_all, scope, batch, self._driver.folder_usage
            ):
                yield state

    async def purge(self, scope: ScopeHex, policy: PurgePolicy) -> PurgeResult:
        """Remove trash for good, oldest first, for at most about half of the call's deadline."""
        stop_at = time.monotonic() + self._timeout * _PURGE_SHARE
        return await self._access.run(purge, scope, policy, stop_at, self._cloning.freezing)

    @asynccontextmanager
    async def _deadline(self) -> AsyncIterator[None]:
        """Bound a call of several steps as a whole."""
        limit = asyncio.timeout(self._timeout)
        try:
            async with limit:
                yield
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise DeadlineExceeded(f"not finished within {self._timeout:g} s") from error

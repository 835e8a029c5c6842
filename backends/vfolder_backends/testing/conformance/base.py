"""What the rules of the suite share: the objects they speak of, the fixtures, the helpers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from vfolder_backends.errors import BackendError
from vfolder_backends.facts import Capabilities, Level
from vfolder_backends.ids import FolderHex, ScopeHex
from vfolder_backends.port import (
    FolderAttributes,
    FolderRequest,
    Limits,
    Owner,
    PurgePolicy,
    PurgeResult,
    ScopeRequest,
    StorageBackend,
)
from vfolder_backends.sizes import round_up
from vfolder_backends.testing.storages import StorageUnderTest

MIB = 1 << 20
LIMITS = Limits(bytes=8 * MIB, files=1000)
SCOPE, OTHER_SCOPE = ScopeHex("5c" * 16), ScopeHex("07" * 16)
FOLDER, OTHER_FOLDER = FolderHex("f0" * 16), FolderHex("f0" * 15 + "aa")
TEAM = Owner("c1a5-7e", "team-a", "research")
DATASETS = Owner("c1a5-7e", "team-a", "datasets")
STRANGER = Owner("another", "team-a", "datasets")
ATTRIBUTES = FolderAttributes(uid=1000, gid=1001, mode=0o2770)
EVERYTHING = PurgePolicy(before=2.0**40, now=2.0**40)


def scope_request(owner: Owner = TEAM, scope: ScopeHex = SCOPE) -> ScopeRequest:
    """The scope that most tests work with."""
    return ScopeRequest(scope, owner, LIMITS)


def folder_request(owner: Owner = DATASETS, folder: FolderHex = FOLDER) -> FolderRequest:
    """The folder that most tests work with."""
    return FolderRequest(SCOPE, folder, owner, ATTRIBUTES)


async def purge_all(backend: StorageBackend, scope: ScopeHex = SCOPE) -> PurgeResult:
    """Empty the trash, however many calls that takes."""
    while (result := await backend.purge(scope, EVERYTHING)).more:
        pass
    return result


class Rules:
    """Base of all rules: every test gets an empty storage and a backend attached to it."""

    @pytest.fixture
    def storage(self) -> StorageUnderTest:
        """The storage under test, given by the module that binds the suite."""
        raise NotImplementedError

    @pytest.fixture
    async def backend(self, storage: StorageUnderTest) -> AsyncIterator[StorageBackend]:
        """An attached backend."""
        backend = storage.build()
        await backend.attach(None)
        yield backend
        await backend.close()

    @pytest.fixture
    async def capabilities(self, backend: StorageBackend) -> Capabilities:
        """What the backend says it can do."""
        return (await backend.probe()).capabilities

    @pytest.fixture
    async def scope(self, backend: StorageBackend) -> ScopeHex:
        """A scope of TEAM."""
        await backend.ensure_scope(scope_request())
        return SCOPE

    @pytest.fixture
    async def folder(self, backend: StorageBackend, scope: ScopeHex) -> FolderHex:
        """A folder of DATASETS in that scope."""
        await backend.ensure_folder(folder_request())
        return FOLDER

    def stored(self, limits: Limits, capabilities: Capabilities) -> Limits:
        """What a storage of these capabilities must show for `limits`."""
        levels, size, files = capabilities.enforcement, limits.bytes, limits.files
        if size is not None:
            size = round_up(size, capabilities.granularity_bytes)
        return Limits(
            size if levels.bytes is not Level.NONE else None,
            files if levels.files is not Level.NONE else None,
        )

    async def race(
        self,
        storage: StorageUnderTest,
        *calls: Callable[[StorageBackend], Awaitable[object]],
    ) -> list[object]:
        """Run each call on a backend of its own, at once; errors of the port are results."""
        backends = [storage.build() for _ in calls]
        for backend in backends:
            await backend.attach(None)
        results = await asyncio.gather(
            *(call(backend) for call, backend in zip(calls, backends, strict=True)),
            return_exceptions=True,
        )
        for backend in backends:
            await backend.close()
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, BackendError):
                raise result
        return list(results)

"""What the rules on crashes and on stopped leaders do: operations that another process can run."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from vfolder_backends.ids import FolderHex, ScopeHex
from vfolder_backends.port import (
    FolderPhase,
    FolderRequest,
    Limits,
    Owner,
    ScopeRequest,
    StorageBackend,
)
from vfolder_backends.testing.conformance.base import (
    ATTRIBUTES,
    DATASETS,
    LIMITS,
    MIB,
    TEAM,
    Rules,
    purge_all,
)
from vfolder_backends.testing.storages import TreeUnderTest

MAX_STEPS = 200


@dataclass(frozen=True)
class Things:
    """The scope and folder of one attempt, in a tree where each attempt has its own."""

    root_id: str | None
    step: int
    name: str = "f"

    @property
    def scope(self) -> ScopeRequest:
        """The request for the scope."""
        scope = ScopeHex(f"{self.step:032x}")
        return ScopeRequest(scope, replace(TEAM, name=f"q{self.step}"), LIMITS)

    @property
    def folder(self) -> FolderRequest:
        """The request for the folder."""
        owner: Owner = replace(DATASETS, name=f"{self.name}{self.step}")
        folder = FolderHex(f"{self.step:02x}{1:030x}")
        return FolderRequest(self.scope.scope, folder, owner, ATTRIBUTES)


async def attach(backend: StorageBackend, things: Things) -> None:
    """The operation that every other one begins with."""
    await backend.attach(things.root_id)


async def ensure_scope(backend: StorageBackend, things: Things, recreate: bool = False) -> None:
    """Make the scope."""
    await attach(backend, things)
    await backend.ensure_scope(replace(things.scope, recreate=recreate))


async def set_limits(backend: StorageBackend, things: Things) -> None:
    """Change both limits."""
    await attach(backend, things)
    await backend.set_limits(things.scope.scope, things.scope.owner, Limits(bytes=2 * MIB))


async def delete_scope(backend: StorageBackend, things: Things) -> None:
    """Delete the scope."""
    await attach(backend, things)
    await backend.delete_scope(things.scope.scope, things.scope.owner)


async def ensure_folder(backend: StorageBackend, things: Things, recreate: bool = False) -> None:
    """Make the folder."""
    await attach(backend, things)
    await backend.ensure_folder(replace(things.folder, recreate=recreate))


async def trash(backend: StorageBackend, things: Things) -> None:
    """Trash the folder, for longer than any test takes."""
    await attach(backend, things)
    folder = things.folder
    await backend.trash_folder(folder.scope, folder.folder, folder.owner, keep_seconds=3600)


async def retire(backend: StorageBackend, things: Things) -> None:
    """Retire the scope."""
    await attach(backend, things)
    await backend.retire_scope(things.scope.scope, things.scope.owner)


async def delete_retired(backend: StorageBackend, things: Things) -> None:
    """Remove the retired scope."""
    await attach(backend, things)
    await backend.delete_retired(things.scope.scope, things.scope.owner)


async def with_retired(backend: StorageBackend, things: Things) -> None:
    """A scope is retired before."""
    await with_scope(backend, things)
    await retire(backend, things)


async def restore(backend: StorageBackend, things: Things) -> None:
    """Bring the folder back."""
    await attach(backend, things)
    await backend.restore_folder(things.folder.scope, things.folder.folder, things.folder.owner)


async def purge(backend: StorageBackend, things: Things) -> None:
    """Empty the trash."""
    await attach(backend, things)
    await purge_all(backend, things.scope.scope)


Prepare = Callable[[StorageBackend, Things], Awaitable[object]]


async def nothing(backend: StorageBackend, things: Things) -> None:
    """No preparation."""


async def with_scope(backend: StorageBackend, things: Things) -> None:
    """A scope is there before."""
    await backend.ensure_scope(things.scope)


async def with_folder(backend: StorageBackend, things: Things) -> None:
    """A folder is there before."""
    await with_scope(backend, things)
    await backend.ensure_folder(things.folder)


async def with_trash(backend: StorageBackend, things: Things) -> None:
    """A folder is in the trash before."""
    await with_folder(backend, things)
    await trash(backend, things)


async def clean(backend: StorageBackend, things: Things) -> None:
    """Delete folder and scope, as their objects' deletion does."""
    await trash(backend, things)
    await purge(backend, things)
    await delete_scope(backend, things)


class StepRules(Rules):
    """What both kinds of rules check."""

    def nothing_left(self, storage: TreeUnderTest) -> None:
        """Check that all deletions took everything with them."""
        kept = {
            ".vfolder",
            ".vfolder/clones",
            ".vfolder/clones/lock",
            ".vfolder/marks",
            ".vfolder/names",
            f".vfolder/names/{TEAM.cluster}",
            ".vfolder/retired",
            ".vfolder/root",
            ".vfolder/tmp",
        }
        assert set(storage.snapshot()) <= kept

    async def live(self, backend: StorageBackend, things: Things) -> None:
        """Check that there is one folder, whole and found by its name."""
        states = [state async for state in backend.list_folders(things.folder.scope)]
        assert [(s.folder, s.owner, s.phase, s.attributes) for s in states] == [
            (things.folder.folder, things.folder.owner, FolderPhase.LIVE, ATTRIBUTES)
        ]
        found = await backend.find_folder(things.folder.owner)
        assert found == (things.folder.scope, things.folder.folder)

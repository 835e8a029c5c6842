"""What the tests of deletions do and look at, over and over."""

from operator_rig import (
    Api,
    eventually,
)

from vfolder_backends.ids import FolderHex, ScopeHex
from vfolder_backends.port import FolderPhase
from vfolder_backends.testing.memory import MemoryStorage
from vfolder_operator.kube import Body, Kinds


async def ready(api: Api, scope: Body | None = None, folder: Body | None = None) -> Body:
    await api.scope(scope)
    await api.folder(folder)
    return await api.until_ready(Kinds.FOLDER, "data")


async def delete(api: Api, name: str = "data") -> None:
    await api.delete(Kinds.FOLDER, name)
    await api.until_gone(Kinds.FOLDER, name)


def lives(storage: MemoryStorage, at: tuple[ScopeHex, FolderHex]) -> list[FolderPhase]:
    entry = storage.tree.scopes[at[0]].folders.get(at[1])
    return [] if entry is None else [life.phase for life in entry.lives]


async def until_purged(storage: MemoryStorage, at: tuple[ScopeHex, FolderHex]) -> None:
    async def purged() -> bool:
        return lives(storage, at) == []

    await eventually(purged, 15, lambda: f"still there: {lives(storage, at)}")


async def note_of(api: Api, about: str, reason: str) -> str:
    """The text of an event, once it is posted."""
    found: list[str] = []

    async def posted() -> bool:
        async for event in api.kube.list(Kinds.EVENT):
            if (event["regarding"]["name"], event["reason"]) == (about, reason):
                found.append(event["note"])
        return bool(found)

    await eventually(posted, 10, lambda: f"no event {reason} about {about}")
    return found[-1]

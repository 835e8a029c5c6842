"""What is known of the trash of all storages: seen by sweeps, noted by deletions, then shown."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from vfolder_backends.ids import FolderHex, ScopeHex
from vfolder_backends.port import FolderPhase, FolderState, ScopeState
from vfolder_operator.conditions import timestamp
from vfolder_operator.crds.backend import TrashStatus
from vfolder_operator.crds.scope import MOST_TRASH_SHOWN, TrashEntryStatus


@dataclass(slots=True)
class ScopeTrash:
    """The trash of one scope.

    Attributes:
        state: the scope as it was last seen, None if only a deletion told of it.
        folders: what lies there, oldest first.
        not_before: monotonic time before which nothing is tried, after an error.
    """

    state: ScopeState | None = None
    folders: list[FolderState] = field(default_factory=list)
    not_before: float = 0.0

    def of_cluster(self, cluster: str) -> list[FolderState]:
        """What is marked for that cluster."""
        return [f for f in self.folders if f.owner is not None and f.owner.cluster == cluster]


class TrashBook:
    """By storage and scope."""

    def __init__(self) -> None:
        self._scopes: dict[str, dict[ScopeHex, ScopeTrash]] = {}
        self._removed: dict[str, int] = {}

    def seen(self, backend: str, state: ScopeState, trash: list[FolderState]) -> None:
        """Take over what a look at a whole scope found."""
        held = self._scopes.setdefault(backend, {}).setdefault(state.scope, ScopeTrash())
        held.state = state
        held.folders = sorted(trash, key=lambda f: f.since or 0.0)

    def note(self, backend: str, folder: FolderState) -> None:
        """Add a folder that was just deleted."""
        self.drop(backend, folder.scope, folder.folder)
        scopes = self._scopes.setdefault(backend, {})
        scopes.setdefault(folder.scope, ScopeTrash()).folders.append(folder)

    def drop(self, backend: str, scope: ScopeHex, folder: FolderHex) -> None:
        """Take out a folder that came back."""
        held = self.of(backend, scope)
        if held is not None:
            held.folders = [f for f in held.folders if f.folder != folder]

    def keep_only(self, backend: str, scopes: set[ScopeHex]) -> None:
        """Forget scopes that are not there any more."""
        self._scopes[backend] = {s: t for s, t in self.scopes(backend) if s in scopes}

    def forget(self, backend: str) -> None:
        """Forget a storage."""
        self._scopes.pop(backend, None)
        self._removed.pop(backend, None)

    def scopes(self, backend: str) -> Iterator[tuple[ScopeHex, ScopeTrash]]:
        """All scopes of a storage that were looked at."""
        yield from list(self._scopes.get(backend, {}).items())

    def of(self, backend: str, scope: ScopeHex) -> ScopeTrash | None:
        """One scope, None if nobody looked yet."""
        return self._scopes.get(backend, {}).get(scope)

    def foreign(self, backend: str, cluster: str) -> list[str]:
        """What lies in the trash of our scopes and is not ours to remove, in words."""
        return [
            f"folder {folder.folder.uuid} in the trash of scope {scope} belongs to {folder.owner}"
            for scope, held in self.scopes(backend)
            for folder in held.folders
            if folder.owner is not None and folder.owner.cluster != cluster
        ]

    def removing(self, backend: str, entries: int) -> None:
        """Count entries that a removal took."""
        self._removed[backend] = self._removed.get(backend, 0) + entries

    def idle(self, backend: str) -> None:
        """No removal goes on any more."""
        self._removed.pop(backend, None)

    def entries(
        self, backend: str, scope: ScopeHex, retention: float
    ) -> list[TrashEntryStatus] | None:
        """What can come back, to be shown with the scope; None if nobody looked yet."""
        held = self.of(backend, scope)
        if held is None or held.state is None:
            return None
        return [
            TrashEntryStatus(
                folder_id=folder.folder.uuid,
                name=folder.owner.name,
                expires=timestamp(expiry(folder, retention)),
            )
            for folder in reversed(held.folders)
            if folder.phase is FolderPhase.TRASHED and folder.owner is not None
        ][:MOST_TRASH_SHOWN]

    def status(self, backend: str) -> TrashStatus | None:
        """What is shown with the storage; None if nobody looked yet."""
        if backend not in self._scopes:
            return None
        folders = [f for _, held in self.scopes(backend) for f in held.folders]
        sizes = [f.usage.bytes for f in folders if f.usage and f.usage.bytes is not None]
        return TrashStatus(
            folders=len(folders),
            bytes=sum(sizes) if len(sizes) == len(folders) else None,
            removing=sum(f.phase is FolderPhase.PURGING for f in folders),
            removed_entries=self._removed.get(backend),
        )


def expiry(folder: FolderState, retention: float) -> float:
    """Until when a folder in the trash can come back, at the latest."""
    if folder.expires is not None:
        return folder.expires
    return (folder.since if folder.since is not None else time.time()) + retention

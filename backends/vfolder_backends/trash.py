"""Which trash may be removed for good, and what a purge did; part of the port's vocabulary."""

from dataclasses import dataclass

from vfolder_backends.ids import FolderHex


@dataclass(frozen=True, slots=True)
class PurgePolicy:
    """Which trash may be removed now, and how much of it in one call.

    Attributes:
        before: trash without an expiry of its own goes if it is older than this.
        now: trash with an expiry of its own goes if that is not after this.
        only: nothing but this folder, if it is older than `before`, whatever its own expiry: the
            early purge of a full scope.
        cluster: only what is marked for that cluster; what is due and marked for another one is
            `NotOurs`. None takes every mark.
        budget: most entries that a call removes.
        per_second: most entries that a call removes in a second, None for as fast as it goes.
    """

    before: float
    now: float = 0.0
    only: FolderHex | None = None
    cluster: str | None = None
    budget: int = 100_000
    per_second: int | None = None

    def due(self, folder: FolderHex, since: float, expires: float | None) -> bool:
        """Whether trash that can still come back may go."""
        if self.only is not None:
            return folder == self.only and since < self.before
        return since < self.before if expires is None else expires <= self.now


@dataclass(frozen=True, slots=True)
class PurgeResult:
    """What a purge did; `more` says that it stopped at its budget."""

    removed_folders: int
    removed_entries: int
    more: bool

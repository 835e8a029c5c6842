"""Work on a whole storage that goes on beside its sweeps: removing trash, walking over all files.

A chore is a key of a queue of its own, in a lane of its own: one piece of work at a time per
storage, each at most half of a call's deadline, so that usage, drift and folders never wait for it.
"""

from dataclasses import dataclass
from enum import StrEnum


class Work(StrEnum):
    """What there is to do."""

    TRASH = "trash"
    AUDIT = "audit"


@dataclass(frozen=True, slots=True)
class Chore:
    """One kind of work on one storage."""

    work: Work
    backend: str

    def __str__(self) -> str:
        return f"{self.work} {self.backend}"

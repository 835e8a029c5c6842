"""What a simulated FlashBlade knows."""

import errno
from dataclasses import dataclass, field

EVERYBODY = "*(rw,no_root_squash)"


@dataclass(slots=True)
class FileSystem:
    """A file system: a directory in the view, somewhere else once it is destroyed.

    `virtual` is what was counted last, `counted_at` when; `provisioned` None is unlimited.
    """

    id: str
    name: str
    inode: int
    hint: str  # where its directory was last seen, below the disk's root
    provisioned: int | None = None
    hard: bool = False
    rules: str = EVERYBODY
    v3: bool = False
    v4: bool = False
    fast_remove: bool = False
    snapshots: bool = True
    destroyed: bool = False
    virtual: int = 0
    counted_at: int = -(1 << 30)

    @property
    def limit(self) -> int | None:
        """What is enforced."""
        return self.provisioned if self.hard else None


@dataclass(slots=True)
class State:
    """Everything that a change can change; file systems by id."""

    file_systems: dict[str, FileSystem] = field(default_factory=dict)
    last: int = 0


@dataclass(slots=True)
class Settings:
    """How this array behaves: what differs between versions and sites.

    Attributes:
        versions: of the API.
        view: directory below the data in which file systems appear under their names.
        over_limit: errno of a writer in a file system that is full.
        lag_calls: for how many calls the figures of usage stay as they were.
        idle_seconds: after how long without a call a session is over; 0 is never.
        page: the most items in one page of a list.
        taken: what is said of a name that is taken; its words are not documented.
        forbidden: status of what a role may not do.
        manual_eradication: whether destroyed file systems may be eradicated by hand.
        os: what the array runs.
        parity: below 1 while redundancy is being rebuilt.
        alerts: how many critical ones are open.
        capacity: usable bytes.
    """

    versions: tuple[str, ...] = ("1.12", "2.0", "2.14", "2.28", "2.40")
    view: str = ""
    over_limit: int = errno.ENOSPC
    lag_calls: int = 0
    idle_seconds: float = 1800.0
    page: int = 50
    taken: str = "File system already exists."
    forbidden: int = 403
    manual_eradication: bool = True
    os: str = "Purity//FB"
    parity: float = 1.0
    alerts: int = 0
    capacity: int = 1 << 40

"""What a simulated VAST cluster knows."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Quota:
    """A quota on a path; None is no limit.

    `synchronized_in` counts calls until it is in force, `inode` is the directory it was put on.
    """

    id: int
    name: str
    path: str
    tenant: int
    hard: int | None = None
    hard_inodes: int | None = None
    soft: int | None = None
    soft_inodes: int | None = None
    grace: str | None = None
    inode: int = 0
    synchronized_in: int = 0


@dataclass(slots=True)
class Counted:
    """Usage as the cluster has counted it; `due` counts calls until it counts again."""

    bytes: int
    files: int
    due: int


@dataclass(slots=True)
class View:
    """What is shown to clients."""

    id: int
    path: str
    policy: int
    protocols: list[str]


@dataclass(slots=True)
class Snapshot:
    """A snapshot of a directory; the content is copied when it is cloned."""

    id: int
    name: str
    path: str


@dataclass(slots=True)
class Stream:
    """A clone on its way: a global snapshot stream, with the task that fills it."""

    id: int
    name: str
    snapshot: int
    target: str
    task: int
    stopped: bool = False


@dataclass(slots=True)
class State:
    """Everything that a change can change."""

    quotas: dict[int, Quota] = field(default_factory=dict)
    views: dict[int, View] = field(
        default_factory=lambda: {1: View(1, "/", 1, ["NFS", "NFS4"])},
    )
    snapshots: dict[int, Snapshot] = field(default_factory=dict)
    streams: dict[int, Stream] = field(default_factory=dict)
    last: int = 0

    def number(self) -> int:
        """Return an id that was never used."""
        self.last += 1
        return self.last


@dataclass(slots=True)
class Settings:
    """How this cluster behaves: what differs between versions and sites, or is not documented.

    Attributes:
        document: which published document the calls are compared with: latest, or 5.3.0.
        version: of the software.
        state: ONLINE when it works.
        paged: lists that are asked for by pages come as pages; old versions send a bare list.
        page_size: the most items of one page.
        path_filter: whether quotas can be filtered by path; else the filter is ignored.
        null_clears: PATCH takes null for a limit; else it is refused.
        follows_rename: a quota stays on its directory when that is renamed, else on its path.
        quotas_vanish: a quota goes when its directory goes.
        levels: how deep quotas can be nested.
        synchronize_calls: for how many calls a new quota is not in force.
        usage_calls: how many calls pass before usage is counted again.
        trash: the trash folder is enabled, so folders can be deleted by a call.
        refused_as: the status of a refusal: 400, or 503.
        read_write: hosts of the one view policy.
        no_squash: hosts whose root is root.
        access_seconds: lifetime of access tokens.
        refresh_seconds: lifetime of refresh tokens.
        total_bytes: logical space.
    """

    document: str = "latest"
    version: str = "5.3.0.123"
    state: str = "ONLINE"
    paged: bool = True
    page_size: int = 50
    path_filter: bool = True
    null_clears: bool = True
    follows_rename: bool = False
    quotas_vanish: bool = False
    levels: int = 16
    synchronize_calls: int = 0
    usage_calls: int = 4
    trash: bool = True
    refused_as: int = 400
    read_write: tuple[str, ...] = ("10.0.0.0/24",)
    no_squash: tuple[str, ...] = ("10.0.0.2",)
    access_seconds: float = 3600.0
    refresh_seconds: float = 86400.0
    total_bytes: int = 1 << 40

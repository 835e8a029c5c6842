"""What a simulated OneFS cluster knows."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Quota:
    """A directory quota; None is no such limit. `ready` once a QuotaScan has counted."""

    id: str
    inode: int
    hint: str  # where the directory was last seen, below the file system's root
    include_snapshots: bool = False
    enforced: bool = False
    container: bool = False
    overhead: bool = False
    hard: int | None = None
    soft: int | None = None
    soft_grace: int | None = None
    advisory: int | None = None
    ready: bool = True

    @property
    def limit(self) -> int | None:
        """What is enforced."""
        return self.hard if self.enforced else None


@dataclass(slots=True)
class State:
    """Everything that a change can change; `scans` are the numbers of QuotaScan jobs."""

    quotas: dict[str, Quota] = field(default_factory=dict)
    scans: list[int] = field(default_factory=list)
    last: int = 0


@dataclass(slots=True)
class Export:
    """An NFS export."""

    path: str = "/ifs"
    clients: tuple[str, ...] = ("10.0.0.0/8",)
    squash: bool = True


@dataclass(slots=True)
class Settings:
    """How this cluster behaves: what differs between versions and sites.

    Attributes:
        latest: newest version of the platform API.
        license: state of SmartQuotas.
        page: quotas in one page of the list.
        nodes: how many answer in turn, as behind a SmartConnect name; a session holds on one.
        session_seconds: how long a session lives.
        renew_below: seconds left at which an answer brings a new cookie.
        nulls: whether thresholds may be set to null.
        namespace: whether the account may look at the tree through the API.
        quorum: whether the cluster has one.
        down: nodes that are down.
        pools: total bytes of each node pool.
        exports: NFS exports.
    """

    latest: str = "16"
    license: str = "Licensed"
    page: int = 50
    nodes: int = 1
    session_seconds: float = 900.0
    renew_below: float = 450.0
    nulls: bool = True
    namespace: bool = True
    quorum: bool = True
    down: int = 0
    pools: tuple[int, ...] = (1 << 40, 1 << 39)
    exports: list[Export] = field(default_factory=lambda: [Export()])

"""What OneFS answers, as far as we read it; names and types from its own schema, 8.0.1.2."""

from pydantic import Field

from vfolder_backends.transport.parsing import WireModel


class Latest(WireModel):
    """The newest version of the platform API, as text: "4", "16" or "16.1"."""

    latest: str


class SessionMade(WireModel):
    """A login; times in seconds."""

    timeout_absolute: float = 14400
    timeout_inactive: float = 900


class Thresholds(WireModel):
    """Limits of a quota in bytes; None is no such limit."""

    hard: int | None = None
    soft: int | None = None
    advisory: int | None = None


class QuotaUsage(WireModel):
    """What a quota counted: bytes without protection overhead, and files with directories."""

    logical: int
    inodes: int


class Quota(WireModel):
    """A quota; `ready` is False until a QuotaScan has counted what lay there before."""

    id: str
    path: str
    type: str
    enforced: bool
    include_snapshots: bool
    ready: bool
    thresholds: Thresholds
    usage: QuotaUsage

    @property
    def hard_limit(self) -> int | None:
        """The limit in bytes that is enforced, None is unlimited."""
        return self.thresholds.hard if self.enforced else None


class QuotasAnswer(WireModel):
    """One page of quotas; a single one comes in a list, too."""

    quotas: list[Quota]
    resume: str | None = None


class Created(WireModel):
    """All that a creation tells; ids are texts or numbers."""

    id: str | int


class License(WireModel):
    """The SmartQuotas licence."""

    status: str


class Device(WireModel):
    """A node."""

    lnn: int
    is_up: bool


class Cluster(WireModel):
    """Name and state."""

    name: str
    has_quorum: bool
    devices: tuple[Device, ...] = ()


class PoolUsage(WireModel):
    """Bytes of a pool; the cluster sends them as texts."""

    total_bytes: int
    free_bytes: int


class Pool(WireModel):
    """A node pool, or a tier made of node pools."""

    type: str
    usage: PoolUsage


class PoolsAnswer(WireModel):
    """All pools and tiers."""

    storagepools: list[Pool]


class Job(WireModel):
    """A job of the job engine."""

    id: int
    type: str
    state: str
    current_phase: int = 0
    total_phases: int = 0


class JobsAnswer(WireModel):
    """Jobs that are not done."""

    jobs: list[Job]


class RecentAnswer(WireModel):
    """Jobs that are done, or given up."""

    recent_jobs: list[Job]


class MapRoot(WireModel):
    """Whom an export takes a client's root for."""

    enabled: bool = False


class Export(WireModel):
    """An NFS export; no clients named means all of them."""

    id: int
    paths: tuple[str, ...] = ()
    clients: tuple[str, ...] = ()
    root_clients: tuple[str, ...] = ()
    all_dirs: bool = False
    map_root: MapRoot = MapRoot()


class ExportsAnswer(WireModel):
    """One page of exports."""

    exports: list[Export]
    resume: str | None = None


class Disk(WireModel):
    """Operations of the disks, per second."""

    read: float = 0
    write: float = 0


class Flow(WireModel):
    """What goes into and out of the file system, in MB/s."""

    into: float = Field(0, alias="in")
    out: float = 0


class NodeStats(WireModel):
    """Rates of one node."""

    disk: Disk = Disk()
    onefs: Flow = Flow()


class StatsAnswer(WireModel):
    """Rates of all nodes."""

    stats: list[NodeStats] = Field(alias="protocol-stats")

"""What WEKA answers, as far as we read it; names and types from its document, version 5.1."""

from typing import Final

from pydantic import Field

from vfolder_backends.transport.parsing import WireModel

_UNLIMITED: Final = (0, 9223372036854775807)  # the document's word for it, and the CSI plugin's


class Tokens(WireModel):
    """A login; `expires_in` is in seconds."""

    access_token: str = Field(repr=False)
    refresh_token: str = Field(default="", repr=False)
    expires_in: float | None = None


class TokensAnswer(WireModel):
    """Every answer has its content in `data`."""

    data: Tokens


class Activity(WireModel):
    """Rates of the whole cluster, per second."""

    num_reads: float | None = None
    num_writes: float | None = None
    sum_bytes_read: float | None = None
    sum_bytes_written: float | None = None


class Cluster(WireModel):
    """The cluster's version and state."""

    release: str
    status: str
    io_status: str
    active_alerts_count: int = 0
    activity: Activity = Activity()


class ClusterAnswer(WireModel):
    """See `TokensAnswer`."""

    data: Cluster


class FileSystem(WireModel):
    """A file system; sizes in bytes."""

    uid: str
    name: str
    status: str
    total_budget: int
    used_total: int


class FileSystemsAnswer(WireModel):
    """See `TokensAnswer`."""

    data: list[FileSystem]


class Resolved(WireModel):
    """A directory's number; a text in this one call."""

    inode_id: int


class ResolvedAnswer(WireModel):
    """See `TokensAnswer`."""

    data: Resolved


class Quota(WireModel):
    """A directory quota; `total_bytes` is what is used."""

    inode_id: int
    total_bytes: int
    hard_limit_bytes: int | None = None
    status: str = "ACTIVE"  # the list does not tell it
    path: str = ""
    full_path: str = ""

    @property
    def hard_limit(self) -> int | None:
        """The limit in bytes, None is unlimited."""
        return None if self.hard_limit_bytes in _UNLIMITED else self.hard_limit_bytes

    @property
    def paths(self) -> frozenset[str]:
        """The paths it is said to be on; some versions put the file system's name before."""
        return frozenset(p.rpartition(":")[2].rstrip("/") for p in (self.path, self.full_path) if p)


class QuotaAnswer(WireModel):
    """See `TokensAnswer`."""

    data: Quota


class QuotasAnswer(WireModel):
    """One page of the list."""

    data: list[Quota]
    next_token: int | str | None = None


class Process(WireModel):
    """What one process of the cluster does now; latencies in microseconds."""

    reads_per_second: float = 0
    writes_per_second: float = 0
    read_latency_usecs: float = 0
    write_latency_usecs: float = 0


class RealtimeAnswer(WireModel):
    """See `TokensAnswer`."""

    data: list[Process]

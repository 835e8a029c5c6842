"""What FlashBlade answers, as far as we read it; names and types from its OpenAPI document 2.28."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from vfolder_backends.transport.parsing import WireModel


def _size(value: object) -> object:
    """Read a size: an empty text, and zero, are unlimited."""
    return None if value in ("", 0) else value


class Versions(WireModel):
    """Versions of the API, such as 1.12 and 2.28."""

    versions: list[str]


class Nfs(WireModel):
    """Exports of a file system by NFS."""

    rules: str | None = None
    v3_enabled: bool = False
    v4_1_enabled: bool = False


class FileSystemSpace(WireModel):
    """`virtual` is what was written, before reduction: what the limit is on. Bytes."""

    virtual: int


class FileSystem(WireModel):
    """A file system; a destroyed one keeps its name until it is eradicated."""

    id: str
    name: str
    hard_limit_enabled: bool
    destroyed: bool
    space: FileSystemSpace
    provisioned: Annotated[int | None, BeforeValidator(_size)] = None
    time_remaining: int | None = None  # milliseconds
    nfs: Nfs = Nfs()

    @property
    def hard_limit(self) -> int | None:
        """The limit in bytes, None is unlimited."""
        return self.provisioned if self.hard_limit_enabled else None


class ArrayInfo(WireModel):
    """Name and version of the array."""

    name: str
    os: str
    version: str


class TotalSpace(WireModel):
    """Bytes in use, after reduction."""

    total_used: int | None = None
    total_physical: int | None = None  # its name before 2.14 or so


class ArraySpace(WireModel):
    """Usable capacity in bytes; below 1, `parity` means that redundancy is being rebuilt."""

    capacity: int
    parity: float = 1.0
    space: TotalSpace


class Alert(WireModel):
    """Something that is wrong with the array."""

    severity: str = ""
    summary: str = ""


class Performance(WireModel):
    """Rates of the whole array; latencies in microseconds."""

    reads_per_sec: float | None = None
    writes_per_sec: float | None = None
    read_bytes_per_sec: float | None = None
    write_bytes_per_sec: float | None = None
    usec_per_read_op: float | None = None
    usec_per_write_op: float | None = None


class FileSystemsAnswer(WireModel):
    """One page of file systems."""

    items: list[FileSystem]
    continuation_token: str | None = None


class ArraysAnswer(WireModel):
    """The one array."""

    items: list[ArrayInfo] = Field(min_length=1)


class SpacesAnswer(WireModel):
    """The one array's space."""

    items: list[ArraySpace] = Field(min_length=1)


class AlertsAnswer(WireModel):
    """Alerts."""

    items: list[Alert]


class PerformanceAnswer(WireModel):
    """The one array's rates."""

    items: list[Performance]

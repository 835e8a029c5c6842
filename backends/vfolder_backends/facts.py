"""What a storage tells of itself: how far limits hold, what it can do, how full and how well it is.

Plain values, shown in the status of a StorageBackend and read by those who decide.
"""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How far a limit holds, strongest first."""

    ENFORCED = "Enforced"  # no process in a pod can pass it beyond the stated window
    DELAYED = "Delayed"  # holds, but is noticed late
    COOPERATIVE = "Cooperative"  # a hostile client, or a file's owner, can get round it
    ADVISORY = "Advisory"  # only reported
    NONE = "None"  # not even that

    def at_least(self, other: "Level") -> bool:
        """Whether this level promises what `other` promises."""
        order = list(Level)
        return order.index(self) <= order.index(other)


class Tristate(StrEnum):
    """A fact that may not be known."""

    YES = "Yes"
    NO = "No"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Enforcement:
    """How far the limits of one scope hold, and what a writer sees."""

    bytes: Level
    files: Level
    root_bypass: Tristate
    message: str


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What this storage can do, probed where it can be; shown in the StorageBackend's status."""

    enforcement: Enforcement
    over_limit_errno: str = ""  # ENOSPC or EDQUOT; empty where nothing is enforced
    error_at: str = "Write"  # Write | Close: where a buffered writer meets the errno
    accounting: str = "None"  # Allocated | FileSize | Logical | None: what counts as used
    df_shows: str = "Backend"  # Scope | MountRoot | Backend: what `df` in a pod shows
    isolation: str = "NodeOnly"  # Export | NodeOnly: what keeps pods of other tenants out
    granularity_bytes: int = 1
    usage_lag_seconds: int = 0
    fast_usage: bool = False
    folder_usage: bool = False
    files_count_directories: bool = True
    clone: str = "None"  # Reflink | Copy (by us) | Server | None
    snapshot: bool = False
    mount_strategy: str = "PerFolder"


@dataclass(frozen=True, slots=True)
class Capacity:
    """Bytes of the whole storage behind the root."""

    total_bytes: int
    used_bytes: int
    observed_at: float


@dataclass(frozen=True, slots=True)
class Health:
    """What a probe saw; `warnings` are shown and change nothing."""

    capabilities: Capabilities
    capacity: Capacity | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PerformanceMetrics:
    """Rates of the whole storage; None where it has no value."""

    read_ops_per_second: float | None = None
    write_ops_per_second: float | None = None
    read_bytes_per_second: float | None = None
    write_bytes_per_second: float | None = None
    read_seconds_per_op: float | None = None
    write_seconds_per_op: float | None = None


class Circuit(StrEnum):
    """Whether an array is asked at all; see `transport.breaker`."""

    CLOSED = "Closed"
    HALF_OPEN = "HalfOpen"
    OPEN = "Open"


@dataclass(frozen=True, slots=True)
class Link:
    """How the connection to an array's management interface does, for status and metrics.

    `calls` and `failures` count since the backend was built; a repeated sending counts again.
    """

    circuit: Circuit
    in_flight: int
    calls: int
    failures: int

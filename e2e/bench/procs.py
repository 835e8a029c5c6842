"""Memory and processor time of a process, as the kernel counts them."""

import os
from dataclasses import dataclass
from pathlib import Path

from e2e.cluster import RigError

_TICK = 1.0 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used.

    Attributes:
        resident: MiB of memory now.
        peak: MiB, the most it ever had.
        cpu: seconds of processor time since its start.
    """

    resident: float
    peak: float
    cpu: float


def usage(pid: int) -> Usage:
    """Look at a process.

    Raises:
        RigError: it has ended.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        raise RigError(f"process {pid} has ended") from None
    return Usage(mebibytes(status, "VmRSS"), mebibytes(status, "VmHWM"), cpu_seconds(stat))


def mebibytes(status: str, field: str) -> float:
    """A field of /proc/PID/status, which is in KiB.

    Raises:
        ValueError: there is no such field.
    """
    for line in status.splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) / 1024
    raise ValueError(f"no field {field}")


def cpu_seconds(stat: str) -> float:
    """User and system time in /proc/PID/stat."""
    # The name in parentheses may hold anything; the fields after it are fixed.
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK


def container_pid(listing: str, container: str) -> int:
    """The process of a container in what `ctr tasks ls` prints.

    Raises:
        RigError: the container does not run.
    """
    for line in listing.splitlines()[1:]:
        name, pid, *_ = line.split()
        if name == container:
            return int(pid)
    raise RigError(f"container {container} does not run")

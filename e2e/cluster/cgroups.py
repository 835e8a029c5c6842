"""The cgroups of a cluster: one folder named after it in every hierarchy, one below for each node.

Pods run below their node's cgroup, which is how their processes are found when all else is lost.
"""

import os
from pathlib import Path

from e2e.cluster import commands
from e2e.cluster.processes import Identity

_TOP = Path("/sys/fs/cgroup")
_TIMEOUT = 20.0


def create(tag: str, node: str) -> str:
    """Make a node's cgroups and return their path for kubelet's `cgroupRoot`."""
    for root in _hierarchies():
        inner = root / tag / node
        inner.mkdir(parents=True, exist_ok=True)
        for group in (root / tag, inner):
            _inherit(group)
    return f"/{tag}/{node}"


def _inherit(group: Path) -> None:
    """Make a new cgroup usable for its children."""
    # Version 1: a fresh cpuset has neither processors nor memory.
    for name in ("cpuset.cpus", "cpuset.mems"):
        file = group / name
        if file.exists() and not (group / "cgroup.controllers").exists():
            file.write_text((group.parent / name).read_text())
    # Version 2: controllers must be handed down.
    available = group.parent / "cgroup.controllers"
    if available.exists():
        words = " ".join(f"+{name}" for name in available.read_text().split())
        (group.parent / "cgroup.subtree_control").write_text(words)


def processes(tag: str) -> list[Identity]:
    """Every process in the cgroups of a cluster."""
    found = set()
    for group in _groups(tag):
        try:
            pids = (group / "cgroup.procs").read_text().split()
        except FileNotFoundError:
            continue
        found |= {Identity.of(int(pid)) for pid in pids}
    return [one for one in found if one]


def remove(tag: str) -> None:
    """Remove all cgroups of a cluster, whose processes must have ended.

    Raises:
        TimedOut: they are still in use.
    """

    def gone() -> bool:
        for group in _groups(tag):
            try:
                group.rmdir()
            except FileNotFoundError:
                continue
            except OSError:
                return False  # the kernel has not finished with its last process yet
        return not _groups(tag)

    commands.wait_until(gone, f"cgroups {tag} are gone", timeout=_TIMEOUT)


def _hierarchies() -> list[Path]:
    """The root of every cgroup hierarchy: one of version 2, or several of version 1."""
    candidates = [_TOP, *(path for path in _TOP.iterdir() if path.is_dir())]
    roots = {path.resolve() for path in candidates if os.path.ismount(path.resolve())}
    return sorted(path for path in roots if (path / "cgroup.procs").exists())


def _groups(tag: str) -> list[Path]:
    """All cgroups of a cluster, the innermost first."""
    tops = [root / tag for root in _hierarchies() if (root / tag).is_dir()]
    return [Path(found) for top in tops for found, _, _ in os.walk(top, topdown=False)]

"""A directory that `lfs` takes for a mounted Lustre: its limits, who uses what, and its faults.

`commands` has what the program does; `program` is the program, and hands its calls to here.
"""

import errno
import os
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from vfolder_backends.testing.arrays.disk import Disk, Limit
from vfolder_backends.testing.arrays.exascaler import commands
from vfolder_backends.testing.arrays.exascaler.commands import Failure, State
from vfolder_backends.testing.arrays.faults import Faults, Kind

_USAGE: Final = 2  # exit status for words that are not understood


@dataclass(frozen=True, slots=True)
class Answer:
    """How the program ends."""

    status: int
    out: str = ""
    message: str = ""


class SimulatedLustre:
    """One file system; calls come one at a time, from any thread.

    Limits stop what writes through `disk`, and on CephFS any process. Root is not exempt there.

    Args:
        top: the directory that is the file system, and its mount point.

    Attributes:
        state: see there.
        violations: every call whose words no manual page has.
        served: how often each command was called.
        faults: what goes wrong; their route is the command's name.
    """

    kind: ClassVar[str] = "exascaler"
    fault_kinds: ClassVar[frozenset[Kind]] = frozenset(
        {Kind.FORBIDDEN, Kind.ERROR, Kind.HANG, Kind.LATE, Kind.TRUNCATED, Kind.RESET, Kind.LOST}
    )
    """RESET and LOST: the program is killed by somebody, before it did anything or after."""

    def __init__(self, top: Path) -> None:
        self.state = State(os.path.realpath(top), str(top))
        self.violations: list[str] = []
        self.served: Counter[str] = Counter()
        self.faults = Faults()
        self.lock = threading.RLock()
        self.disk = Disk(top)
        self.disk.limits = self._by_directory
        self._enforced: dict[Path, Limit] = {}

    def taken(self, words: list[str]) -> Kind | None:
        """Count a call; return what it has to suffer."""
        name = words[0] if words else ""
        with self.lock:
            self.served[name] += 1
            return self.faults.take(name)

    def serve(self, words: list[str], place: str) -> Answer:
        """Carry a call out; see `commands.run`."""
        with self.lock:
            try:
                out = commands.run(self.state, words, place)
            except Failure as failure:
                return Answer(1, message=f"{failure}\n")
            except OSError as error:
                return Answer(1, message=f"lfs {words[0]}: {os.strerror(error.errno or 0)}\n")
            if self.disk.real and words[0] in ("setquota", "project"):
                self._enforce()
            if out is None:
                self.violations.append(" ".join(words))
                return Answer(_USAGE, message=f"lfs: unrecognized arguments: {' '.join(words)}\n")
            return Answer(0, out)

    def refuse(self, words: list[str], kind: Kind) -> Answer:
        """Return how a call ends that is refused, or that a server fails."""
        number = errno.EPERM if kind is Kind.FORBIDDEN else errno.EIO
        return Answer(1, message=f"{words[0]} failed: {os.strerror(number)}\n")

    def calm(self) -> None:
        """Let nothing more go wrong."""
        with self.lock:
            self.faults.clear()

    def project(self, place: Path) -> int:
        """The project that an entry is charged to."""
        return commands.project_of(os.path.realpath(place), self.state.top)[0]

    def limits(self) -> dict[int, Limit]:
        """All limits there are, by project."""
        with self.lock:
            return {
                project: Limit(hard * 1024 or None, files or None)
                for project, (_, hard, _, files) in self.state.limits.items()
                if hard or files
            }

    def set_limits(self, project: int, limit: Limit) -> None:
        """Change them as somebody else would."""
        with self.lock:
            self.state.limits[project] = 0, (limit.bytes or 0) // 1024, 0, limit.files or 0

    def _enforce(self) -> None:
        wanted = self._by_directory()
        for place in {*wanted, *self._enforced}:
            limit = wanted.get(place, Limit())
            if limit != self._enforced.get(place, Limit()) and place.is_dir():
                self.disk.enforce(place, limit)
        self._enforced = wanted

    def _by_directory(self) -> dict[Path, Limit]:
        """Limits by the topmost directories that are charged to them."""
        limits = self.limits()
        found = {}
        ahead = [self.disk.root]
        while limits and ahead:
            folder = ahead.pop()
            project = self.project(folder)
            if project in limits:
                found[folder] = limits[project]
            elif not project:
                ahead += [place for place in folder.iterdir() if place.is_dir()]
        return found

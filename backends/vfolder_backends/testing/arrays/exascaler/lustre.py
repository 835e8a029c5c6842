"""A directory that `lfs` takes for a mounted Lustre: the program's state, and its faults.

Nothing enforces limits on other processes. `program` has what is imitated.
"""

import fcntl
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from vfolder_backends.testing.arrays.disk import Limit
from vfolder_backends.testing.arrays.exascaler import program

_SETTINGS: Final[Mapping[str, Any]] = {
    "columns": True,  # knows --delimiter and the columns
    "swapped": False,  # and prints them in another order
    "wrapped": False,  # figures come on the line after the path
    "incomplete": False,  # a target does not answer
    "default": False,  # a default quota is in force
    "enabled": True,
    "denied": False,
    "osts": 4,
    "mdts": 2,
}


class Fault(StrEnum):
    """What a call of lfs may meet."""

    REFUSED = "refused"
    ERROR = "error"
    KILLED = "killed"  # after it was done
    CUT = "cut"  # after it was done, half of the output is missing
    HANG = "hang"  # nothing is done


class SimulatedLustre:
    """One file system.

    Args:
        folder: holds the program and its state; not on the file system.
        top: the directory that is the file system, and its mount point.
    """

    def __init__(self, folder: Path, top: Path) -> None:
        self.top = top
        self.program = folder / "lfs"
        self._state = folder / "lfs.json"
        start = {"top": str(top), "mount": str(top), "limits": {}, "calls": 0}
        self._state.write_text(json.dumps({**start, **_SETTINGS, "faults": [], "violations": []}))
        words = f"'{sys.executable}' -I -S '{program.__file__}' '{self._state}'"
        self.program.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        self.program.chmod(0o755)

    @contextmanager
    def state(self) -> Iterator[dict[str, Any]]:
        """Read the state, and keep what the block changes."""
        with self._state.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            state = json.load(file)
            yield state
            file.seek(0)
            file.truncate()
            json.dump(state, file)

    def arm(self, fault: Fault, nth: int) -> None:
        """Let the nth call from now on suffer."""
        with self.state() as state:
            state["faults"].append({"kind": fault.value, "nth": state["calls"] + nth})

    def calm(self) -> bool:
        """Let nothing more go wrong; return whether anything did."""
        with self.state() as state:
            fired = any(fault.get("fired") for fault in state["faults"])
            state["faults"] = []
            return fired

    def project(self, place: Path) -> int:
        """The project that an entry is charged to."""
        return int(program.project_of(os.path.realpath(place), str(self.top))[0])

    def limits(self) -> dict[int, Limit]:
        """All limits there are, by project."""
        with self.state() as state:
            return {
                int(project): Limit(hard * 1024 or None, files or None)
                for project, (_, hard, _, files) in state["limits"].items()
                if hard or files
            }

    def set_limits(self, project: int, limit: Limit) -> None:
        """Change them as somebody else would."""
        with self.state() as state:
            hard = (limit.bytes or 0) // 1024
            state["limits"][str(project)] = [0, hard, 0, limit.files or 0]

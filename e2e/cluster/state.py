"""The folders of running things: who made one, whose it is, and how to lock it.

`<area>/<kind>/<name>/` is one cluster or one CephFS. Its `rig.json` is written first and deleted
last; a folder without it was not made by us and is never touched.
"""

import contextlib
import dataclasses
import errno
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from e2e.cluster import paths
from e2e.cluster.errors import NotUp, RigError
from e2e.cluster.processes import Identity

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?")
_MARKER = "rig.json"


class Kind(StrEnum):
    """What a state folder holds."""

    CLUSTER = "k8s"
    CEPH = "ceph"
    GUEST = "guest"


def random_name() -> str:
    """A name for something that lives as long as one test session."""
    return f"t-{secrets.token_hex(4)}"


@dataclass(frozen=True, slots=True)
class State:
    """One state folder.

    Attributes:
        nodes: how many nodes the cluster was made with; 0 for a control plane on loopback.
        owner: the process that takes it down at its own end; None if it shall live on.
    """

    kind: Kind
    name: str
    nodes: int = 0
    owner: Identity | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise RigError(
                f"name {self.name!r}: 1 to 20 lower-case letters, digits and inner dashes"
            )

    @property
    def folder(self) -> Path:
        """Where everything of it lies."""
        return paths.state_area() / self.kind / self.name

    @property
    def tag(self) -> str:
        """Names its network namespaces and cgroups; made from the folder, so it needs no record."""
        return f"vf-{hashlib.sha256(str(self.folder).encode()).hexdigest()[:8]}"

    def create(self) -> None:
        """Make the folder; its marker is in it from the first moment.

        Raises:
            RigError: it exists.
        """
        self.folder.parent.mkdir(mode=0o711, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=self.folder.parent))
        fresh.chmod(0o711)
        (fresh / _MARKER).write_text(json.dumps(dataclasses.asdict(self)))
        try:
            fresh.rename(self.folder)
        except OSError as error:
            shutil.rmtree(fresh)
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
            raise RigError(f"{self.folder} exists; take it down first") from None

    def abandoned(self) -> bool:
        """Whether the process that was to take it down is dead."""
        return self.owner is not None and not self.owner.alive()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep others from starting or stopping the same thing meanwhile.

        The lock is on the folder itself, so it goes with the folder.

        Raises:
            NotUp: the folder is gone, perhaps since we began to wait.
        """
        gone = NotUp(f"no {self.kind} named {self.name!r} in {paths.state_area()}")
        try:
            descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            raise gone from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_nlink == 0:
                raise gone
            yield
        finally:
            os.close(descriptor)


def load(kind: Kind, name: str) -> State:
    """Read the marker of a state folder.

    Raises:
        NotUp: there is none.
    """
    empty = State(kind, name)
    try:
        raw = json.loads((empty.folder / _MARKER).read_text())
    except FileNotFoundError:
        raise NotUp(f"no {kind} named {name!r} in {paths.state_area()}") from None
    owner = Identity(**raw["owner"]) if raw["owner"] else None
    return State(kind, name, raw["nodes"], owner)


def load_all(kind: Kind) -> list[State]:
    """Every state folder of a kind."""
    markers = sorted((paths.state_area() / kind).glob(f"*/{_MARKER}"))
    return [load(kind, marker.parent.name) for marker in markers]


def myself() -> Identity | None:
    """The owner to record for something that ends with this process."""
    return Identity.of(os.getpid())

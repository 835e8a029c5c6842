"""What the rules on clones do: a source worth copying, the request, and the look at what came."""

import errno
import os
from dataclasses import replace
from pathlib import Path

from vfolder_backends.engine.compare import compare
from vfolder_backends.ids import FolderHex, ScopeHex
from vfolder_backends.port import (
    FolderAttributes,
    FolderPhase,
    FolderRequest,
    FolderSource,
    FolderState,
    StorageBackend,
)
from vfolder_backends.testing.conformance.base import DATASETS, FOLDER, SCOPE
from vfolder_backends.testing.conformance.operations import Things, attach
from vfolder_backends.testing.storages import until

CLONE = FolderHex("c1" * 16)
COPIES = replace(DATASETS, name="copies")
_SECONDS = 30.0


def clone_request(scope: ScopeHex = SCOPE) -> FolderRequest:
    """A clone of the folder that most tests work with, owner and mode included."""
    source = FolderSource(SCOPE, FOLDER)
    return FolderRequest(scope, CLONE, COPIES, source=source)


async def until_live(backend: StorageBackend, request: FolderRequest) -> FolderState:
    """Ask for a clone until it is complete."""
    states: list[FolderState] = []

    async def is_live() -> bool:
        states.append(await backend.ensure_folder(request))
        if states[-1].phase is FolderPhase.LIVE:
            return True
        assert states[-1].phase is FolderPhase.FILLING
        assert states[-1].progress is not None
        return False

    # A helper of somebody who was killed may have its hand on it for a moment.
    await until(is_live, _SECONDS)
    return states[-1]


def source_of(things: Things) -> FolderRequest:
    """The folder that an attempt's clone is made of."""
    folder = FolderHex(f"{things.step:02x}{2:030x}")
    return replace(things.folder, folder=folder, owner=replace(DATASETS, name=f"s{things.step}"))


def clone_of(things: Things) -> FolderRequest:
    """The clone of an attempt."""
    source = source_of(things)
    return replace(
        things.folder,
        attributes=FolderAttributes(),
        source=FolderSource(source.scope, source.folder),
    )


async def ensure_clone(backend: StorageBackend, things: Things) -> None:
    """Make the clone, in as many calls as it takes."""
    await attach(backend, things)
    await until_live(backend, clone_of(things))


def plant(top: Path, files: int = 1) -> None:
    """Fill a folder with what a copy may lose."""
    (top / "dir").mkdir(mode=0o2750)
    for number in range(files):
        (top / "dir" / f"file-{number}").write_text(f"number {number}")
    try:
        os.setxattr(top / "dir" / "file-0", "user.note", b"kept")
    except OSError as error:  # NFS version 3 has none, so there are none to be lost
        if error.errno != errno.EOPNOTSUPP:
            raise
    os.chown(top / "dir" / "file-0", 1234, 2345)
    os.link(top / "dir" / "file-0", top / "same")
    (top / "link").symlink_to("dir")
    os.utime(top / "dir", (1, 1))


def differences(one: Path, other: Path) -> list[object]:
    """What differs between two folders, themselves included."""
    fds = [os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in (one, other)]
    try:
        found = compare(*fds, data=True)
        return [*found.differences, *found.problems.named]
    finally:
        for fd in fds:
            os.close(fd)

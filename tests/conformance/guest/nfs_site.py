"""A site with a file server: exports of disks with project quotas, and a node that mounts them."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from node_rig import ROOT_ID, Node

from e2e.guest.nfs import NfsServer, give_project
from vfolder_backends.ids import FolderHex, ScopeHex, VolumeHandle
from vfolder_backends.layout import folder_path
from vfolder_csi.directory import NetworkMount
from vfolder_csi.mounts.network import HELPER_DIRS

MIB = 1 << 20
LIMIT = 8 * MIB
FILES = 24
VERSIONS = ("4.2", "3")
OPTIONS = {"4.2": ("vers=4.2", "hard"), "3": ("vers=3", "hard", "nolock")}
IMPATIENT = ("timeo=10", "retrans=1", "actimeo=0")
"""A client that asks for everything anew, and what ends by itself at a dead server ends soon."""


@dataclass(frozen=True)
class Export:
    """A backend's root on a disk of the server.

    Attributes:
        name: of the export, and the backend.
        kind: of the disk.
        root: as the server sees it.
    """

    name: str
    kind: str
    root: Path

    def scope(self, number: int) -> ScopeHex:
        """Make the scope's directory with its limit, and return its id."""
        scope = ScopeHex(f"{number:032x}")
        path = self.root / scope.value
        path.mkdir(mode=0o711)
        give_project(path, self.kind, 1000 + number, LIMIT, FILES)
        return scope

    def folder(self, scope: ScopeHex, number: int, uid: int = 0) -> VolumeHandle:
        """Make a folder in the scope."""
        folder = FolderHex(f"{number:032x}")
        path = self.root / folder_path(scope, folder)
        path.mkdir(parents=True, exist_ok=True)
        for part in (path, path.parent, path.parent.parent):
            part.chmod(0o711)
        path.chmod(0o777)
        return VolumeHandle(self.name, scope, folder)

    def path(self, handle: VolumeHandle) -> Path:
        """Where the server has a folder."""
        return self.root / folder_path(handle.scope, handle.folder)


class Site:
    """The server with its exports, by disk and what it does with root."""

    def __init__(self) -> None:
        self.server = NfsServer()
        self.exports = {}
        self._scopes = 0
        for kind in ("xfs", "ext4"):
            for squash in ("root_squash", "no_root_squash"):
                name = f"{kind}-{squash.replace('_', '-')}"
                root = Path("/mnt") / kind / name
                (root / ".vfolder").mkdir(parents=True, mode=0o711)
                mark = root / ".vfolder" / "root"
                mark.write_text(json.dumps({"layout": 3, "rootID": ROOT_ID}))
                self.server.export(name, root, squash)
                self.exports[kind, squash] = Export(name, kind, root)

    def volume(self, export: Export) -> VolumeHandle:
        """Make a folder in a scope of its own."""
        self._scopes += 1
        return export.folder(export.scope(self._scopes), self._scopes)

    def connect(self, node: Node, export: Export, version: str, *more: str) -> None:
        """Tell a node how it mounts an export."""
        source = self.server.source(export.name, version)
        node.add_backend(export.name, NetworkMount("nfs", source, (*OPTIONS[version], *more)))

    @contextlib.contextmanager
    def gone(self) -> Iterator[None]:
        """The server does not answer for the length of a block."""
        self.server.vanish()
        try:
            yield
        finally:
            self.server.come_back()


def new_node(base: Path) -> Node:
    """A node with the mount programs of the guest."""
    return Node(base, HELPER_DIRS)

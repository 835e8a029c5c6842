"""A site with a file server: exports of disks with project quotas, and a node that mounts them."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from node_rig import ROOT_ID, Node

from e2e.guest.nfs import NfsServer
from vfolder_backends.config import BackendConfig
from vfolder_backends.ids import FolderHex, ScopeHex, VolumeHandle
from vfolder_backends.layout import folder_path
from vfolder_backends.port import FolderAttributes, FolderRequest, Limits, Owner, ScopeRequest
from vfolder_backends.registry import Registry
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

    async def folder(self, number: int) -> VolumeHandle:
        """Make a scope with its limit, and in it a folder for everybody, as the operator does."""
        backend = Registry().build(BackendConfig(self.name, self.kind, str(self.root)))
        scope, folder = ScopeHex(f"{number:032x}"), FolderHex(f"{number:032x}")
        try:
            await backend.attach(ROOT_ID)
            ref = await backend.prepare_scope(scope, {})
            limits, owner = Limits(LIMIT, FILES), Owner("cluster", "team-a", f"n{number}")
            await backend.ensure_scope(ScopeRequest(scope, owner, limits, ref=ref))
            everybody = FolderAttributes(mode=0o777)
            await backend.ensure_folder(FolderRequest(scope, folder, owner, everybody))
        finally:
            await backend.close()
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

    async def volume(self, export: Export) -> VolumeHandle:
        """Make a folder in a scope of its own."""
        self._scopes += 1
        return await export.folder(self._scopes)

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

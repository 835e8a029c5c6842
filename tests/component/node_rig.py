"""A node to test on: a kubelet folder, a host folder with a backend in it, and the real server.

Mounts are real. All of them lie in a folder of the test, in a mount that shares nothing with other
mount namespaces.
"""

import asyncio
import contextlib
import dataclasses
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest

from vfolder_backends.ids import FolderHex, ScopeHex, VolumeHandle
from vfolder_backends.layout import folder_path
from vfolder_csi import app
from vfolder_csi._proto import csi_pb2, csi_pb2_grpc
from vfolder_csi.directory import Backend, HostPath
from vfolder_csi.errors import NotFound
from vfolder_csi.mounts import mountinfo, syscalls
from vfolder_csi.mounts.targets import Deadlines
from vfolder_csi.pods import UserNamespaces
from vfolder_csi.pool import Pool
from vfolder_csi.settings import Settings

ROOT_ID = "0123456789abcdef" * 2
SCOPE = ScopeHex("5" * 32)
MS_PRIVATE = 1 << 18
MODE = csi_pb2.VolumeCapability.AccessMode


def clear(base: Path) -> None:
    """Take away all mounts at and below a folder, and the folder, which is then empty.

    Nothing is removed recursively: a mount that stayed would lead out of the test.
    """
    for mount in reversed(mountinfo.read()):
        if mount.point == str(base) or mount.point.startswith(f"{base}/"):
            syscalls.umount2(mount.point, syscalls.MNT_DETACH)
    base.rmdir()


@dataclass
class Backends:
    """The backends of a cluster, in memory."""

    known: dict[str, Backend] = field(default_factory=dict)

    async def get(self, name: str) -> Backend:
        try:
            return self.known[name]
        except KeyError:
            raise NotFound(f"there is no StorageBackend {name!r}") from None


class HungStorage:
    """A file system whose server never answers: every look at it blocks until `die`."""

    def __init__(self, path: Path, source: str) -> None:
        self._device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        data = f"fd={self._device},rootmode=40000,user_id=0,group_id=0"
        syscalls.mount(source, str(path), "fuse", 0, data)

    def die(self) -> None:
        """Give up for good: whoever waits, and whoever comes, gets ENOTCONN."""
        if self._device >= 0:
            os.close(self._device)
            self._device = -1


class Node:
    """One node with its plugin, and what kubelet would call."""

    def __init__(self, base: Path, helper_dirs: tuple[str, ...] = ()) -> None:
        self.base = base
        self.kubelet = base / "kubelet"
        self.host_root = base / "mnt"
        self.storage = self.host_root / "scratch"
        self.helpers = base / "sbin"
        for folder in (self.kubelet, self.host_root, self.helpers):
            folder.mkdir()
        syscalls.mount("kubelet", str(self.kubelet), "tmpfs", 0, "")
        self.add_storage("scratch")
        self.backends = Backends()
        self.add_backend("scratch", HostPath(str(self.storage), ROOT_ID))
        self.settings = Settings(
            node_name="node-1",
            kubelet_endpoint="/host/csi.sock",
            endpoint=f"unix://{base}/csi.sock",
            kubelet_dir=str(self.kubelet),
            host_roots=(str(self.host_root),),
        )
        self.deadlines = Deadlines(call=5.0, storage=0.4, unmount=0.4)
        self.pool = Pool()
        self.pods: UserNamespaces | None = None
        self._stack = contextlib.AsyncExitStack()
        self._hung: list[HungStorage] = []
        self._helper_dirs = helper_dirs

    def add_storage(self, name: str, root_id: str = ROOT_ID) -> Path:
        path = self.host_root / name
        path.mkdir()
        syscalls.mount(f"storage-{name}", str(path), "tmpfs", 0, "")
        (path / ".vfolder").mkdir()
        (path / ".vfolder" / "root").write_text(json.dumps({"layout": 3, "rootID": root_id}))
        return path

    def add_backend(self, name: str, where: Any, kind: str = "") -> None:
        self.backends.known[name] = Backend(name, where, kind)

    def hang(self, path: Path, source: str = "hung") -> HungStorage:
        hung = HungStorage(path, source)
        self._hung.append(hung)
        return hung

    def folder(self, number: int = 1, backend: str = "scratch", make: bool = True) -> VolumeHandle:
        handle = VolumeHandle(backend, SCOPE, FolderHex(f"{number:032x}"))
        if make:
            self.folder_dir(handle).mkdir(parents=True, exist_ok=True)
        return handle

    def folder_dir(self, handle: VolumeHandle) -> Path:
        return self.host_root / handle.backend / folder_path(handle.scope, handle.folder)

    def target(self, name: str = "pod-1") -> Path:
        parent = self.kubelet / "pods" / name / "volumes"
        parent.mkdir(parents=True, exist_ok=True)
        return parent / "mount"

    def staging(self, handle: Any) -> Path:
        name = hashlib.sha256(str(handle).encode()).hexdigest()
        path = self.kubelet / "plugins" / name / "globalmount"
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):  # and what is mounted there is not looked at
            path.mkdir()
        return path

    def mounts_at(self, path: Path) -> list[mountinfo.Mount]:
        return [mount for mount in mountinfo.read() if mount.point == str(path)]

    async def start(self) -> None:
        server = app.build_server(
            self.settings,
            self.backends,
            self.pool,
            app.Readiness(True),
            self.deadlines,
            helper_dirs=(str(self.helpers), *self._helper_dirs),
            pods=self.pods,
        )
        await app.serve_on(server, f"{self.base}/csi.sock")
        self._stack.push_async_callback(server.stop, 0)
        channel = grpc.aio.insecure_channel(self.settings.endpoint)
        self._stack.push_async_callback(channel.close)
        self.node: Any = csi_pb2_grpc.NodeStub(channel)
        self.identity: Any = csi_pb2_grpc.IdentityStub(channel)

    async def stop(self) -> None:
        await self._stack.aclose()
        self._stack = contextlib.AsyncExitStack()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def with_deadlines(self, **changes: float) -> None:
        self.deadlines = dataclasses.replace(self.deadlines, **changes)
        await self.restart()

    def capability(
        self, mode: int = MODE.MULTI_NODE_MULTI_WRITER, flags: tuple[str, ...] = ()
    ) -> csi_pb2.VolumeCapability:
        return csi_pb2.VolumeCapability(
            mount=csi_pb2.VolumeCapability.MountVolume(mount_flags=flags),
            access_mode=MODE(mode=mode),
        )

    async def stage(self, handle: Any, **changes: Any) -> None:
        request = {
            "volume_id": str(handle),
            "staging_target_path": str(self.staging(handle)),
            "volume_capability": self.capability(),
        }
        await self.node.NodeStageVolume(csi_pb2.NodeStageVolumeRequest(**request | changes))

    async def unstage(self, handle: Any) -> None:
        await self.node.NodeUnstageVolume(
            csi_pb2.NodeUnstageVolumeRequest(
                volume_id=str(handle), staging_target_path=str(self.staging(handle))
            )
        )

    async def publish(
        self,
        handle: Any,
        target: Any = None,
        mode: int = MODE.MULTI_NODE_MULTI_WRITER,
        flags: tuple[str, ...] = (),
        timeout: float = 10.0,
        **changes: Any,
    ) -> Path:
        target = self.target() if target is None else target
        request = {
            "volume_id": str(handle),
            "target_path": str(target),
            "staging_target_path": str(self.staging(handle)),
            "volume_capability": self.capability(mode, flags),
        }
        await self.node.NodePublishVolume(
            csi_pb2.NodePublishVolumeRequest(**request | changes), timeout=timeout
        )
        return Path(target)

    async def unpublish(self, handle: Any, target: Any = None, timeout: float = 10.0) -> None:
        target = self.target() if target is None else target
        await self.node.NodeUnpublishVolume(
            csi_pb2.NodeUnpublishVolumeRequest(volume_id=str(handle), target_path=str(target)),
            timeout=timeout,
        )

    async def stats(self, handle: Any, path: Any = None) -> Any:
        path = self.target() if path is None else path
        return await self.node.NodeGetVolumeStats(
            csi_pb2.NodeGetVolumeStatsRequest(volume_id=str(handle), volume_path=str(path))
        )

    def unmount(self, path: Path) -> None:
        syscalls.umount2(str(path), syscalls.MNT_DETACH)

    def release(self) -> None:
        """Let go of whoever waits for a storage that hangs."""
        for hung in self._hung:
            hung.die()


@contextlib.contextmanager
def base_folder() -> Iterator[Path]:
    """A folder for a node; what is mounted in it goes with it."""
    # Not tmp_path: a socket's path must be short.
    path = Path(tempfile.mkdtemp(prefix=f"vf{os.getpid()}-"))
    try:
        syscalls.mount("test", str(path), "tmpfs", 0, "")
    except PermissionError:
        path.rmdir()
        pytest.skip("mounting needs CAP_SYS_ADMIN")
    try:
        syscalls.mount("none", str(path), "", MS_PRIVATE, "")
        yield path
    finally:
        clear(path)


@contextlib.contextmanager
def fails(code: str, *words: str) -> Iterator[None]:
    """Expect a status code and words of the message."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        yield
    details = caught.value.details()
    assert caught.value.code().name == code, details
    for word in words:
        assert word in details


async def eventually(condition: Callable[[], bool], timeout: float = 10.0) -> None:
    """Poll until a condition holds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        await asyncio.sleep(0.01)

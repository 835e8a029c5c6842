"""The places in pods: a folder is shown at a target path, and taken away again.

Whether something is mounted is read from the kernel's list, never by touching what is mounted. What
may hang runs in the pool: first the folder is opened, which asks the storage; only with that
descriptor in hand is the target touched, which asks nobody. A publish whose storage hangs
therefore ends at its deadline without having, or ever getting, an effect on the target.
"""

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from vfolder_csi.errors import (
    GONE,
    CsiError,
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    OperationPending,
    TargetTaken,
    from_os_error,
)
from vfolder_csi.mounts import flags, linux, mountinfo
from vfolder_csi.mounts.paths import Spot, spot
from vfolder_csi.pool import Pool

_LAYERS: Final = 16
"""More mounts than that on one target are not ours to understand."""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long steps may take, in seconds.

    Attributes:
        call: the longest any call may take; below kubelet's own two minutes.
        storage: one look at a storage.
        unmount: one attempt to unmount.
    """

    call: float = 110.0
    storage: float = 20.0
    unmount: float = 10.0


@dataclass(frozen=True, slots=True)
class Publication:
    """A folder at a target, as it is wanted.

    Attributes:
        lane: the backend's name; what hangs together.
        words: mount flags, as `flags.parse_mount_flags` gives them.
        single: no other target on this node may show the folder.
    """

    lane: str
    target: str
    staging: str
    words: frozenset[str]
    single: bool


class Targets:
    """Publishes and unpublishes below the kubelet folder."""

    def __init__(self, kubelet_dir: str, pool: Pool, deadlines: Deadlines) -> None:
        self._kubelet_dir = kubelet_dir
        self._pool = pool
        self._deadlines = deadlines

    async def publish(self, wanted: Publication, open_folder: Callable[[], int]) -> None:
        """Show the folder at the target; what is already so is success.

        Args:
            wanted: the publication.
            open_folder: opens the folder's directory; blocking, and may hang.

        Raises:
            TargetTaken: something else is mounted at the target.
            FailedPrecondition: a second target of a single writer, or what `open_folder` raises.
            DeadlineExceeded: the storage does not answer.
            CsiError: the kernel refused.
        """
        folder = await self._pool.run(
            f"{wanted.lane}/folders", self._deadlines.storage, open_folder, late=os.close
        )
        try:
            at = f"{wanted.lane}/targets"
            stale = await self._pool.run(at, None, lambda: self._attach(wanted, folder))
            if stale is None:
                return
            await self._refuse_if_alive(wanted, stale)
            await self.unmount(wanted.lane, wanted.target, "target_path")
            again = await self._pool.run(at, None, lambda: self._attach(wanted, folder))
            if again is not None:
                raise TargetTaken(f"{wanted.target} is mounted on as soon as it is free")
        finally:
            os.close(folder)

    def _attach(self, wanted: Publication, folder: int) -> mountinfo.Mount | None:
        """Mount, or return the mount that is in the way; blocking, but on nobody's server."""
        try:
            with spot(self._kubelet_dir, wanted.target, "target_path") as place:
                bare = place.prepare()
                if bare is None:
                    return _in_the_way(place, folder, wanted)
                try:
                    if wanted.single:
                        self._refuse_second(wanted, folder, place)
                    linux.bind(folder, bare, place, wanted.words)
                except CsiError:
                    with contextlib.suppress(FailedPrecondition):  # the first error tells more
                        linux.remove_bare(place)
                    raise
                finally:
                    os.close(bare)
        except FileNotFoundError as error:
            raise FailedPrecondition(
                f"target_path: the folder that {wanted.target!r} lies in does not exist"
            ) from error
        return None

    def _refuse_second(self, wanted: Publication, folder: int, place: Spot) -> None:
        mounts = mountinfo.read()
        shown = linux.identify(mounts, folder)
        for mount in mounts:
            if (
                linux.Shown(mount.device, mount.root) == shown
                and mount.point.startswith(f"{self._kubelet_dir}/")
                and mount.point not in (place.path, wanted.staging)
            ):
                raise FailedPrecondition(
                    "access mode SINGLE_NODE_SINGLE_WRITER: the volume is already published on "
                    f"this node at {mount.point}"
                )

    async def _refuse_if_alive(self, wanted: Publication, mount: mountinfo.Mount) -> None:
        """Return only if what is mounted at the target has lost its server for good."""
        try:
            await self._pool.run(
                f"{wanted.lane}/folders",
                self._deadlines.storage,
                lambda: os.stat(wanted.target, follow_symlinks=False),
            )
        except OSError as error:
            if error.errno in GONE:
                return
            raise from_os_error(error, f"looking at {wanted.target}") from error
        raise TargetTaken(
            f"something else is mounted at {wanted.target}: {mount.root} of {mount.source} "
            f"({mount.fs_type} {mount.device})"
        )

    async def unpublish(self, lane: str, target: str) -> None:
        """Unmount the target and remove its directory; nothing there is success.

        Raises:
            FailedPrecondition: the bare directory holds files.
            DeadlineExceeded: the kernel does not let go of it.
        """
        await self.unmount(lane, target, "target_path")
        await self._pool.run(f"{lane}/unpublish", None, lambda: self._remove(target))

    def _remove(self, target: str) -> None:
        try:
            with spot(self._kubelet_dir, target, "target_path") as place:
                linux.remove_bare(place)
        except FileNotFoundError:
            return

    async def unmount(self, lane: str, path: str, field: str) -> None:
        """Take away all mounts at a path, also those of a dead server; none is success.

        The kernel may still have to flush to a server that is dead after the mount has gone from
        the tree, and the thread then hangs. So the kernel's list decides, not the thread.

        Raises:
            DeadlineExceeded: something is still mounted there.
            CsiError: the kernel refused.
        """

        def work() -> bool:
            try:
                with spot(self._kubelet_dir, path, field) as place:
                    return linux.unmount_top(place)
            except FileNotFoundError:
                return False

        for _ in range(_LAYERS):
            try:
                more = await self._pool.run(f"{lane}/unmount", self._deadlines.unmount, work)
            except DeadlineExceeded:
                more = await self._pool.run("mountinfo", None, lambda: self._mounted(path, field))
                if more:
                    raise
            if not more:
                return
        raise Internal(f"{path} has more than {_LAYERS} mounts on it")

    def _mounted(self, path: str, field: str) -> bool:
        return self.mount_at(path, field) is not None

    def mount_at(self, path: str, field: str) -> mountinfo.Mount | None:
        """Return what is mounted at a path, without touching it; blocking on nobody's server."""
        try:
            with spot(self._kubelet_dir, path, field) as place:
                return mountinfo.top(mountinfo.read(), place.path)
        except FileNotFoundError:
            return None


def _in_the_way(place: Spot, folder: int, wanted: Publication) -> mountinfo.Mount | None:
    """Return the mount at the target, or None if it is the very one that is wanted."""
    mounts = mountinfo.read()
    present = mountinfo.top(mounts, place.path)
    if present is None:
        raise OperationPending(f"{wanted.target} was unmounted by somebody meanwhile")
    if linux.Shown(present.device, present.root) != linux.identify(mounts, folder):
        return present
    inherited = mountinfo.of_descriptor(mounts, folder)
    expected = flags.shown(wanted.words) | ((inherited.options if inherited else set()) & {"ro"})
    if not expected <= present.options or ("ro" in present.options) != ("ro" in expected):
        raise TargetTaken(
            f"the volume is already published at {wanted.target} with other flags: "
            f"{','.join(sorted(present.options))}, asked for {','.join(sorted(expected))}"
        )
    return None

"""The mounts of network file systems: one per volume and node, below the targets that show it.

One mount per folder makes `df` in a pod show the folder's own quota where the storage can, and
keeps a dead server from every volume that is not on it.
"""

import os
from collections.abc import Callable, Mapping, Sequence

from vfolder_backends.ids import VolumeHandle
from vfolder_csi.directory import NetworkMount
from vfolder_csi.errors import (
    GONE,
    FailedPrecondition,
    Internal,
    StageGone,
    TargetTaken,
    from_os_error,
)
from vfolder_csi.mounts import syscalls
from vfolder_csi.mounts.cephkeys import CephKeys
from vfolder_csi.mounts.helper import run_helper
from vfolder_csi.mounts.network import CEPH, HELPER_DIRS, MountPlan, mount_error, plan_mount
from vfolder_csi.mounts.paths import DIRECTORY, spot
from vfolder_csi.mounts.targets import Deadlines, Targets
from vfolder_csi.pool import Pool

_FIELD = "staging_target_path"


class Stages:
    """Mounts folders of network file systems at staging paths."""

    def __init__(
        self,
        kubelet_dir: str,
        pool: Pool,
        deadlines: Deadlines,
        targets: Targets,
        keys: CephKeys,
        helper_dirs: Sequence[str] = HELPER_DIRS,
    ) -> None:
        self._kubelet_dir = kubelet_dir
        self._pool = pool
        self._deadlines = deadlines
        self._targets = targets
        self._keys = keys
        self._helper_dirs = helper_dirs

    async def ensure(
        self, handle: VolumeHandle, where: NetworkMount, path: str, secrets: Mapping[str, str]
    ) -> None:
        """Mount the folder at the staging path; what is already so, and alive, is success.

        Raises:
            TargetTaken: something else is mounted there.
            FailedPrecondition: the StorageBackend, the secret or the server's answer does not do.
            NotFound: the server has no such folder.
            DeadlineExceeded: the storage does not answer.
            CsiError: the kernel refused.
        """
        plan = plan_mount(handle, where, secrets, self._helper_dirs)
        lane = handle.backend
        present = await self._pool.run(
            f"{lane}/targets", None, lambda: self._targets.mount_at(path, _FIELD)
        )
        if present is not None:
            if not present.source.endswith(plan.folder):
                raise TargetTaken(
                    f"something else is mounted at {path}: {present.source} ({present.fs_type})"
                )
            try:
                os.close(await self.opened(lane, path))
            except StageGone:
                await self._targets.unmount(lane, path, _FIELD)
            else:
                return
        if plan.fs_type == CEPH:
            await self._pool.run(
                f"{lane}/keys",
                self._deadlines.storage,
                lambda: self._keys.check_network(handle, plan),
            )
        await self._mount(lane, plan, path)

    async def opened(self, lane: str, path: str) -> int:
        """Open the staged folder; the caller closes it.

        Raises:
            StageGone: it has to be mounted (again).
            DeadlineExceeded: the storage does not answer.
            CsiError: the storage answered otherwise.
        """
        return await self._pool.run(
            f"{lane}/folders", self._deadlines.storage, self.opener(path), late=os.close
        )

    def opener(self, path: str) -> Callable[[], int]:
        """Return the blocking function behind `opened`."""

        def work() -> int:
            try:
                with spot(self._kubelet_dir, path, _FIELD) as place:
                    bare = place.open_bare()
                    if bare is not None:
                        os.close(bare)
                        raise StageGone(f"nothing is mounted at {path}")
                    # What is opened by O_PATH alone need not ask the server: look at it as well.
                    staged = os.open(
                        place.name, DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place.parent
                    )
                    try:
                        os.fstat(staged)
                    except OSError:
                        os.close(staged)
                        raise
                    return staged
            except FileNotFoundError as error:
                raise StageGone(f"{path} does not exist") from error
            except OSError as error:
                if error.errno in GONE:
                    raise StageGone(f"the server of {path} is gone") from error
                raise from_os_error(error, f"opening the stage {path}") from error

        return work

    async def remove(self, lane: str, path: str) -> None:
        """Unmount the staging path; nothing there is success. Its directory belongs to kubelet."""
        await self._targets.unmount(lane, path, _FIELD)

    async def _mount(self, lane: str, plan: MountPlan, path: str) -> None:
        def prepare() -> None:
            bare = self._prepare(path)
            if bare is not None:
                os.close(bare)

        await self._pool.run(f"{lane}/targets", None, prepare)
        if plan.helper is not None:
            await run_helper(plan, path, self._deadlines.call)
        else:
            await self._pool.run(f"{lane}/stage", None, lambda: self._mount_by_kernel(plan, path))
        mounted = await self._pool.run(
            f"{lane}/targets", None, lambda: self._targets.mount_at(path, _FIELD)
        )
        if mounted is None:
            raise Internal(f"mounting {plan.source} succeeded and nothing is mounted at {path}")

    def _prepare(self, path: str) -> int | None:
        try:
            with spot(self._kubelet_dir, path, _FIELD) as place:
                return place.prepare()
        except FileNotFoundError as error:
            raise FailedPrecondition(
                f"{_FIELD}: the folder that {path!r} lies in does not exist"
            ) from error

    def _mount_by_kernel(self, plan: MountPlan, path: str) -> None:
        try:
            with spot(self._kubelet_dir, path, _FIELD) as place:
                syscalls.mount(plan.source, place.link, plan.fs_type, plan.ms_flags, plan.data)
        except OSError as error:
            raise mount_error(error, plan, plan.source) from error

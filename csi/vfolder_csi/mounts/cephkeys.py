"""What the key of a node may do on CephFS: one that could defeat the limits is refused.

With `p` in its capabilities whoever gets hold of the node's mount can lift a limit. With `s` they
can keep data in snapshots, which no limit counts and which block deletion. And a kernel client sees
a quota above its own mount only if its key reaches beyond the directory that carries it: at that
very directory is not enough (measured with Linux 6.1 and Ceph 16.2, where nothing was stopped).

None of this can be asked for, so it is tried, in ways that change nothing. A passed check is
remembered for minutes: no publish pays for it twice. A mount that is read-only passes.
"""

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from vfolder_backends.ids import VolumeHandle
from vfolder_csi import stats
from vfolder_csi.errors import FailedPrecondition, NotFound, from_os_error
from vfolder_csi.mounts import flags, syscalls
from vfolder_csi.mounts.network import MountPlan, mount_error
from vfolder_csi.mounts.paths import DIRECTORY, open_beneath

KEEP_SECONDS: Final = 600.0

_MAX_FILES: Final = "ceph.quota.max_files"
_TRIAL: Final = ".snap/vfolder-trial"
"""One name for all nodes: what a killed one leaves behind is removed by the next trial."""

_REFUSED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_ATTEMPTS: Final = 8
_DANGERS: Final = {
    "p": "it could lift the scopes' own limits",
    "s": "it could keep data in snapshots, which no limit counts and which block deletion",
}


class CephKeys:
    """Checks nodes' keys and remembers those that passed; its methods block."""

    def __init__(self, keep: float = KEEP_SECONDS) -> None:
        self._keep = keep
        self._passed: dict[tuple[object, ...], float] = {}

    def check_host(self, handle: VolumeHandle, root: int) -> None:
        """Check the key by which the host mounted the backend whose root is open.

        Raises:
            FailedPrecondition: it may do more than a node's should.
            CsiError: the storage answered otherwise.
        """
        key = (handle.backend, handle.scope, os.fstat(root).st_dev)
        if not self._remembers(key):
            about = f"backend {handle.backend}: the CephFS key that this node mounts with"
            with suppress(FileNotFoundError):  # no scope, no folder: opening that will tell
                _check_powers(about, root, handle)
            self._remember(key)

    def check_network(self, handle: VolumeHandle, plan: MountPlan) -> None:
        """Check the key a folder is to be mounted with, on a mount that is attached nowhere.

        Raises:
            FailedPrecondition: it may do more than a node's should, or reaches too little for the
                limits to be seen.
            NotFound: the server has no such scope.
            CsiError: the storage answered otherwise.
        """
        key = (handle.backend, handle.scope, plan.root, hash(plan.data))
        if self._remembers(key):
            return
        about = f"backend {handle.backend}: the CephFS key of its secret"
        with _mounted_apart(about, plan) as root:
            try:
                _check_powers(about, root, handle)
            except FileNotFoundError as error:
                raise NotFound(f"{plan.root} has no scope {handle.scope} with folders") from error
        self._remember(key)

    def _remembers(self, key: tuple[object, ...]) -> bool:
        return self._passed.get(key, 0.0) > time.monotonic()

    def _remember(self, key: tuple[object, ...]) -> None:
        now = time.monotonic()
        for old, until in list(self._passed.items()):
            if until <= now:
                self._passed.pop(old, None)
        self._passed[key] = now + self._keep


def _check_powers(about: str, root: int, handle: VolumeHandle) -> None:
    """Try the key on a directory of ours that has no limit and holds the scope's folders.

    Raises:
        FileNotFoundError: there is none.
    """
    # Its parent carries the limit, its children belong to users: it alone is ours to try on.
    path = f"{handle.scope}/{handle.folder.value[:2]}"
    try:
        directory = open_beneath(root, path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            found = powers(directory)
        finally:
            os.close(directory)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise from_os_error(error, f"{about}: trying it on {path}") from error
    if found:
        letters = " and ".join(f"'{letter}'" for letter in found)
        dangers = ", and ".join(_DANGERS[letter] for letter in found)
        raise FailedPrecondition(
            f"{about} has the MDS capability {letters}: {dangers}. Take it away with 'ceph auth "
            "caps' (mds 'allow rw ...'; name the mon and osd capabilities again), then unmount and "
            "mount anew on this node: a client keeps the capabilities it was mounted with"
        )


def powers(directory: int) -> str:
    """Return which of `p` and `s` the mount's key has on an open directory.

    Nothing is left behind: a limit that is not there is removed, a snapshot is made and unmade.

    Raises:
        OSError: the storage answered neither yes nor no.
    """
    if not stats.is_cephfs(directory):
        return ""
    quota, snapshot = _may_set_quota(directory), _may_make_snapshot(directory)
    return ("p" if quota else "") + ("s" if snapshot else "")


def _may_set_quota(directory: int) -> bool:
    if stats.counter(directory, _MAX_FILES):
        return False  # somebody else's limit, which we would remove: not tried
    try:
        os.setxattr(directory, _MAX_FILES, b"0")
    except OSError as error:
        if error.errno in _REFUSED:
            return False
        raise
    return True


def _may_make_snapshot(directory: int) -> bool:
    for _ in range(_ATTEMPTS):
        made = True
        try:
            os.mkdir(_TRIAL, dir_fd=directory)
        except FileExistsError:
            made = False  # another node's, of this moment or left behind: whoever may, removes it
        except FileNotFoundError:
            return False  # snapshots are hidden from this mount
        except OSError as error:
            if error.errno == errno.EMLINK:
                return True  # it may, if there were fewer
            if error.errno in _REFUSED:
                return False
            raise
        try:
            os.rmdir(_TRIAL, dir_fd=directory)
        except FileNotFoundError:
            if made:
                return True
        except OSError as error:
            if error.errno in _REFUSED:
                return made
            raise
        else:
            return True
    return True


@contextmanager
def _mounted_apart(about: str, plan: MountPlan) -> Iterator[int]:
    """Mount the backend's root where nobody sees it, and open it for the length of a block."""
    try:
        with syscalls.opened_context(plan.fs_type) as context:
            syscalls.set_string(context, "source", plan.root)
            for option in plan.data.split(","):
                name, equals, value = option.partition("=")
                if equals:
                    syscalls.set_string(context, name, value)
                elif name:
                    syscalls.set_flag(context, name)
            mount = syscalls.detached_mount(context, flags.attributes(flags.ALWAYS)[0])
    except OSError as error:
        if error.errno == errno.ENOSYS:
            raise FailedPrecondition(
                f"{about}: this node's kernel is older than Linux 5.2, and does not see limits "
                "above what it mounts"
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM):
            raise FailedPrecondition(
                f"{about} does not reach the backend's root {plan.root}: then the node does not "
                "see the scopes' limits, and nobody is stopped. Give it 'allow rw path=...' at the "
                "root or above"
            ) from error
        raise mount_error(error, plan, plan.root) from error
    try:
        root = os.open(".", DIRECTORY | os.O_CLOEXEC, dir_fd=mount)
        try:
            yield root
        finally:
            os.close(root)
    finally:
        os.close(mount)

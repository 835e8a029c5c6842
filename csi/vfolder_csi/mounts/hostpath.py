"""Folders of a backend that the host has mounted: found, checked and opened, never trusted."""

import json
import os
import re
from collections.abc import Callable, Sequence
from typing import Final

from vfolder_backends import layout
from vfolder_backends.errors import Misconfigured
from vfolder_backends.ids import VolumeHandle
from vfolder_backends.projects import checks
from vfolder_csi.directory import HostPath
from vfolder_csi.errors import FailedPrecondition, NotFound, RootLost, from_os_error
from vfolder_csi.mounts.paths import DIRECTORY, open_beneath
from vfolder_csi.settings import is_normalised

_LARGEST_MARK: Final = 4096
_LAYOUT: Final = 3
_ROOT_ID: Final = re.compile(r"[0-9a-f]{32}")


def open_folder(
    handle: VolumeHandle,
    where: HostPath,
    host_roots: Sequence[str],
    check_root: Callable[[int], None] | None = None,
) -> int:
    """Open a folder's directory below the backend's root; blocking; the caller closes it.

    Args:
        handle: the folder.
        where: where the host has its backend.
        host_roots: host folders that backends may lie in.
        check_root: raises if the open root, its mark compared, must not be used.

    Raises:
        FailedPrecondition: the backend's path is not allowed, limits are not enforced on its file
            system as this node has it mounted, or no folder lies at the place.
        RootLost: the backend's path or its root mark is missing, or the mark is another one.
        NotFound: the folder does not exist.
        CsiError: the storage answered otherwise.
    """
    root = _open_root(handle.backend, where.path, host_roots)
    try:
        _check_mark(handle.backend, root, where)
        if check_root is not None:
            check_root(root)
        path = layout.folder_path(handle.scope, handle.folder)
        try:
            return open_beneath(root, path)
        except FileNotFoundError as error:
            raise NotFound(f"backend {handle.backend} has no folder {path}") from error
        except OSError as error:
            raise from_os_error(
                error, f"backend {handle.backend}: opening folder {path}"
            ) from error
    finally:
        os.close(root)


def open_scope(handle: VolumeHandle, where: HostPath, host_roots: Sequence[str]) -> int:
    """Open the directory of the folder's scope for reading its attributes; else like the above."""
    root = _open_root(handle.backend, where.path, host_roots)
    try:
        return open_beneath(root, handle.scope.value, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise from_os_error(error, f"backend {handle.backend}: opening the scope") from error
    finally:
        os.close(root)


def _open_root(backend: str, path: str, host_roots: Sequence[str]) -> int:
    where = f"StorageBackend {backend}: spec.hostPath {path!r}"
    if not is_normalised(path):
        raise FailedPrecondition(f"{where} is not an absolute, normalised path")
    root = next((r for r in host_roots if path == r or path.startswith(f"{r}/")), None)
    if root is None:
        raise FailedPrecondition(
            f"{where} lies in none of the host folders that the node plugin sees "
            f"({', '.join(host_roots)}); add its folder to the chart value node.hostRoots"
        )
    try:
        top = os.open(root, DIRECTORY | os.O_CLOEXEC)
        try:
            return open_beneath(top, path[len(root) + 1 :] or ".")
        finally:
            os.close(top)
    except FileNotFoundError as error:
        raise RootLost(f"RootLost: {where} does not exist on this node") from error
    except OSError as error:
        doing = f"{where} (a directory, reached through no symbolic link)"
        raise from_os_error(error, doing) from error


def check_limits(backend: str, path: str, kind: str, root: int) -> None:
    """Refuse a file system on which a limit is only a number; each node may mount its own.

    Raises:
        FailedPrecondition: the mount of this node lacks what `kind`, `xfs` or `ext4`, needs.
        CsiError: the storage answered otherwise.
    """
    try:
        checks.check_enforced(root, path, kind)
    except Misconfigured as error:
        raise FailedPrecondition(f"QuotaNotEnforced: backend {backend}: {error}") from error
    except OSError as error:
        raise from_os_error(error, f"backend {backend}: reading the state of quotas") from error


def _check_mark(backend: str, root: int, where: HostPath) -> None:
    lost = f"RootLost: backend {backend}, hostPath {where.path}"
    if where.root_id is None or not _ROOT_ID.fullmatch(where.root_id):
        raise RootLost(f"{lost}: the StorageBackend has no valid root id yet; is it Ready?")
    mark = f"{layout.CONTROL_DIR}/{layout.ROOT_MARK}"
    try:
        # A pipe in the place of the mark must not hold up the thread.
        descriptor = open_beneath(root, mark, os.O_RDONLY | os.O_NONBLOCK)
        try:
            content = os.read(descriptor, _LARGEST_MARK)
        finally:
            os.close(descriptor)
    except FileNotFoundError as error:
        raise RootLost(f"{lost}: there is no root mark {mark}; is the storage mounted?") from error
    except OSError as error:
        raise from_os_error(error, f"backend {backend}: reading the root mark {mark}") from error
    try:
        found = json.loads(content)
        layout_version, root_id = found["layout"], found["rootID"]
    except (ValueError, KeyError, TypeError) as error:
        raise RootLost(f"{lost}: the root mark {mark} cannot be read") from error
    if layout_version != _LAYOUT:
        raise RootLost(f"{lost}: layout {layout_version!r}; this version knows layout {_LAYOUT}")
    if root_id != where.root_id:
        raise RootLost(f"{lost}: the root mark is another one; is another storage mounted there?")

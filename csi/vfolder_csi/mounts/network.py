"""How a folder of a network file system is mounted: what to say to the kernel or to its helper.

Secrets go to the kernel in the data of mount(2), never into the arguments of a process.
"""

import errno
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from vfolder_backends import layout
from vfolder_backends.ids import VolumeHandle
from vfolder_csi.directory import NetworkMount
from vfolder_csi.errors import CsiError, FailedPrecondition, NotFound, Unavailable, from_os_error
from vfolder_csi.mounts import flags

HELPER_DIRS: Final = ("/sbin", "/usr/sbin", "/usr/local/sbin")

_FS_TYPE: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
_SOURCE: Final = re.compile(r"[^\s\x00-\x1f,-][^\s\x00-\x1f]{0,1023}")
_OPTION: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*(=[^\s\x00-\x1f,]*)?")
_NFS: Final = frozenset({"nfs", "nfs4"})
_LOCKS: Final = frozenset({"lock", "nolock"})
CEPH: Final = "ceph"
_CEPH_USER: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
_CEPH_KEY: Final = re.compile(r"[A-Za-z0-9+/]{8,512}={0,2}")

_REFUSED: Final = {
    "soft": "a soft mount loses writes without an error to the writer; use 'hard'",
    "softerr": "a soft mount loses writes without an error to the writer; use 'hard'",
    "suid": "folders are always mounted nosuid",
    "dev": "folders are always mounted nodev",
    "secret": "secrets belong into the Secret that spec.mount.secretRef names",
    "secretfile": "secrets belong into the Secret that spec.mount.secretRef names",
    "password": "secrets belong into the Secret that spec.mount.secretRef names",
}


@dataclass(frozen=True, slots=True)
class MountPlan:
    """One mount, ready to be made.

    Attributes:
        helper: the program that makes it, or None for mount(2).
        ms_flags: flags for mount(2).
        data: options for the file system, or all options for the helper.
        root: the backend's own root, as a source.
        folder: the end that `source` has for this folder whatever the server's address is.
    """

    fs_type: str
    source: str
    root: str
    folder: str
    helper: str | None
    ms_flags: int
    data: str = field(repr=False)


def plan_mount(
    handle: VolumeHandle,
    where: NetworkMount,
    secrets: Mapping[str, str],
    helper_dirs: Sequence[str] = HELPER_DIRS,
) -> MountPlan:
    """Decide how to mount a folder.

    Raises:
        FailedPrecondition: the StorageBackend or the secret cannot work as they are.
    """
    about = f"StorageBackend {handle.backend}: spec.mount"
    if not _FS_TYPE.fullmatch(where.fs_type) or where.fs_type.startswith("fuse"):
        raise FailedPrecondition(
            f"{about}.fsType {where.fs_type!r} is not a file system of the kernel; a FUSE mount "
            "would end with the node plugin: mount it on the host and use spec.hostPath"
        )
    if not _SOURCE.fullmatch(where.source):
        raise FailedPrecondition(f"{about}.source {where.source!r} is not a mount source")
    options = _options(about, where)
    folder = "/" + layout.folder_path(handle.scope, handle.folder)
    top = where.source.rstrip("/")
    source, root = top + folder, top + "/"
    helper = None if where.fs_type == CEPH else _find_helper(where.fs_type, helper_dirs)
    if where.fs_type in _NFS and helper is None:
        raise FailedPrecondition(
            f"{about}.fsType {where.fs_type}: the node plugin's image has no mount.{where.fs_type}"
        )
    if where.has_secret and where.fs_type != CEPH:
        raise FailedPrecondition(f"{about}.secretRef: fsType {where.fs_type} takes no secret")
    if helper is not None:
        return MountPlan(where.fs_type, source, root, folder, helper, 0, ",".join(options))
    data = [o for o in options if o not in flags.FLAGS and o not in ("rw", "_netdev")]
    if where.fs_type == CEPH:
        # What mount.ceph calls `fs`, the kernel knows by its older name only.
        data = [re.sub("^fs=", "mds_namespace=", option) for option in data]
    if where.has_secret:
        data += _ceph_identity(handle.backend, where.source, secrets)
    bits = flags.ms_flags(options)
    return MountPlan(where.fs_type, source, root, folder, None, bits, ",".join(data))


def mount_error(error: OSError, plan: MountPlan, source: str) -> CsiError:
    """Return what a mount that the kernel refused means to whoever set up the backend."""
    doing = f"mounting {source} as {plan.fs_type}"
    if error.errno == errno.ENOENT:
        return NotFound(f"{doing}: the server has no such folder")
    if error.errno == errno.ENODEV:
        return FailedPrecondition(f"{doing}: the node's kernel does not know this file system")
    if error.errno == errno.EINVAL:
        names = ", ".join(option.partition("=")[0] for option in plan.data.split(",") if option)
        return FailedPrecondition(
            f"{doing}: the kernel does not take the form of the source, or one of the options, or "
            f"its value ({names or 'none'})"
        )
    if plan.fs_type == CEPH and error.errno in (errno.EACCES, errno.EPERM):
        return FailedPrecondition(
            f"{doing}: the key's capabilities do not reach there; they must reach the backend's "
            "root, or above it"
        )
    if plan.fs_type == CEPH and error.errno in (errno.EHOSTUNREACH, errno.ETIMEDOUT):
        # One errno for all of them; which it was is in the kernel's log of the node only.
        return Unavailable(
            f"{doing}: no monitor answers, or none accepts userID and userKey of the secret, or no "
            "metadata server serves a file system of that name (port 3300 needs an ms_mode)"
        )
    return from_os_error(error, doing)


def _options(about: str, where: NetworkMount) -> list[str]:
    result = sorted(flags.ALWAYS)
    for option in where.options:
        if not _OPTION.fullmatch(option):
            raise FailedPrecondition(f"{about}.options: {option!r} is not one mount option")
        name = option.partition("=")[0]
        if name in _REFUSED:
            raise FailedPrecondition(f"{about}.options: {name!r} is refused: {_REFUSED[name]}")
        if option not in result:
            result.append(option)
    if where.fs_type in _NFS and _is_version_3(result) and not _LOCKS & set(result):
        raise FailedPrecondition(
            f"{about}.options: NFS version 3 keeps its locks by rpc.statd, which the node plugin "
            "does not run: add 'nolock' (each node then sees its own locks only), or 'lock' if all "
            "nodes run rpc.statd, or use vers=4.2"
        )
    # Without it mount.nfs repeats for two minutes in silence and then leaves no reason behind.
    if where.fs_type in _NFS and not any(o.startswith("retry=") for o in result):
        result.append("retry=0")
    return result


def _is_version_3(options: list[str]) -> bool:
    asked = [o.partition("=")[2] for o in options if o.partition("=")[0] in ("vers", "nfsvers")]
    return "v3" in options or any(version == "3" for version in asked)


def _find_helper(fs_type: str, helper_dirs: Sequence[str]) -> str | None:
    paths = (f"{folder}/mount.{fs_type}" for folder in helper_dirs)
    return next((path for path in paths if os.access(path, os.X_OK)), None)


def _ceph_identity(backend: str, source: str, secrets: Mapping[str, str]) -> list[str]:
    user, key = secrets.get("userID", ""), secrets.get("userKey", "").strip()
    if not user or not key:
        raise FailedPrecondition(
            f"backend {backend} needs its secret to mount, with the keys userID and userKey; "
            "a publish has it only if the PersistentVolume names it in nodePublishSecretRef"
        )
    if not _CEPH_USER.fullmatch(user) or not _CEPH_KEY.fullmatch(key):
        raise FailedPrecondition(
            f"backend {backend}: userID or userKey of its secret is not what Ceph gives out"
        )
    # `user@fsid.fs=/path`, the newer form of a source, names the user itself.
    named = [] if "@" in source.partition("=")[0] else [f"name={user.removeprefix('client.')}"]
    return [*named, f"secret={key}"]

"""Bind mounts made and taken away by system call."""

import errno
import os
from dataclasses import dataclass

from vfolder_csi.errors import FailedPrecondition, Internal, from_os_error
from vfolder_csi.mounts import flags, mountinfo, syscalls
from vfolder_csi.mounts.paths import Spot


@dataclass(frozen=True, slots=True)
class Shown:
    """A directory of a file system, as mountinfo identifies it."""

    device: str
    root: str


def identify(mounts: list[mountinfo.Mount], descriptor: int) -> Shown:
    """Return which directory an open descriptor is, without asking its file system.

    Raises:
        Internal: the descriptor lies in no mount of this process.
    """
    mount = mountinfo.of_descriptor(mounts, descriptor)
    if mount is None:
        raise Internal("the folder lies in a mount that the plugin does not see")
    path = os.readlink(f"/proc/self/fd/{descriptor}")
    inside = path if mount.point == "/" else path.removeprefix(mount.point)
    root = mount.root.rstrip("/") + inside.rstrip("/")
    return Shown(mount.device, root or "/")


def bind(source: int, bare: int, spot: Spot, words: frozenset[str]) -> None:
    """Show the directory `source` at the bare directory `bare` of `spot`.

    The mount is made apart, gets its flags there, and is then attached in one step: nobody sees it
    without them.

    Raises:
        CsiError: the kernel refused; nothing is left mounted.
    """
    try:
        tree = syscalls.open_tree(source)
        try:
            syscalls.mount_setattr(tree, *flags.attributes(words))
            syscalls.move_mount(tree, bare)
        finally:
            os.close(tree)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise from_os_error(error, f"mounting at {spot.path}") from error
        bind_by_remount(source, bare, spot, words)


def bind_by_remount(source: int, bare: int, spot: Spot, words: frozenset[str]) -> None:
    """Do the same as `bind` on a kernel before 5.12, in two steps.

    Raises:
        CsiError: the kernel refused; nothing is left mounted.
    """
    inherited = mountinfo.of_descriptor(mountinfo.read(), source)
    if inherited is None:
        raise Internal("the folder lies in a mount that the plugin does not see")
    kept = inherited.options - flags.ATIME_MODES if words & flags.ATIME_MODES else inherited.options
    try:
        syscalls.mount(f"/proc/self/fd/{source}", f"/proc/self/fd/{bare}", "", syscalls.MS_BIND, "")
        try:
            remount = syscalls.MS_BIND | syscalls.MS_REMOUNT | flags.ms_flags(words | kept)
            syscalls.mount("", spot.link, "", remount, "")
        except OSError:
            syscalls.umount2(spot.link, syscalls.UMOUNT_NOFOLLOW | syscalls.MNT_DETACH)
            raise
    except OSError as error:
        raise from_os_error(error, f"mounting at {spot.path}") from error


def unmount_top(spot: Spot) -> bool:
    """Take away what is mounted at the spot, and return whether there is more below it.

    A mount in use is detached: it goes when its last user does. One system call takes a mount away
    and no other follows it, as the call may hang after its work is done until a server comes
    back, and by then the spot may show something new.

    Raises:
        CsiError: the kernel refused.
    """
    try:
        try:
            syscalls.umount2(spot.link, syscalls.UMOUNT_NOFOLLOW)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            syscalls.umount2(spot.link, syscalls.UMOUNT_NOFOLLOW | syscalls.MNT_DETACH)
        bare = spot.open_bare()
        if bare is not None:
            os.close(bare)
        return bare is None
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):
            return False  # not, or no longer, a mount point
        raise from_os_error(error, f"unmounting {spot.path}") from error


def remove_bare(spot: Spot) -> None:
    """Remove the empty directory of an unmounted target; absent is success.

    Raises:
        FailedPrecondition: it holds files, which are not ours to delete.
        CsiError: the kernel refused.
    """
    try:
        os.rmdir(spot.name, dir_fd=spot.parent)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise FailedPrecondition(
                f"{spot.path} is unmounted and holds files of its own, which were written below "
                "the mount; move them away by hand"
            ) from error
        raise from_os_error(error, f"removing {spot.path}") from error

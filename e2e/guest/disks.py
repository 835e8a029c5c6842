"""The disks a guest may have: fresh file systems, right for project quotas and wrong in every way.

What a limit does depends on features of the file system and on the options of its mount; a limit
that can be set proves nothing. So tests need each wrong combination as well as the right one.
"""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from e2e.cluster import commands
from e2e.cluster.errors import CommandFailed

_MKFS_SECONDS: Final = 120.0
_LAZY: Final = "lazy_itable_init=1,lazy_journal_init=1"
_QUOTA: Final = ("-O", "quota,project", "-E", f"quotatype=prjquota,{_LAZY}")


@dataclass(frozen=True, slots=True)
class Disk:
    """One disk: a sparse file on the host, a mounted file system in the guest.

    Attributes:
        name: also the last part of its mount point.
        kind: `xfs` or `ext4`.
        mkfs: options of its making.
        options: options of its mount.
        size: bytes; XFS wants 300 MiB at least.
    """

    name: str
    kind: str
    mkfs: tuple[str, ...] = ()
    options: str = "defaults"
    size: int = 512 << 20

    @property
    def mount_point(self) -> Path:
        """Where the guest has it mounted."""
        return Path("/mnt") / self.name


XFS: Final = Disk("xfs", "xfs", options="prjquota", size=1 << 30)
XFS_PLAIN: Final = Disk("xfs-plain", "xfs")
XFS_ACCOUNTING: Final = Disk("xfs-accounting", "xfs", options="pqnoenforce")
EXT4: Final = Disk("ext4", "ext4", _QUOTA, "prjquota", size=1 << 30)
EXT4_PLAIN: Final = Disk("ext4-plain", "ext4", ("-E", _LAZY))
EXT4_ACCOUNTING: Final = Disk("ext4-accounting", "ext4", _QUOTA)

DISKS: Final = {
    disk.name: disk for disk in (XFS, XFS_PLAIN, XFS_ACCOUNTING, EXT4, EXT4_PLAIN, EXT4_ACCOUNTING)
}
"""All of them, by name."""


def make(disks: Sequence[Disk], folder: Path) -> list[Path]:
    """Make the images, all at once; return their paths in the order of the disks.

    Raises:
        CommandFailed: a file system cannot be made.
    """
    images = [folder / f"{disk.name}.img" for disk in disks]
    running = []
    for disk, image in zip(disks, images, strict=True):
        with image.open("wb") as file:
            file.truncate(disk.size)
        quiet = ("-q", "-f") if disk.kind == "xfs" else ("-q", "-F", "-m", "0")
        words = (commands.find_program(f"mkfs.{disk.kind}"), *quiet, *disk.mkfs, str(image))
        running.append(
            (disk, subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
        )
    failed = []
    for disk, process in running:
        output, _ = process.communicate(timeout=_MKFS_SECONDS)
        if process.returncode:
            failed.append(f"{disk.name}: {commands.tail(output.decode(errors='replace'))}")
    if failed:
        raise CommandFailed("\n".join(failed))
    return images

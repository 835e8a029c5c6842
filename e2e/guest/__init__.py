"""A guest of our own kernel: any command with real XFS and ext4 under it, project quotas included.

The host's kernel need not know quotas, nor any of these file systems. The guest is User Mode Linux,
an ordinary process: the machine's own file tree is its root, read-only below an overlay in RAM.
"""

from e2e.guest.disks import DISKS, Disk
from e2e.guest.guest import Settings, inside, run

__all__ = ["DISKS", "Disk", "Settings", "inside", "run"]

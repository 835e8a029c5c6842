"""Whether the file system below a root can share data between files, tried with nameless ones."""

import fcntl
import os

from vfolder_backends.engine.data import FICLONE
from vfolder_backends.layout import CONTROL_DIR, TEMP_DIR
from vfolder_backends.openat import directory

_BLOCK = 4096


def can_reflink(root: int) -> bool:
    """Try to share the data of one file with another; both are gone afterwards.

    False where it cannot be tried: no room, no files without a name, or a root not attached yet.
    """
    fds: list[int] = []
    try:
        with directory(root, f"{CONTROL_DIR}/{TEMP_DIR}") as folder:
            for _ in range(2):
                where = f"/proc/self/fd/{folder}"
                fds.append(os.open(where, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600))
        os.write(fds[0], bytes(_BLOCK))
        fcntl.ioctl(fds[1], FICLONE, fds[0])
    except OSError:
        return False
    finally:
        for fd in fds:
            os.close(fd)
    return True

"""What the kernel says about mounts, for messages that name what was found."""

import os
import re
from pathlib import Path
from typing import Final

_MOUNTS: Final = Path("/proc/self/mountinfo")
_LINE = re.compile(r"\S+ \S+ (?P<device>\S+) .* - (?P<type>\S+) ")


def filesystem_type(fd: int) -> str:
    """Return the type of the file system an open file is on, such as `ext4` or `fuse.ceph-fuse`."""
    number = os.fstat(fd).st_dev
    device = f"{os.major(number)}:{os.minor(number)}"
    for line in _MOUNTS.read_text(errors="replace").splitlines():
        match = _LINE.match(line)
        if match and match["device"] == device:
            return match["type"]
    return "unknown"

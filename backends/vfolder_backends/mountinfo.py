"""What the kernel says about mounts, for messages that name what was found."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_MOUNTS: Final = Path("/proc/self/mountinfo")
_LINE = re.compile(r"\S+ \S+ (?P<device>\S+) .* - (?P<type>\S+) (?P<source>\S+) (?P<options>\S+)")
_ESCAPE = re.compile(r"\\([0-7]{3})")

_LOCAL_LOCKS: Final = frozenset({"nolock", "local_lock=all", "local_lock=posix", "localflock"})


@dataclass(frozen=True, slots=True)
class FileSystem:
    """The file system of a mount: its type, what it is made of, and options it has everywhere."""

    type: str
    source: str
    options: tuple[str, ...]


def file_system(fd: int) -> FileSystem | None:
    """Return the file system an open file is on, None where no mount of ours shows it."""
    device = _device(fd)
    for line in _MOUNTS.read_text(errors="replace").splitlines():
        match = _LINE.match(line)
        if match and match["device"] == device:
            # The kernel writes blanks and the like as a backslash with three octal digits.
            source = _ESCAPE.sub(lambda octal: chr(int(octal[1], 8)), match["source"])
            return FileSystem(match["type"], source, tuple(match["options"].split(",")))
    return None


def filesystem_type(fd: int) -> str:
    """Return the type of the file system an open file is on, such as `ext4` or `fuse.ceph-fuse`."""
    found = file_system(fd)
    return found.type if found else "unknown"


def local_locks(fd: int) -> bool:
    """Whether locks on an open file's file system hold on this machine alone, by a mount option.

    NFS version 3 with `nolock` (the kernel shows `local_lock=all`), Lustre with `localflock`.
    """
    found = file_system(fd)
    return found is not None and not _LOCAL_LOCKS.isdisjoint(found.options)


def block_devices(fd: int) -> list[str]:
    """Return paths under which the device of an open file's file system may be found."""
    found = file_system(fd)
    return [*([found.source] if found else []), f"/dev/block/{_device(fd)}"]


def _device(fd: int) -> str:
    number = os.fstat(fd).st_dev
    return f"{os.major(number)}:{os.minor(number)}"

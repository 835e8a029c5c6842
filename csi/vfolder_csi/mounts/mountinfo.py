"""What is mounted, as the kernel lists it: reading it never touches a storage."""

import re
from dataclasses import dataclass
from typing import Final

_OCTAL: Final = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of /proc/self/mountinfo.

    Attributes:
        device: major:minor of the file system.
        root: the directory of the file system that is shown at `point`.
        options: per-mount options, such as ro and nosuid.
    """

    mount_id: int
    device: str
    root: str
    point: str
    options: frozenset[str]
    fs_type: str
    source: str

    def shows_same(self, other: "Mount") -> bool:
        """Whether both show the same directory of the same file system."""
        return (self.device, self.root) == (other.device, other.root)


def unescape(text: str) -> str:
    """Undo the kernel's octal escapes of space, tab, newline, backslash and #."""
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), text)


def parse(text: str) -> list[Mount]:
    """Parse the whole file, in the kernel's order: of mounts at one point the last is on top.

    Raises:
        ValueError: a line is not as documented.
    """
    mounts = []
    for line in text.split("\n"):
        if not line:
            continue
        left, dash, right = line.partition(" - ")
        fields, tail = left.split(" "), right.split(" ")
        if not dash or len(fields) < 6 or len(tail) < 2:
            raise ValueError(f"mountinfo line {line!r} is not as documented")
        mounts.append(
            Mount(
                mount_id=int(fields[0]),
                device=fields[2],
                root=unescape(fields[3]),
                point=unescape(fields[4]),
                options=frozenset(fields[5].split(",")),
                fs_type=tail[0],
                source=unescape(tail[1]),
            )
        )
    return mounts


def read() -> list[Mount]:
    """Read the mounts of this process."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        return parse(file.read())


def top(mounts: list[Mount], point: str) -> Mount | None:
    """Return the mount that is seen at `point`, if there is one."""
    return next((mount for mount in reversed(mounts) if mount.point == point), None)


def of_descriptor(mounts: list[Mount], descriptor: int) -> Mount | None:
    """Return the mount an open descriptor lies in, or None if it is in none of these."""
    with open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name == "mnt_id":
                wanted = int(value)
                return next((mount for mount in mounts if mount.mount_id == wanted), None)
    return None

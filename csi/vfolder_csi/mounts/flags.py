"""Mount flags of a published folder, in the words mountinfo prints for them.

A folder is always nosuid and nodev. What a PersistentVolume's `mountOptions` may add is a short
list: everything else belongs to the file system as a whole and is set on the StorageBackend.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from vfolder_csi.errors import InvalidArgument


class Flag(NamedTuple):
    """A word's bits in mount_setattr(2) and in mount(2)."""

    attr: int
    ms: int


RDONLY: Final = "ro"
ATTR_ATIME: Final = 0x70
"""The bits of mount_setattr that hold one of the access-time modes; cleared to set one."""

FLAGS: Final = {
    RDONLY: Flag(0x1, 0x1),
    "nosuid": Flag(0x2, 0x2),
    "nodev": Flag(0x4, 0x4),
    "noexec": Flag(0x8, 0x8),
    "noatime": Flag(0x10, 0x400),
    "strictatime": Flag(0x20, 0x1000000),
    "relatime": Flag(0x0, 0x200000),
    "nodiratime": Flag(0x80, 0x800),
    "nosymfollow": Flag(0x200000, 0x100),
}
ATIME_MODES: Final = frozenset({"noatime", "strictatime", "relatime"})
ALWAYS: Final = frozenset({"nosuid", "nodev"})

_NEUTRAL: Final = {"rw": RDONLY, "exec": "noexec", "diratime": "nodiratime"}
"""Words that only say that another one is not wanted."""

ALLOWED: Final = tuple(sorted([*FLAGS, *_NEUTRAL]))


def parse_mount_flags(words: Iterable[str], read_only: bool) -> frozenset[str]:
    """Return the flags of a publish, those that are always set with them.

    Raises:
        InvalidArgument: a word that is not allowed, or two that contradict each other.
    """
    given = set(words)
    for word in sorted(given):
        if word not in FLAGS and word not in _NEUTRAL:
            raise InvalidArgument(
                f"volume_capability.mount.mount_flags: {word!r} is not allowed; "
                f"allowed: {', '.join(ALLOWED)}"
            )
    pairs = [{neutral, word} for neutral, word in _NEUTRAL.items()]
    clashes = [pair for pair in pairs if pair <= given]
    if len(given & ATIME_MODES) > 1:
        clashes.append(given & ATIME_MODES)
    if clashes:
        raise InvalidArgument(
            f"volume_capability.mount.mount_flags: {' and '.join(sorted(clashes[0]))} "
            "contradict each other"
        )
    wanted = ALWAYS | (given & FLAGS.keys())
    return wanted | {RDONLY} if read_only else frozenset(wanted)


def attributes(words: Iterable[str]) -> tuple[int, int]:
    """Return what mount_setattr(2) has to set and to clear."""
    words = set(words)
    attr_set = 0
    for word in words:
        attr_set |= FLAGS[word].attr
    return attr_set, ATTR_ATIME if words & ATIME_MODES else 0


def ms_flags(words: Iterable[str]) -> int:
    """Return the flags of mount(2); words it does not know are left out."""
    result = 0
    for word in words:
        result |= FLAGS[word].ms if word in FLAGS else 0
    return result


def shown(words: frozenset[str]) -> frozenset[str]:
    """Return what mountinfo prints of these words; it has none for the strict access times."""
    return words - {"strictatime"}

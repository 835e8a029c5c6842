"""What `lfs` prints, read; whatever is not as documented is refused, never guessed.

Sizes are KiB. A figure with an asterisk is over a limit; one in brackets is incomplete, because a
target did not answer, and is no figure to go by.
"""

import re
from typing import Final

from vfolder_backends.projects.syscalls import QUOTA_BLOCK, Project, Quota

DELIMITER: Final = ","
COLUMNS: Final = (
    "--busage",
    "--bsoftlimit",
    "--bhardlimit",
    "--inodes",
    "--isoftlimit",
    "--ihardlimit",
)
"""In the order of the plain output, so that it does not matter whose order lfs follows."""

_NUMBER = re.compile(r"[0-9]+")
_PLAIN: Final = 8  # usage, soft, hard, grace; the same of inodes


class Unreadable(ValueError):
    """The output is none of the documented forms."""


class Incomplete(ValueError):
    """Some target did not answer."""


def plain(text: str, mount_point: str, project: int) -> Quota:
    """Read `lfs quota -q -p ID MOUNT`: the figures follow the path, on its line or the next."""
    words = [word for line in text.splitlines() if not _is_note(line) for word in line.split(" ")]
    words = [word for word in words if word]
    path = mount_point.split()
    while words and words[: len(path)] != path:
        words.pop(0)
    figures = words[len(path) :]
    if len(figures) != _PLAIN:
        raise Unreadable(f"eight figures were to follow {mount_point}, not {text!r}")
    return _quota(project, [*figures[:3], *figures[4:7]])


def columns(text: str, project: int) -> Quota:
    """Read the form with `DELIMITER` and `COLUMNS`."""
    lines = [line for line in text.splitlines() if line.strip() and not _is_note(line)]
    if len(lines) != 1:
        raise Unreadable(f"one line was to come, not {text!r}")
    figures = [word.strip() for word in lines[0].split(DELIMITER)]
    if len(figures) != len(COLUMNS):
        raise Unreadable(f"{len(COLUMNS)} columns were to come, not {text!r}")
    return _quota(project, figures)


def _is_note(line: str) -> bool:
    return " is using default " in line


def _quota(project: int, figures: list[str]) -> Quota:
    used, soft, hard, inodes, inodes_soft, inodes_hard = (_figure(word) for word in figures)
    return Quota(
        project,
        hard * QUOTA_BLOCK,
        used * QUOTA_BLOCK,
        inodes_hard,
        inodes,
        bool(soft or inodes_soft),
    )


def _figure(word: str) -> int:
    if word.startswith("[") or word.endswith("]"):
        raise Incomplete(f"some target did not answer: {word}")
    number = word.removesuffix("*")
    if not _NUMBER.fullmatch(number):
        raise Unreadable(f"{word!r} is no figure")
    return int(number)


def project(text: str) -> Project:
    """Read `lfs project -d PATH`: the id, `P` where it is given on, the path."""
    words = text.split(maxsplit=2)
    if len(words) < 2 or not _NUMBER.fullmatch(words[0]) or words[1] not in ("P", "-"):
        raise Unreadable(f"an id and a flag were to come, not {text!r}")
    return Project(int(words[0]), words[1] == "P")

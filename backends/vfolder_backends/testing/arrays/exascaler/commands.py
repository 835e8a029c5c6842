"""What `lfs` does and prints: the forms of its manual pages, over a directory in a Lustre's place.

Knows `project`, `setquota`, `quota` and `df` (lfs-project(1), lfs-setquota(1), lfs-quota(1)), with
their units, output and exit codes; `run` gives None for any other form. The project of an entry is
an extended attribute of it, or what the nearest directory above gives on. What is charged is
counted by walking.
"""

import errno
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, NoReturn

ATTRIBUTE: Final = "user.simulated.project"
BLOCK: Final = 4096
ALL_COLUMNS: Final = ("busage", "bsoftlimit", "bhardlimit", "inodes", "isoftlimit", "ihardlimit")

_NOTHING: Final = (0, "-")


@dataclass(slots=True)
class State:
    """A file system, and how this version of lfs shows it.

    Attributes:
        top: the directory that is it, links resolved.
        mount: where it is mounted.
        limits: soft and hard limit of KiB, then of inodes, by project.
        columns: whether lfs knows --delimiter and the columns.
        swapped: whether it prints them in another order than it was asked for.
        wrapped: whether figures come on the line after the path.
        incomplete: whether a target does not answer.
        default: whether a default quota is in force.
        enabled: whether quotas are on.
        denied: whether the caller lacks the privilege.
    """

    top: str
    mount: str
    limits: dict[int, tuple[int, int, int, int]] = field(default_factory=dict)
    columns: bool = True
    swapped: bool = False
    wrapped: bool = False
    incomplete: bool = False
    default: bool = False
    enabled: bool = True
    denied: bool = False
    osts: int = 4
    mdts: int = 2


class Failure(Exception):
    """Ends the program with a message."""


def fail(what: str, number: int) -> NoReturn:
    """End the program as lfs does."""
    raise Failure(f"{what}: {os.strerror(number)}")


def run(state: State, words: list[str], place: str) -> str | None:
    """Carry one call out and return what it prints; None for words that it does not know.

    Args:
        state: the file system; changed by `setquota`.
        words: the arguments.
        place: what the last of them is here, where it is one of the caller's open files.

    Raises:
        Failure: it ends with a message and exit status 1.
    """
    command = _COMMANDS.get(words[0]) if words else None
    return command(state, words[1:], place) if command else None


def record_of(path: str) -> tuple[int, str] | None:
    """What is written down of an entry's own project."""
    try:
        number, _, flag = os.getxattr(path, ATTRIBUTE).decode().partition(" ")
    except OSError:
        return None
    return int(number), flag


def project_of(path: str, top: str) -> tuple[int, str]:
    """The id and flag of an entry; without a record of its own, what is given on to it."""
    found = record_of(path)
    if found is not None:
        return found
    above = path
    while above not in (top, "/"):
        above = os.path.dirname(above)
        found = record_of(above)
        if found is not None:
            return _given_on(found)
    return _NOTHING


def _given_on(project: tuple[int, str]) -> tuple[int, str]:
    return project if project[1] == "P" else _NOTHING


def used_by(project: int, top: str) -> tuple[int, int]:
    """KiB and entries charged to a project."""
    size = count = 0
    ahead = [(top, _given_on(record_of(top) or _NOTHING))]
    while ahead:
        folder, given = ahead.pop()
        try:
            entries = list(os.scandir(folder))
        except OSError:
            continue  # removed meanwhile
        for entry in entries:
            if entry.is_symlink():
                continue
            own = record_of(entry.path) or given
            if entry.is_dir(follow_symlinks=False):
                ahead.append((entry.path, _given_on(own)))
            if own[0] != project:
                continue
            count += 1
            if entry.is_file(follow_symlinks=False):
                try:
                    size += -(-entry.stat(follow_symlinks=False).st_size // BLOCK) * BLOCK
                except OSError:
                    count -= 1
    return size // 1024, count


def _project(state: State, words: list[str], place: str) -> str | None:
    """`project -d PATH`, `project -p ID [-s] PATH`."""
    asked = re.fullmatch(r"-d (/\S+)", " ".join(words))
    changed = re.fullmatch(r"-p ([0-9]+)( -s)? (/\S+)", " ".join(words))
    if asked is None and changed is None:
        return None
    given = words[-1]
    path = os.path.realpath(place)
    if not path.startswith(state.top):
        fail(f"lfs project: failed to get xattr for '{given}'", errno.ENOTTY)
    if not os.path.exists(place):
        fail(f"lfs project: failed to get xattr for '{given}'", errno.ENOENT)
    if changed is None:
        number, flag = project_of(path, state.top)
        return f"{number:5} {flag} {given}\n"
    if state.denied:
        fail(f"lfs project: failed to set xattr for '{given}'", errno.EPERM)
    os.setxattr(place, ATTRIBUTE, f"{changed[1]} {'P' if changed[2] else '-'}".encode())
    return ""


def _check_mount(state: State, what: str, mount: str) -> None:
    if mount != state.mount:
        fail(f"lfs {what}: '{mount}' not on a mounted Lustre filesystem", errno.EINVAL)
    if not state.enabled:
        fail(f"{what} failed", errno.ESRCH)
    if state.denied:
        fail(f"{what} failed", errno.EPERM)


def _setquota(state: State, words: list[str], place: str) -> str | None:
    """`setquota -p ID` with all four limits."""
    form = r"-p ([0-9]+) -b ([0-9]+) -B ([0-9]+) -i ([0-9]+) -I ([0-9]+) (/\S+)"
    found = re.fullmatch(form, " ".join(words))
    if found is None:
        return None
    _check_mount(state, "setquota", found[6])
    soft, hard, files_soft, files_hard = (int(found[number]) for number in (2, 3, 4, 5))
    state.limits[int(found[1])] = soft, hard, files_soft, files_hard
    return ""


def _quota(state: State, words: list[str], place: str) -> str | None:
    """`quota -q -p ID`, with or without columns, and `quota --help`."""
    text = " ".join(words)
    if text == "--help":
        return "usage: quota [-q] [-p PROJID] " + " ".join(_known(state)) + " MOUNT_POINT\n"
    plain = re.fullmatch(r"-q -p ([0-9]+) (/\S+)", text)
    columns = re.fullmatch(r"-q -p ([0-9]+) --delimiter (\S) ((?:--[a-z]+ )+)(/\S+)", text)
    found = plain or (columns if state.columns else None)
    if found is None:
        return None
    _check_mount(state, "quota", words[-1])
    soft, hard, isoft, ihard = state.limits.get(int(found[1]), (0, 0, 0, 0))
    size, count = used_by(int(found[1]), state.top)
    figures = [_shown(size, hard, state), soft, hard, _shown(count, ihard, state), isoft, ihard]
    note = f"pid {found[1]} is using default file quota setting\n" if state.default else ""
    if columns is not None:
        by_name = dict(zip(ALL_COLUMNS, figures, strict=True))
        names = columns[3].replace("--", "").split()
        if state.swapped:
            names[0], names[2] = names[2], names[0]
        return columns[2].join(str(by_name[name]) for name in names) + "\n" + note
    line = "{:>16} {:>7} {:>7} {:>7}".format(*figures[:3], "-")
    line += " {:>7} {:>7} {:>7} {:>7}".format(*figures[3:], "-")
    gap = "\n" if state.wrapped else " "
    return f"{found[2]:>16}{gap}{line}\n{note}"


def _known(state: State) -> list[str]:
    return ["--delimiter", *(f"--{name}" for name in ALL_COLUMNS)] if state.columns else []


def _shown(used: int, limit: int, state: State) -> str:
    if state.incomplete:
        return f"[{used}]"
    return f"{used}*" if limit and used > limit else str(used)


def _df(state: State, words: list[str], place: str) -> str | None:
    """`df MOUNT`: a line for each target."""
    if words != [state.mount]:
        return None
    rows = [f"t-MDT{n:04}_UUID 1000 10 990 1% {words[0]}[MDT:{n}]" for n in range(state.mdts)]
    rows += [f"t-OST{n:04}_UUID 9000 90 8910 1% {words[0]}[OST:{n}]" for n in range(state.osts)]
    return "UUID 1K-blocks Used Available Use% Mounted on\n" + "\n".join(rows) + "\n"


_COMMANDS: Final[Mapping[str, Callable[[State, list[str], str], str | None]]] = {
    "project": _project,
    "setquota": _setquota,
    "quota": _quota,
    "df": _df,
}

"""The program `lfs`, over a directory in place of a Lustre; runs alone, without our package.

    program.py STATE WORDS...

Knows `project`, `setquota`, `quota` and `df` in the forms of their manual pages (lfs-project(1),
lfs-setquota(1), lfs-quota(1)), with their units, output and exit codes; any other form is noted as
a violation and refused. The project of an entry is an extended attribute of it, or what the nearest
directory above gives on. What is charged is counted by walking. STATE is a JSON file.
"""

import errno
import fcntl
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

ATTRIBUTE: Final = "user.simulated.project"
BLOCK: Final = 4096
ALL_COLUMNS: Final = ("busage", "bsoftlimit", "bhardlimit", "inodes", "isoftlimit", "ihardlimit")


State = dict[str, Any]


class Failure(Exception):
    """Ends the program with a message."""


def fail(what: str, number: int) -> NoReturn:
    """End the program as lfs does."""
    raise Failure(f"{what}: {os.strerror(number)}")


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
            return found if found[1] == "P" else (0, "-")
    return 0, "-"


def used_by(project: int, top: str) -> tuple[int, int]:
    """KiB and entries charged to a project."""
    size = count = 0
    for folder, names, files in os.walk(top):
        for name in (*names, *files):
            path = os.path.join(folder, name)
            try:
                if os.path.islink(path) or project_of(path, top)[0] != project:
                    continue
                count += 1
                if name in files:
                    size += -(-os.lstat(path).st_size // BLOCK) * BLOCK
            except OSError:
                continue
    return size // 1024, count


def run_project(state: State, words: list[str]) -> str | None:
    """`project -d PATH`, `project -p ID [-s] PATH`."""
    asked = re.fullmatch(r"-d (/\S+)", " ".join(words))
    changed = re.fullmatch(r"-p ([0-9]+)( -s)? (/\S+)", " ".join(words))
    if asked is None and changed is None:
        return None
    given = asked[1] if asked else words[-1]
    path = os.path.realpath(given)
    if not path.startswith(state["top"]):
        fail(f"lfs project: failed to get xattr for '{given}'", errno.ENOTTY)
    if changed is None:
        number, flag = project_of(path, state["top"])
        return f"{number:5} {flag} {given}\n"
    if state["denied"]:
        fail(f"lfs project: failed to set xattr for '{given}'", errno.EPERM)
    os.setxattr(path, ATTRIBUTE, f"{changed[1]} {'P' if changed[2] else '-'}".encode())
    return ""


def check_mount(state: State, what: str, mount: str) -> None:
    """Fail where quotas cannot be asked for."""
    if mount != state["mount"]:
        fail(f"lfs {what}: '{mount}' not on a mounted Lustre filesystem", errno.EINVAL)
    if not state["enabled"]:
        fail(f"{what} failed", errno.ESRCH)
    if state["denied"]:
        fail(f"{what} failed", errno.EPERM)


def run_setquota(state: State, words: list[str]) -> str | None:
    """`setquota -p ID` with all four limits."""
    form = r"-p ([0-9]+) -b ([0-9]+) -B ([0-9]+) -i ([0-9]+) -I ([0-9]+) (/\S+)"
    found = re.fullmatch(form, " ".join(words))
    if found is None:
        return None
    check_mount(state, "setquota", found[6])
    state["limits"][found[1]] = [int(found[number]) for number in (2, 3, 4, 5)]
    return ""


def run_quota(state: State, words: list[str]) -> str | None:
    """`quota -q -p ID`, with or without columns, and `quota --help`."""
    text = " ".join(words)
    if text == "--help":
        return "usage: quota [-q] [-p PROJID] " + " ".join(help_of(state)) + " MOUNT_POINT\n"
    plain = re.fullmatch(r"-q -p ([0-9]+) (/\S+)", text)
    columns = re.fullmatch(r"-q -p ([0-9]+) --delimiter (\S) ((?:--[a-z]+ )+)(/\S+)", text)
    found = plain or (columns if state["columns"] else None)
    if found is None:
        return None
    check_mount(state, "quota", words[-1])
    soft, hard, isoft, ihard = state["limits"].get(found[1], [0, 0, 0, 0])
    size, count = used_by(int(found[1]), state["top"])
    figures = [shown(size, hard, state), soft, hard, shown(count, ihard, state), isoft, ihard]
    note = f"pid {found[1]} is using default file quota setting\n" if state["default"] else ""
    if columns is not None:
        by_name = dict(zip(ALL_COLUMNS, figures, strict=True))
        names = columns[3].replace("--", "").split()
        if state["swapped"]:
            names[0], names[2] = names[2], names[0]
        return columns[2].join(str(by_name[name]) for name in names) + "\n" + note
    line = "{:>16} {:>7} {:>7} {:>7}".format(*figures[:3], "-")
    line += " {:>7} {:>7} {:>7} {:>7}".format(*figures[3:], "-")
    gap = "\n" if state["wrapped"] else " "
    return f"{found[2]:>16}{gap}{line}\n{note}"


def help_of(state: State) -> list[str]:
    """The options that this version knows."""
    return ["--delimiter", *(f"--{name}" for name in ALL_COLUMNS)] if state["columns"] else []


def shown(used: int, limit: int, state: State) -> str:
    """A figure of what is used."""
    if state["incomplete"]:
        return f"[{used}]"
    return f"{used}*" if limit and used > limit else str(used)


def run_df(state: State, words: list[str]) -> str | None:
    """`df MOUNT`: a line for each target."""
    if words != [state["mount"]]:
        return None
    rows = [f"t-MDT{n:04}_UUID 1000 10 990 1% {words[0]}[MDT:{n}]" for n in range(state["mdts"])]
    rows += [f"t-OST{n:04}_UUID 9000 90 8910 1% {words[0]}[OST:{n}]" for n in range(state["osts"])]
    return "UUID 1K-blocks Used Available Use% Mounted on\n" + "\n".join(rows) + "\n"


COMMANDS: Final[Mapping[str, Callable[[State, list[str]], str | None]]] = {
    "project": run_project,
    "setquota": run_setquota,
    "quota": run_quota,
    "df": run_df,
}


def due(state: State) -> str:
    """What the present call has to suffer."""
    state["calls"] += 1
    for fault in state["faults"]:
        if fault["nth"] == state["calls"] and not fault.get("fired"):
            fault["fired"] = True
            return str(fault["kind"])
    return ""


def act(state: State, words: list[str], kind: str) -> tuple[int, str, str]:
    """Carry a call out; return exit status, output and message."""
    if kind == "refused":
        return 1, "", f"{words[0]} failed: {os.strerror(errno.EPERM)}\n"
    if kind == "error":
        return errno.EIO, "", f"{words[0]} failed: {os.strerror(errno.EIO)}\n"
    run = COMMANDS.get(words[0]) if words else None
    try:
        out = run(state, words[1:]) if run else None
    except Failure as failure:
        return 1, "", f"{failure}\n"
    if out is None:
        state["violations"].append(" ".join(words))
        return 2, "", f"lfs: unrecognized arguments: {' '.join(words)}\n"
    return 0, out[: len(out) // 3] if kind == "cut" else out, ""


def main() -> None:
    """Serve one call."""
    with open(sys.argv[1], "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        state = json.load(file)
        words = sys.argv[2:]
        kind = due(state)
        status, out, message = (0, "", "") if kind == "hang" else act(state, words, kind)
        file.seek(0)
        file.truncate()
        json.dump(state, file)
    if kind == "hang":
        time.sleep(3600)
    if kind == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    sys.stdout.write(out)
    sys.stderr.write(message)
    sys.exit(status)


if __name__ == "__main__":
    main()

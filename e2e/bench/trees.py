"""What whole trees cost: counted, copied and removed, beside `du`, `find`, `cp -a` and `rm -rf`.

On a tmpfs, and on ext4 in a loop device of its own, so that no other user of the disk is in the
way. As many rounds as fit into the time there is, one at least.
"""

import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from e2e.bench.report import Figure, Section
from e2e.cluster import commands
from e2e.cluster.errors import CommandFailed
from e2e.cluster.progress import say
from vfolder_backends.openat import syncfs

_PARENTS, _DIRECTORIES, _FILES, _LARGEST = 10, 100, 100, 4096
_ROUNDS = 5
_SECONDS = 240.0  # for each place
_MEMORY = Path("/dev/shm")  # a tmpfs of its own on every Linux; nothing in it is trusted
_DISK = 4 << 30
_CACHES = Path("/proc/sys/vm/drop_caches")

_COUNT = "from vfolder_backends.engine.usage import usage; assert usage(first).done"
_COPY = (
    "from vfolder_backends.engine.tree_copy import copy_contents;"
    "os.mkdir(sys.argv[2]); assert copy_contents(first, os.open(sys.argv[2], 0)).faithful"
)
_REMOVE = (
    "from vfolder_backends.engine.removal import *; from vfolder_backends.engine.budget import *;"
    "from vfolder_backends.engine.helpers import HELPERS;"
    "assert remove_contents(first, Budget(), HELPERS); os.rmdir(sys.argv[1])"
)
_LIST = (
    "from vfolder_backends.engine.visit import visit; assert visit(first, lambda batch: None).done"
)

_OPENING = "import os, sys; first = os.open(sys.argv[1], os.O_RDONLY);"
# Counts once for each line that it reads, and tells what it took.
_RUNNING = """
import os, sys, time
from vfolder_backends.engine.usage import usage
first = os.open(sys.argv[1], os.O_RDONLY)
for _ in sys.stdin:
    before, begun = os.times(), time.perf_counter()
    assert usage(first).done
    wall, after = time.perf_counter() - begun, os.times()
    print(wall, sum(after[:4]) - sum(before[:4]), flush=True)
"""

Clocked = tuple[float, float]
"""Seconds on the wall, and of all processors."""
Times = dict[str, list[Clocked]]


def measure() -> Section:
    """Measure on tmpfs, and on ext4 where a loop device can be had."""
    figures: list[Figure] = []
    told = [f"tmpfs at {_MEMORY}, {_measured('tmpfs', _MEMORY, figures)} rounds"]
    try:
        with _loop_device() as disk:
            told.append(f"ext4 in a loop device, {_measured('ext4', disk, figures)} rounds")
    except CommandFailed as error:
        told.append(f"ext4 not measured ({error})")
    count = _PARENTS * _DIRECTORIES * _FILES
    return Section(
        name="trees",
        title=f"a tree of {count:,} files of 1 to {_LARGEST} bytes in 1,000 directories",
        method=(
            f"{'; '.join(told)}. Load before: {os.getloadavg()[0]:.1f} on "
            f"{len(os.sched_getaffinity(0))} processors. Interleaved, both sides as processes of "
            "their own, the clock around them, so Python's start counts; 'running': in a process "
            "that has started before, as the operator has. Medians; the ratio of a round's two "
            "times is what to look at, given with its least and greatest as lines of their own. "
            "CPU seconds are of all processes. Cold: caches dropped before. Copies on a virtual "
            "disk depend more on its allocator than on the program."
        ),
        figures=figures,
        peer="coreutils and findutils of this machine: du -s, find -printf, cp -a, rm -rf",
    )


def _measured(place: str, under: Path, figures: list[Figure]) -> int:
    with _tree(under) as base, _counting(base / "tree") as count_again:
        say(f"trees on {place}")
        cold = place != "tmpfs" and os.access(_CACHES, os.W_OK)
        times: Times = {}
        begun, rounds = time.monotonic(), 0
        while rounds < _ROUNDS:
            _round(times, base, count_again, cold=cold)
            rounds += 1
            if (time.monotonic() - begun) * (rounds + 1) / rounds > _SECONDS:
                break
    figures += _figures(place, times)
    return rounds


def _round(times: Times, base: Path, count_again: Callable[[], Clocked], *, cold: bool) -> None:
    tree, copy = base / "tree", base / "copy"

    def one(name: str, command: list[str | Path]) -> None:
        times.setdefault(name, []).append(_clock(command))

    one("count, warm", _ours(_COUNT, tree))
    one("count, warm peer", ["du", "-s", tree])
    times.setdefault("count, warm, running", []).append(count_again())
    one("count, warm, running peer", ["du", "-s", tree])
    one("list, warm", _ours(_LIST, tree))
    one("list, warm peer", ["find", tree, "-printf", "%y %P\\n"])
    if cold:
        _drop(base)
        one("count, cold", _ours(_COUNT, tree))
        _drop(base)
        one("count, cold peer", ["du", "-s", tree])
    for kind, prepare in [("", _written), *([(", cold", _drop)] if cold else [])]:
        prepare(base)
        one(f"copy{kind}", _ours(_COPY, tree, copy))
        prepare(base)
        one(f"remove{kind}", _ours(_REMOVE, copy))
        prepare(base)
        one(f"copy{kind} peer", ["cp", "-a", tree, copy])
        prepare(base)
        one(f"remove{kind} peer", ["rm", "-rf", copy])


def _ours(program: str, *paths: Path) -> list[str | Path]:
    return [sys.executable, "-c", _OPENING + program, *paths]


def _clock(command: list[str | Path]) -> Clocked:
    before, begun = _cpu(), time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begun, _cpu() - before


def _cpu() -> float:
    spent = os.times()
    return spent.children_user + spent.children_system


@contextmanager
def _counting(tree: Path) -> Iterator[Callable[[], Clocked]]:
    with subprocess.Popen(
        [sys.executable, "-c", _RUNNING, tree],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:

        def count() -> Clocked:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("again\n")
            process.stdin.flush()
            wall, cpu = process.stdout.readline().split()
            return float(wall), float(cpu)

        count()  # as often as it takes to have started
        yield count


def _figures(place: str, times: Times) -> Iterator[Figure]:
    for name, ours in times.items():
        if name.endswith(" peer"):
            continue
        theirs = times[f"{name} peer"]
        for what, at in (("", 0), (", CPU", 1)):
            middle = [statistics.median(pair[at] for pair in side) for side in (ours, theirs)]
            yield Figure(f"{place}: {name}{what}", middle[0], "s", middle[1])
        ratios = sorted(mine[0] / other[0] for mine, other in zip(ours, theirs, strict=True))
        for what, ratio in (
            ("median ratio", statistics.median(ratios)),
            ("least ratio", ratios[0]),
            ("greatest ratio", ratios[-1]),
        ):
            yield Figure(f"{place}: {name}, {what}", ratio, "times")


@contextmanager
def _tree(under: Path) -> Iterator[Path]:
    base = Path(tempfile.mkdtemp(prefix="vfolder-bench-", dir=under))
    draw = random.Random(1)
    blob = draw.randbytes(_LARGEST)
    try:
        for parent in range(_PARENTS):
            for directory in range(_DIRECTORIES):
                here = base / "tree" / f"p{parent}" / f"d{directory:02d}"
                here.mkdir(parents=True)
                for file in range(_FILES):
                    (here / f"f{file:02d}").write_bytes(blob[: draw.randint(1, _LARGEST)])
        yield base
    finally:
        shutil.rmtree(base)


@contextmanager
def _loop_device() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="vfolder-bench-") as folder:
        image, point = Path(folder, "image"), Path(folder, "disk")
        point.mkdir()
        with image.open("wb") as file:
            file.truncate(_DISK)
        commands.run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0", image)
        commands.run("mount", "-o", "loop", image, point)
        try:
            yield point
        finally:
            commands.run("umount", point)


def _written(base: Path) -> None:
    """Write out what is dirty there, so that nobody pays for somebody else's writes."""
    fd = os.open(base, os.O_RDONLY)
    try:
        syncfs(fd)
    finally:
        os.close(fd)


def _drop(base: Path) -> None:
    _written(base)
    _CACHES.write_text("3")

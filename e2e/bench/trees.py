"""What whole trees cost: counted, copied and removed, beside `du`, `find`, `cp -a` and `rm -rf`."""

import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from e2e.bench.report import Figure, Section
from e2e.cluster.progress import say

_PARENTS, _DIRECTORIES, _FILES, _LARGEST = 10, 100, 100, 4096
_ROUNDS = {"tmpfs": 5, "disk": 3}
_MEMORY = Path("/dev/shm")  # a tmpfs of its own on every Linux; nothing in it is trusted
_CACHES = Path("/proc/sys/vm/drop_caches")

_COUNT = "from vfolder_backends.engine.usage import usage; assert usage(first).done"
_COPY = (
    "from vfolder_backends.engine.tree_copy import copy_contents;"
    "os.mkdir(sys.argv[2]); assert copy_contents(first, os.open(sys.argv[2], 0)).faithful"
)
_REMOVE = (
    "from vfolder_backends.engine.removal import *; from vfolder_backends.engine.helpers import *;"
    "assert remove_contents(first, Budget(), HELPERS); os.rmdir(sys.argv[1])"
)
_LIST = (
    "from vfolder_backends.engine.visit import visit; assert visit(first, lambda batch: None).done"
)

Times = dict[str, list[tuple[float, float]]]


def measure() -> Section:
    """Measure on tmpfs and on the disk that temporary files are on."""
    figures: list[Figure] = []
    places = []
    for place, under in (("tmpfs", _MEMORY), ("disk", Path(tempfile.gettempdir()))):
        kind = _kind(under)
        places.append(f"{place}: {kind} at {under}")
        with _tree(under) as base:
            say(f"trees on {place} ({kind})")
            times = _rounds(base, _ROUNDS[place], cold=place == "disk" and _may_drop())
        figures += list(_figures(place, times))
    count = _PARENTS * _DIRECTORIES * _FILES
    return Section(
        name="trees",
        title=f"a tree of {count:,} files of 1 to {_LARGEST} bytes in 1,000 directories",
        method=(
            f"{'; '.join(places)}. Interleaved rounds, both sides as processes of their own, the "
            "clock around them, so Python's start counts. Medians; the ratio of a round's two "
            "times is what to look at, given with its least and greatest as lines of their own. "
            "CPU seconds are of all processes. Cold: caches dropped before. Copies on a virtual "
            "disk depend more on its allocator than on the program."
        ),
        figures=figures,
        peer="coreutils and findutils of this machine: du -s, find -printf, cp -a, rm -rf",
    )


def _rounds(base: Path, rounds: int, *, cold: bool) -> Times:
    tree, copy = base / "tree", base / "copy"
    times: Times = {}

    def both(name: str, ours: str, theirs: list[str | Path], *paths: Path) -> None:
        _clock(times, name, _ours(ours, *paths))
        _clock(times, f"{name} peer", theirs)

    for _ in range(rounds):
        both("count, warm", _COUNT, ["du", "-s", tree], tree)
        both("list, warm", _LIST, ["find", tree, "-printf", "%y %P\\n"], tree)
        if cold:
            _drop()
            _clock(times, "count, cold", _ours(_COUNT, tree))
            _drop()
            _clock(times, "count, cold peer", ["du", "-s", tree])
        os.sync()
        _clock(times, "copy", _ours(_COPY, tree, copy))
        os.sync()
        _clock(times, "remove", _ours(_REMOVE, copy))
        os.sync()
        _clock(times, "copy peer", ["cp", "-a", tree, copy])
        os.sync()
        _clock(times, "remove peer", ["rm", "-rf", copy])
    return times


def _ours(program: str, *paths: Path) -> list[str | Path]:
    opening = "import os, sys; first = os.open(sys.argv[1], os.O_RDONLY);"
    return [sys.executable, "-c", opening + program, *paths]


def _clock(times: Times, name: str, command: list[str | Path]) -> None:
    before, begun = _cpu(), time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    times.setdefault(name, []).append((time.perf_counter() - begun, _cpu() - before))


def _cpu() -> float:
    spent = os.times()
    return spent.children_user + spent.children_system


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


def _kind(under: Path) -> str:
    command = ["stat", "--file-system", "--format=%T", str(under)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _may_drop() -> bool:
    return os.access(_CACHES, os.W_OK)


def _drop() -> None:
    os.sync()
    _CACHES.write_text("3")

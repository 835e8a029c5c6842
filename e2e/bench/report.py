"""What is measured, as a table for people and as JSON for tools."""

import dataclasses
import json
import os
import platform
import subprocess
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from e2e.cluster.paths import REPOSITORY

RESULTS = REPOSITORY / "results" / "bench.json"
_WIDTH = 100


@dataclass(frozen=True, slots=True)
class Figure:
    """One number.

    Attributes:
        unit: of both values, such as `ms`.
        peer: the same for the section's peer, in the same run.
    """

    name: str
    value: float
    unit: str
    peer: float | None = None

    @property
    def ratio(self) -> float | None:
        """Ours divided by the peer's."""
        return self.value / self.peer if self.peer else None


@dataclass(frozen=True, slots=True)
class Section:
    """One measurement.

    Attributes:
        method: how it was measured, and what would make it misleading.
        peer: what it is compared with; empty if there is nothing to compare with.
    """

    name: str
    title: str
    method: str
    figures: Sequence[Figure]
    peer: str = ""


def machine() -> dict[str, object]:
    """Where the numbers come from."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    commit = ("git", "-C", str(REPOSITORY), "describe", "--always", "--dirty")
    done = subprocess.run(commit, capture_output=True, text=True, check=False)
    return {
        "cpu": cpu,
        "cpus": len(os.sched_getaffinity(0)),
        "memoryGiB": round(memory / (1 << 30), 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "commit": done.stdout.strip() or "unknown",
    }


def number(value: float | None) -> str:
    """Three significant digits, whole numbers as they are, and a dash for nothing."""
    if value is None:
        return "-"
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    digits = 3 - len(str(int(abs(value)))) if abs(value) >= 1 else 3
    return f"{value:.{max(digits, 0)}f}"


def table(section: Section) -> str:
    """One measurement as text."""
    lines = [f"{section.name}: {section.title}"]
    lines += textwrap.wrap(section.method, _WIDTH, initial_indent="  ", subsequent_indent="  ")
    if section.peer:
        peer = f"Peer: {section.peer}"
        lines += textwrap.wrap(peer, _WIDTH, initial_indent="  ", subsequent_indent="  ")
    width = max(len(figure.name) for figure in section.figures)
    head = f"  {'':{width}}  {'VFolder':>10}  {'':8}"
    lines.append((head + (f"  {'peer':>10}  {'ratio':>8}" if section.peer else "")).rstrip())
    for figure in section.figures:
        line = f"  {figure.name:{width}}  {number(figure.value):>10}  {figure.unit:8}"
        if figure.peer is not None:
            ratio = "-" if figure.ratio is None else f"{figure.ratio:.2f}"
            line += f"  {number(figure.peer):>10}  {ratio:>8}"
        lines.append(line.rstrip())
    return "\n".join(lines)


def write(about: dict[str, object], sections: Sequence[Section]) -> None:
    """Write everything, with the ratios, to `RESULTS`."""
    measured = [
        {
            **dataclasses.asdict(section),
            "figures": [
                {**dataclasses.asdict(figure), "ratio": figure.ratio} for figure in section.figures
            ],
        }
        for section in sections
    ]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({**about, "sections": measured}, indent=1) + "\n")

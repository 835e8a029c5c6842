"""`make test`: all tiers one after another, a line for each, and the sum at the end."""

import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from e2e.cluster import golang, images, packages
from e2e.cluster.paths import REPOSITORY
from e2e.cluster.progress import say
from e2e.guest import tier as guests
from vfolder_backends.testing.arrays import catalogue

RESULTS = REPOSITORY / "results"
BIN = Path(sys.executable).parent
STEPS_SECONDS = 300
"""Deadline of a test of the suite: some start a process for each step of an operation."""

CHECKS = (
    ("format", "ruff", "format", "--check", "."),
    ("lint", "ruff", "check", "."),
    ("types", "mypy"),
    ("rings", "lint-imports"),
)

TIERS = {
    "unit": ("tests/unit", "tests/repo"),
    "component": ("tests/component",),
    "conformance": (),
    "e2e": ("e2e/tests",),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a tier went."""

    name: str
    counts: Counter[str]
    seconds: float


def check(name: str, program: str, *words: str) -> Outcome:
    """Run one static check; it counts as one test."""
    started = time.monotonic()
    done = subprocess.run([BIN / program, *words], cwd=REPOSITORY, check=False)
    key = "failed" if done.returncode else "passed"
    return Outcome(name, Counter({key: 1}), time.monotonic() - started)


def tier(name: str, folders: tuple[str, ...]) -> Outcome:
    """Run one tier of tests."""
    started = time.monotonic()
    counts = _tests(name, *folders) if folders else _storages()
    return Outcome(name, counts, time.monotonic() - started)


def _storages() -> Counter[str]:
    """Run the suite on each storage, two at a time: here, or in a guest with its own kernel.

    What takes longest begins first, so that both lanes end at about the same time: guests, arrays
    with their fault matrix, the rest.
    """
    simulated = {f"test_{kind}" for kind in ("exascaler", *catalogue.kinds())}
    modules = sorted(
        (REPOSITORY / "tests" / "conformance").glob("test_*.py"),
        key=lambda module: (module.stem not in simulated, module.stem),
    )
    jobs: list[Callable[[], Counter[str]]] = [
        *(partial(_in_guest, one) for one in guests.RUNS),
        *(partial(_module, one) for one in modules),
    ]
    with ThreadPoolExecutor(2) as pool:
        return sum(pool.map(lambda job: job(), jobs), Counter())


def _module(module: Path) -> Counter[str]:
    """Run one module, and show what it said when it is done."""
    log = RESULTS / f"{module.stem}.log"
    with log.open("wb") as output:
        counts = _tests(module.stem, "-o", f"timeout={STEPS_SECONDS}", str(module), output=output)
    sys.stdout.write(f"{module.name}\n{log.read_text(errors='replace')}")
    sys.stdout.flush()
    return counts


def _in_guest(one: guests.GuestRun) -> Counter[str]:
    found = _count(guests.run_tests(one, RESULTS))
    return found if found.total() else Counter(failed=1)


def _tests(name: str, *words: str, output: IO[bytes] | None = None) -> Counter[str]:
    report = RESULTS / f"{name}.xml"
    report.unlink(missing_ok=True)
    place = tempfile.mkdtemp(prefix="vfolder-tests-")
    options = ("-q", "--durations=5", f"--junitxml={report}", f"--basetemp={place}/t")
    try:
        done = subprocess.run(
            [BIN / "pytest", *options, *words], cwd=REPOSITORY, check=False, stdout=output
        )
    finally:
        # Some tests make trees deeper than Python's own removal gets.
        subprocess.run(["rm", "-rf", "--one-file-system", place], check=False)
    counts = _count(report)
    if done.returncode and not counts["failed"]:
        counts["failed"] += 1  # it did not even begin
    return counts


def _count(report: Path) -> Counter[str]:
    counts: Counter[str] = Counter()
    if not report.exists():
        return counts
    for suite in ET.parse(report).getroot().iter("testsuite"):
        total, skipped = int(suite.get("tests", "0")), int(suite.get("skipped", "0"))
        failed = int(suite.get("failures", "0")) + int(suite.get("errors", "0"))
        counts.update(passed=total - failed - skipped, failed=failed, skipped=skipped)
    return counts


def main() -> None:
    """Run all tiers, or those that are named; the exit status says whether all passed."""
    chosen = sys.argv[1:] or ["check", *TIERS]
    if unknown := set(chosen) - {"check", *TIERS}:
        sys.exit(f"no such tier: {', '.join(sorted(unknown))}; there are check, {', '.join(TIERS)}")
    RESULTS.mkdir(exist_ok=True)
    outcomes: list[Outcome] = []
    if "check" in chosen:
        outcomes += [check(*words) for words in CHECKS]
    if {"component", "conformance", "e2e"} & set(chosen):
        packages.install(packages.EVERYTHING)
        golang.build()
    if "e2e" in chosen:
        images.build()
    for name, folders in TIERS.items():
        if name in chosen:
            say(f"tier {name}")
            outcomes.append(tier(name, folders))
    total: Counter[str] = Counter()
    print("\ntier         passed  failed  skipped  seconds")
    for one in outcomes:
        total.update(one.counts)
        numbers = (one.counts[key] for key in ("passed", "failed", "skipped"))
        print(f"{one.name:<12} {'  '.join(f'{n:6}' for n in numbers)}   {one.seconds:7.1f}")
    print(f"{total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped")
    sys.exit(1 if total["failed"] or not total["passed"] else 0)


if __name__ == "__main__":
    main()

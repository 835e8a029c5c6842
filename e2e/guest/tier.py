"""The tests that run in guests: which module in which guest, and their counts brought back.

A guest that does not come up counts as a failure, as a module does that nobody can collect.
"""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from e2e.cluster.errors import RigError
from e2e.cluster.paths import REPOSITORY
from e2e.cluster.progress import say
from e2e.guest import nfs
from e2e.guest.disks import EXT4, EXT4_ACCOUNTING, EXT4_PLAIN, XFS, XFS_ACCOUNTING, XFS_PLAIN
from e2e.guest.guest import Settings, run

FOLDER: Final = Path("tests/conformance/guest")
_PYTEST: Final = Path(sys.executable).with_name("pytest")
_TEST_SECONDS: Final = 300
"""For one test: system calls take five times as long in there as on the host."""
_GUEST_SECONDS: Final = 1800.0


@dataclass(frozen=True, slots=True)
class GuestRun:
    """One guest, and the test modules below `FOLDER` that run in it."""

    name: str
    modules: tuple[str, ...]
    settings: Settings


RUNS: Final = (
    GuestRun(
        "xfs",
        ("test_xfs.py", "test_privileges.py", "test_publish.py"),
        Settings(disks=(XFS, XFS_PLAIN, XFS_ACCOUNTING, EXT4)),
    ),
    GuestRun(
        "ext4",
        ("test_ext4.py",),
        # As in an ordinary container, where root has no leave to pass a limit.
        Settings(disks=(EXT4, EXT4_PLAIN, EXT4_ACCOUNTING), sys_resource=False),
    ),
    # Hundreds of processes that are killed, each new: it takes long, and needs no other load.
    GuestRun(
        "migrate",
        ("test_migrate.py",),
        Settings(disks=(XFS, EXT4), sys_resource=False, timeout=2400.0),
    ),
    GuestRun("nfs", ("test_nfs_quota.py", "test_nfs_dead.py"), Settings(modules=nfs.MODULES)),
    GuestRun("nfs-suite", ("test_nfs_suite.py",), Settings(disks=(EXT4,), modules=nfs.MODULES)),
    GuestRun(
        "ceph", ("test_ceph_kernel.py",), Settings(memory=3 << 30, disks=(), modules=("ceph",))
    ),
)


def run_tests(one: GuestRun, results: Path) -> Path:
    """Run the tests in a guest, and show what they said when it is done.

    Args:
        one: which tests, in what guest.
        results: a folder for log and report.

    Returns:
        The JUnit report; one that was not written means that the run failed as a whole.
    """
    report, log = results / f"guest-{one.name}.xml", results / f"guest-{one.name}.log"
    report.unlink(missing_ok=True)
    words: list[str | Path] = [_PYTEST, "-q", "--durations=5", f"--junitxml={report}", "-o"]
    words += [f"timeout={_TEST_SECONDS}", *(FOLDER / module for module in one.modules)]
    settings = replace(one.settings, results=results, timeout=_GUEST_SECONDS)
    with log.open("wb") as output:
        try:
            status = run(words, settings, stdout=output, stderr=output, cwd=REPOSITORY)
        except RigError as error:
            status = 125
            output.write(f"guest {one.name}: {error}\n".encode())
    if status == 125:
        report.unlink(missing_ok=True)
    say(f"guest {one.name}: exit status {status}")
    sys.stdout.write(log.read_text(errors="replace"))
    sys.stdout.flush()
    return report

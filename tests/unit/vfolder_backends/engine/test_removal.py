import os
import subprocess
import sys
import time

import pytest

from tests.unit.vfolder_backends.engine.trees import flat
from vfolder_backends.engine.budget import Budget
from vfolder_backends.engine.removal import remove_contents

FOREVER = 1e12


@pytest.fixture
def fd(top):
    fd = os.open(top, os.O_RDONLY)
    yield fd
    os.close(fd)


def _deep(top, levels):
    here = os.open(top, os.O_RDONLY)
    for level in range(levels):
        os.mkdir(f"d{level}", dir_fd=here)
        below = os.open(f"d{level}", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


def test_counts_what_it_removes(top, fd):
    for number in range(3):
        (top / f"d{number}" / "e").mkdir(parents=True)
        (top / f"d{number}" / "file").write_text("")
    budget = Budget(1000, FOREVER)
    assert remove_contents(fd, budget)
    assert budget.removed == 9
    assert os.listdir(fd) == []


def test_budget_is_kept_and_the_rest_left(top, fd):
    for number in range(10):
        (top / str(number)).write_text("")
    assert not remove_contents(fd, Budget(4, FOREVER))
    assert len(os.listdir(fd)) == 6
    assert not remove_contents(fd, Budget(1000, time.monotonic()))
    assert len(os.listdir(fd)) == 6
    assert remove_contents(fd, Budget(1000, FOREVER))


def test_depth_costs_no_descriptors(top, fd):
    _deep(top, 3000)
    before = len(os.listdir("/proc/self/fd"))
    most = 0

    class Watching(Budget):
        def take(self, wanted):
            nonlocal most
            most = max(most, len(os.listdir("/proc/self/fd")))
            return super().take(wanted)

    assert remove_contents(fd, Watching(100_000, FOREVER))
    assert os.listdir(fd) == []
    assert most - before < 50
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(("depth", "whole"), [(10, False), (60, True)])
def test_a_tree_moved_away_under_us_is_not_followed(top, fd, tmp_path, depth, whole):
    """From what a tenant moves out of the folder, while we are deep in it, no way leads on.

    A level that we hold open may be moved: then it ends there. One that we left has to be found
    again by `..`, and another directory there stops the removal.
    """
    _deep(top, 80)
    # So deep that code which does climb, by whatever fault, stays inside the test's own folder.
    elsewhere = tmp_path.joinpath("elsewhere", *("e" for _ in range(100)))
    elsewhere.mkdir(parents=True)
    precious = [folder / "precious" for folder in (elsewhere, *elsewhere.parents[:100])]
    for file in precious:
        file.write_text("x")
    moved = top.joinpath(*(f"d{level}" for level in range(depth)))

    class Moving(Budget):
        left = 100

        def take(self, wanted):
            self.left -= 1
            if self.left == 0:
                moved.rename(elsewhere / "moved")
            return super().take(wanted)

    assert remove_contents(fd, Moving(1000, FOREVER)) == whole
    assert all(file.exists() for file in precious)
    assert remove_contents(fd, Budget(1000, FOREVER))
    assert all(file.exists() for file in precious)


def test_helpers_remove_everything_too_and_count_it(top, fd):
    made = flat(top, directories=60, files=30)
    budget = Budget()
    assert remove_contents(fd, budget, helpers=2)
    assert os.listdir(fd) == []
    assert budget.removed == made


@pytest.mark.parametrize("entries", [1, 700, 1859])
def test_helpers_never_pass_the_budget(top, fd, entries):
    made = flat(top, directories=60, files=30)
    budget = Budget(entries)
    assert not remove_contents(fd, budget, helpers=2)
    left = sum(len(names) + len(files) for _, names, files in os.walk(top))
    assert budget.removed == made - left <= entries
    assert remove_contents(fd, Budget(), helpers=2)


def test_a_rate_is_kept(top, fd, monkeypatch):
    """Measured on a clock of its own, which moves by what is waited for."""
    flat(top, directories=1, files=999)
    now = 0.0

    def wait(seconds):
        nonlocal now
        now += seconds

    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(time, "sleep", wait)
    budget = Budget(rate=200)
    assert remove_contents(fd, budget)
    assert budget.removed == 1000
    assert 4.5 < now < 5.5


def test_asked_to_stop(top, fd):
    flat(top, directories=10, files=100)
    budget = Budget(asked=lambda: budget.removed >= 300)
    assert not remove_contents(fd, budget)
    assert 300 <= budget.removed < 400


def test_closed_directories_of_our_own_open(tmp_path):
    """Without root's rights, too: an owner may give himself the bits."""
    script = """
import os, sys
from vfolder_backends.engine.budget import Budget
from vfolder_backends.engine.removal import remove_contents
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
os.chdir(sys.argv[1])
os.makedirs("top/a/b")
open("top/a/b/file", "w").close()
for path, mode in (("top/a/b", 0o000), ("top/a", 0o400)):
    os.chmod(path, mode)
fd = os.open("top", os.O_RDONLY)
assert remove_contents(fd, Budget(100, 1e12))
print(os.listdir(fd))
"""
    tmp_path.chmod(0o777)
    for parent in tmp_path.parents[:3]:
        if parent.stat().st_uid == os.geteuid():
            parent.chmod(parent.stat().st_mode | 0o011)
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.stdout == "[]\n", done.stderr


def test_directories_alone_go_though_the_time_is_short(tmp_path):
    """What helpers take must not leave the careful way, which alone removes them, without time."""
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        deep = os.dup(fd)
        for level in range(600):
            os.mkdir(f"{level:040}", dir_fd=deep)
            below = os.open(f"{level:040}", os.O_RDONLY, dir_fd=deep)
            os.close(deep)
            deep = below
        os.close(deep)
        rounds = 0
        while not remove_contents(fd, Budget(stop_at=time.monotonic() + 0.5), helpers=1):
            rounds += 1
            assert rounds < 20, "no headway"
        assert os.listdir(fd) == []
    finally:
        os.close(fd)

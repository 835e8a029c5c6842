import itertools
import os
import shutil
import subprocess
import threading

import pytest

from tests.unit.vfolder_backends.engine.trees import add_socket, deep, flat, nasty
from vfolder_backends.engine.stop import Stop
from vfolder_backends.engine.visit import Kind, visit


def _everything(top):
    found, todo = {}, [(os.open(top, os.O_RDONLY), "")]
    while todo:
        fd, path = todo.pop()
        with os.scandir(fd) as entries:
            for entry in entries:
                here = f"{path}{entry.name}"
                found[here] = entry.is_dir(follow_symlinks=False)
                if found[here]:
                    flags = os.O_RDONLY | os.O_NOFOLLOW
                    todo.append((os.open(entry.name, flags, dir_fd=fd), f"{here}/"))
        os.close(fd)
    return found


class Seen:
    """Collects what a visit hands over, and checks its order."""

    def __init__(self):
        self.entries = []
        self.lock = threading.Lock()

    def __call__(self, batch):
        with self.lock:
            above = "/".join(batch.path)
            assert not above or above in self.handed
            names = [entry.name for entry in batch.entries]
            assert names == sorted(names)
            for name, kind in batch.entries:
                found = os.stat(name, dir_fd=batch.parent, follow_symlinks=False)
                assert os.path.stat.S_ISDIR(found.st_mode) == (kind is Kind.DIRECTORY)
                self.entries.append("/".join((*batch.path, name)))

    @property
    def handed(self):
        return set(self.entries)


@pytest.mark.parametrize("threads", [1, 4])
def test_hands_over_every_entry_once_and_directories_first(top, opened, threads):
    nasty(top, levels=100)
    add_socket(top)
    flat(top, directories=30, files=10)
    there, seen = _everything(top), Seen()
    done = visit(opened(top), seen, threads=threads, batch=7)
    assert done.done
    assert not done.problems
    assert sorted(seen.entries) == sorted(there)
    assert (done.entries, done.directories) == (len(there), sum(there.values()))


@pytest.mark.parametrize("threads", [1, 3])
def test_a_cursor_is_good_at_every_place(top, opened, threads):
    """After a stop nothing comes twice; the counts are of all runs."""
    flat(top, directories=12, files=9)
    deep(top, 40)
    there, seen, fd = _everything(top), Seen(), opened(top)
    cursor, runs = None, 0
    while True:
        looks = itertools.count()

        def stop():
            return next(looks) >= 2  # noqa: B023 - one run's own

        done = visit(fd, seen, stop=Stop(asked=stop), cursor=cursor, threads=threads, batch=4)
        runs += 1
        if done.done:
            break
        cursor = done.cursor
    assert runs > 20
    assert sorted(seen.entries) == sorted(there)
    assert done.entries == len(there)


def test_after_a_kill_the_reported_cursor_loses_nothing(top, opened):
    """A kill is a cursor that was reported before the last batches; those come again."""
    flat(top, directories=20, files=5)
    there, fd = _everything(top), opened(top)
    whole, cursors = Seen(), []
    visit(
        fd,
        whole,
        batch=2,
        report=lambda at: cursors.append((at, len(whole.entries))),
        report_every=0,
    )
    assert len(cursors) > 50
    for at, before in cursors[::7]:
        again = Seen()
        again.entries = whole.entries[:before]
        done = visit(fd, again, batch=2, cursor=at.cursor)
        assert again.handed == set(there)
        assert done.entries == len(there)
        assert len(again.entries) - len(there) <= 2


def test_what_the_callback_raises_ends_it(top, opened):
    flat(top, directories=5, files=5)

    def callback(batch):
        if batch.path:
            raise OSError(5, "no")

    with pytest.raises(OSError, match="no"):
        visit(opened(top), callback, threads=3)


def test_what_vanishes_or_is_swapped_is_told_and_not_followed(top, opened, tmp_path):
    flat(top, directories=3, files=2)
    outside = tmp_path / "outside"
    (outside / "precious").mkdir(parents=True)

    def callback(batch):
        assert "precious" not in [entry.name for entry in batch.entries]
        if not batch.path:
            shutil.rmtree(top / "d0000")
            shutil.rmtree(top / "d0001")
            (top / "d0001").symlink_to(outside)

    done = visit(opened(top), callback)
    assert done.done
    assert done.entries == 5
    assert done.problems.counts == {"vanished": 2}


def test_another_mount_is_told_and_not_stepped_onto(top, opened):
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    (top / "mount").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", top / "mount"], check=True)
    try:
        (top / "mount" / "inside").write_text("")
        seen = Seen()
        done = visit(opened(top), seen)
    finally:
        subprocess.run(["umount", top / "mount"], check=True)
    assert seen.entries == ["mount"]
    assert done.problems.counts == {"mount": 1}


def test_depth_costs_no_descriptors(top, opened):
    deep(top, 1500)
    fd, most = opened(top), 0
    before = len(os.listdir("/proc/self/fd"))

    def callback(batch):
        nonlocal most
        most = max(most, len(os.listdir("/proc/self/fd")))

    assert visit(fd, callback).entries == 1501
    assert most - before < 15
    assert len(os.listdir("/proc/self/fd")) == before

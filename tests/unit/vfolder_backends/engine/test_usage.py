import os
import subprocess
import sys
import threading

import pytest

from tests.unit.vfolder_backends.engine.trees import add_socket, flat, nasty
from vfolder_backends.engine.stop import Stop
from vfolder_backends.engine.usage import usage


def _du(top, *options):
    done = subprocess.run(
        ["du", "-s", "-x", *options, top], capture_output=True, text=True, check=False
    )
    return int(done.stdout.split()[0])


def _find(top):
    found = subprocess.run(
        ["find", top, "-xdev", "-printf", "x"], capture_output=True, text=True, check=False
    )
    return len(found.stdout)


def _agrees(found, top):
    assert found.done
    assert found.allocated_bytes == _du(top, "--block-size=1")
    assert found.inodes == _du(top, "--inodes")
    assert found.entries == _find(top)
    version = subprocess.run(["du", "--version"], capture_output=True, text=True, check=True)
    number = tuple(int(part) for part in version.stdout.split("\n")[0].split()[-1].split("."))
    apparent = found.apparent_bytes + (found.directory_bytes if number < (9, 2) else 0)
    assert apparent == _du(top, "--apparent-size", "--block-size=1")


def test_same_figures_as_du_and_find(top, opened):
    nasty(top)
    add_socket(top)
    found = usage(opened(top))
    _agrees(found, top)
    assert not found.problems


@pytest.mark.parametrize("helpers", [0, 2])
def test_same_figures_with_helpers(top, opened, helpers):
    flat(top, directories=50, files=60, size=10)
    for number in range(0, 50, 2):
        os.link(top / f"d{number:04d}" / "f0000", top / f"d{number + 1:04d}" / "link")
        os.link(top / f"d{number:04d}" / "f0000", top / f"d{number:04d}" / "another")
    _agrees(usage(opened(top), helpers=helpers), top)


def test_stopped_anywhere_and_resumed_it_counts_everything_once(top, opened):
    nasty(top, levels=20)
    flat(top, directories=10, files=20)
    fd = opened(top)
    whole = usage(fd)
    looks = 0

    def soon():
        nonlocal looks
        looks += 1
        return looks % 3 == 0

    cursor, runs = None, 0
    while True:
        found = usage(fd, stop=Stop(asked=soon), cursor=cursor, helpers=0)
        runs += 1
        if found.done:
            break
        cursor = found.cursor
        assert cursor.isascii()
    assert runs > 10
    assert found == whole


def test_stopped_with_helpers_and_resumed(top, opened):
    flat(top, directories=60, files=50)
    os.link(top / "d0000" / "f0000", top / "d0059" / "link")
    whole = usage(opened(top), helpers=0)
    timer, cursor, runs = threading.Event(), None, 0
    while True:
        threading.Timer(0.03, timer.set).start()
        found = usage(opened(top), stop=Stop(asked=timer.is_set), cursor=cursor, helpers=2)
        timer = threading.Event()
        runs += 1
        if found.done:
            break
        cursor = found.cursor
    assert found == whole


def test_what_cannot_be_read_is_told(tmp_path):
    """Without root's rights, since root reads everything."""
    script = """
import os, sys
from vfolder_backends.engine.usage import usage
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
os.chdir(sys.argv[1])
os.makedirs("top/closed/inside")
os.makedirs("top/open/inside")
os.chmod("top/closed", 0)
found = usage(os.open("top", os.O_RDONLY))
print(found.entries, found.problems.counts, found.problems.named, flush=True)
os.system("du -s --block-size=1 top 2>/dev/null | cut -f1; find top 2>/dev/null | wc -l")
print(found.allocated_bytes)
os.chmod("top/closed", 0o700)
"""
    tmp_path.chmod(0o777)
    for parent in tmp_path.parents[:3]:
        if parent.stat().st_uid == os.geteuid():
            parent.chmod(parent.stat().st_mode | 0o011)
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=False
    )
    lines = done.stdout.splitlines()
    assert lines[0] == "4 {'EACCES': 1} [('closed', 'EACCES')]", done.stderr
    assert lines[1] == lines[3]
    assert lines[2] == "4"

"""Copies and removals that are killed, as a whole or in part."""

import os
import random
import signal
import subprocess
import sys

import pytest

from tests.unit.vfolder_backends.engine.trees import ROOT, equal, flat
from vfolder_backends.engine.budget import Budget
from vfolder_backends.engine.compare import compare
from vfolder_backends.engine.removal import remove_contents
from vfolder_backends.engine.tree_copy import copy_contents

KILLED = """
import os, signal, sys
from vfolder_backends.engine.tree_copy import copy_contents
from vfolder_backends.engine.budget import Budget
from vfolder_backends.engine.removal import remove_contents
what, source, target, last = sys.argv[1:5]
fds = [os.open(path, os.O_RDONLY) for path in (source, target)]
changing = {
    "fcntl.ioctl", "os.chmod", "os.chown", "os.link", "os.mkdir", "os.mknod", "os.remove",
    "os.rmdir", "os.setxattr", "os.removexattr", "os.symlink", "os.truncate", "os.utime",
}
steps = 0
def hook(event, args):
    global steps
    if event in changing or (event == "open" and args[2] & (os.O_WRONLY | os.O_CREAT)):
        steps += 1
        if steps == int(last):
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
if what == "copy":
    copy_contents(*fds, helpers=0)
else:
    remove_contents(fds[1], Budget())
print(steps)
"""


def _killed(what, source, target, step):
    done = subprocess.run(
        [sys.executable, "-I", "-c", KILLED, what, source, target, str(step)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0


def _small(top):
    """Small and with every kind in it, since each of its steps costs a process."""
    (top / "d" / "e").mkdir(parents=True)
    (top / "d" / "file").write_bytes(b"x" * 5000)
    os.link(top / "d" / "file", top / "d" / "e" / "again")
    (top / "link").symlink_to("d")
    os.mkfifo(top / "fifo")
    (top / "data").write_bytes(random.Random(3).randbytes(300_000))
    os.truncate(top / "data", 900_000)
    os.setxattr(top / "data", "user.a", b"b")
    if ROOT:
        os.chown(top / "d" / "file", 5, 6)
    os.chmod(top / "d" / "e", 0o1750)
    os.utime(top / "d", ns=(10, 20))


def test_killed_at_every_step_and_resumed_a_copy_is_the_same(top, target, opened):
    _small(top)
    source, copy, step = opened(top), opened(target), 1
    while _killed("copy", top, target, step):
        done = copy_contents(source, copy)
        assert done.faithful, (step, done.problems)
        found = compare(source, copy, data=True)
        assert found.equal, (step, found.differences, found.problems)
        subprocess.run(["rm", "-rf", *target.iterdir()], check=True)
        os.utime(target)
        step += 1
    assert step > 20


def test_killed_again_and_again_a_copy_gets_on(top, target, opened):
    """Each life is two steps longer than the last: none of them undoes what another did."""
    _small(top)
    step = 2
    while _killed("copy", top, target, step):
        step += 2
    equal(opened(top), opened(target))


def test_killed_at_every_step_a_removal_goes_on(top, target, opened):
    _small(top)
    copy, step = opened(target), 1
    while True:
        copy_contents(opened(top), copy)
        if not _killed("remove", top, target, step):
            break
        step += 1
        assert remove_contents(copy, Budget())
        assert os.listdir(copy) == []
    assert step > 7


@pytest.mark.parametrize("helpers", [1])
def test_a_helper_that_dies_loses_nothing(top, target, opened, helpers):
    flat(top, directories=100, files=60, size=10)
    source, copy, killed = opened(top), opened(target), []

    def kill(at):
        for child in os.listdir(f"/proc/{os.getpid()}/task"):
            with open(f"/proc/{os.getpid()}/task/{child}/children") as children:
                for pid in children.read().split():
                    with open(f"/proc/{pid}/cmdline", "rb") as command:
                        if b"engine.helper" in command.read() and at.entries > 1000:
                            os.kill(int(pid), signal.SIGKILL)
                            killed.append(pid)

    done = copy_contents(source, copy, helpers=helpers, report=kill, report_every=0.02)
    assert killed
    assert done.faithful
    assert done.entries == equal(source, copy).left.entries - 1

import errno
import itertools
import os
import random
import signal
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.vfolder_backends.engine.trees import add_socket, flat, nasty
from vfolder_backends.engine.compare import compare
from vfolder_backends.engine.removal import Budget, remove_contents
from vfolder_backends.engine.stop import Stop
from vfolder_backends.engine.tree_copy import copy_contents
from vfolder_backends.engine.usage import usage

ROOT = os.geteuid() == 0


@pytest.fixture
def target(tmp_path):
    (tmp_path / "target").mkdir()
    return tmp_path / "target"


def _equal(left, right):
    found = compare(left, right, data=True)
    assert found.differences == []
    assert found.equal, found.problems
    return found


def _attributes(top):
    os.setxattr(top / "plain", "user.note", b"\x00kept")
    os.setxattr(top / "sub", "user.empty", b"")
    subprocess.run(["setfacl", "-m", "u:12:rwx,d:g:13:rx", top / "sub" / "empty"], check=True)
    subprocess.run(["setfacl", "-m", "u:1:r", top / "script"], check=True)
    subprocess.run(["setfacl", "-m", "d:u:5:rwx", top], check=True)
    if ROOT:
        os.setxattr(top / "dangling", "trusted.link", b"x", follow_symlinks=False)
        os.setxattr(top / "dangling", "trusted.note", b"x", follow_symlinks=False)
        os.mknod(top / "null", 0o20666, os.makedev(1, 3))
    os.utime(top, ns=(1, 2))


def test_keeps_everything(top, target, opened):
    nasty(top)
    _attributes(top)
    subprocess.run(["setfacl", "-m", "d:u:77:rwx", target], check=True)
    source, copy = opened(top), opened(target)
    done = copy_contents(source, copy)
    assert done.faithful, done.problems
    found = _equal(source, copy)
    assert done.entries == found.left.entries - 1
    assert done.bytes == found.left.apparent_bytes - sum(
        os.lstat(top / name).st_size for name in ("absolute", "dangling", "up")
    )
    assert found.right.allocated_bytes <= found.left.allocated_bytes + 64 * 1024
    assert os.lstat(target / "plain").st_ino == os.lstat(target / "third-plain").st_ino
    assert os.stat(target / "sparse").st_blocks * 512 < 1_000_000


def test_an_independent_tool_sees_no_difference_either(top, target, opened):
    nasty(top, levels=10)
    assert copy_contents(opened(top), opened(target)).faithful
    what = "%P %y %m %U %G %s %T@ %l %n\\0"
    outputs = [
        sorted(
            subprocess.run(
                [
                    "find",
                    tree,
                    "-not",
                    "-type",
                    "d",
                    "-printf",
                    what,
                    "-o",
                    "-printf",
                    "%P %m %T@\\0",
                ],
                capture_output=True,
                check=True,
            ).stdout.split(b"\0")
        )
        for tree in (top, target)
    ]
    assert outputs[0] == outputs[1]
    subprocess.run(["diff", "-r", "--no-dereference", "-x", "fifo*", top, target], check=True)


def test_what_is_left_out_is_told(top, target, opened):
    (top / "file").write_text("x")
    add_socket(top)
    done = copy_contents(opened(top), opened(target))
    assert done.done
    assert not done.faithful
    assert done.entries == 1
    assert done.problems.named == [("socket", "socket")]
    assert os.listdir(target) == ["file"]


@pytest.mark.parametrize("helpers", [0, 2])
def test_stopped_and_resumed(top, target, opened, helpers):
    flat(top, directories=40, files=50, size=100)
    for number in range(0, 40, 2):
        os.link(top / f"d{number:04d}" / "f0000", top / f"d{number + 1:04d}" / "link")
    source, copy = opened(top), opened(target)
    cursor, runs, before = None, 0, -1
    while True:
        looks = itertools.count()

        def stop():
            return next(looks) >= 60  # noqa: B023 - one run's own

        done = copy_contents(source, copy, stop=Stop(asked=stop), cursor=cursor, helpers=helpers)
        runs += 1
        if done.done:
            break
        assert done.entries >= before
        before, cursor = done.entries, done.cursor
    assert runs > 5
    assert done.entries == usage(source).entries - 1
    assert done.faithful
    _equal(source, copy)


def test_helpers_copy_the_same_tree(top, target, opened):
    flat(top, directories=60, files=100, size=64)
    nasty(top, levels=50)
    source, copy = opened(top), opened(target)
    done = copy_contents(source, copy, helpers=2)
    assert done.faithful
    assert done.entries == _equal(source, copy).left.entries - 1


def test_a_large_file_is_continued_where_it_was_left(top, target, opened):
    (top / "large").write_bytes(random.Random(2).randbytes(40_000_000))
    source, copy = opened(top), opened(target)
    looks = 3

    def stop():
        nonlocal looks
        looks -= 1
        return looks < 0

    first = copy_contents(source, copy, stop=Stop(asked=stop))
    reached = os.stat(target / "large").st_size
    assert not first.done
    assert 0 < reached < 40_000_000
    with (target / "large").open("r+b") as file:
        file.write(b"seen")  # what is there already is not written again
    done = copy_contents(source, copy, cursor=first.cursor)
    assert done.faithful
    with (target / "large").open("rb") as file:
        assert file.read(4) == b"seen"
        file.seek(4)
        assert file.read() == (top / "large").read_bytes()[4:]


def test_without_a_cursor_what_was_begun_is_done_again(top, target, opened):
    flat(top, directories=3, files=3, size=10)
    source, copy = opened(top), opened(target)
    copy_contents(source, copy)
    (target / "d0000" / "f0000").write_bytes(b"short")
    (target / "d0001" / "f0001").unlink()
    (target / "d0001" / "f0001").mkdir()
    (target / "d0002" / "f0002").unlink()
    (target / "d0002" / "f0002").symlink_to("/etc/passwd")
    assert copy_contents(source, copy).faithful
    _equal(source, copy)


def test_no_room_comes_out_as_itself(top, tmp_path, opened):
    if not ROOT:
        pytest.skip("only root may mount")
    (top / "big").write_bytes(b"x" * 3_000_000)
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", small], check=True)
    fd = os.open(small, os.O_RDONLY)
    try:
        with pytest.raises(OSError, match="big") as caught:
            copy_contents(opened(top), fd)
        assert caught.value.errno == errno.ENOSPC
        subprocess.run(["mount", "-o", "remount,size=8m", small], check=True)
        assert copy_contents(opened(top), fd).faithful
        _equal(opened(top), fd)
    finally:
        os.close(fd)
        subprocess.run(["umount", small], check=True)


def test_no_room_met_by_a_helper_comes_out_as_itself(top, tmp_path, opened):
    if not ROOT:
        pytest.skip("only root may mount")
    flat(top, directories=60, files=100, size=100)
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nr_inodes=3000", "none", small], check=True)
    fd = os.open(small, os.O_RDONLY)
    try:
        with pytest.raises(OSError, match="d0") as caught:
            copy_contents(opened(top), fd, helpers=2)
        assert caught.value.errno == errno.ENOSPC
    finally:
        os.close(fd)
        subprocess.run(["umount", small], check=True)


KILLED = """
import os, signal, sys
from vfolder_backends.engine.tree_copy import copy_contents
from vfolder_backends.engine.removal import Budget, remove_contents
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
    _equal(opened(top), opened(target))


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
    assert done.entries == _equal(source, copy).left.entries - 1


TREES = st.recursive(
    st.tuples(st.sampled_from(["file", "link", "fifo", "hole"]), st.integers(0, 9000)),
    lambda below: st.dictionaries(
        st.text(
            st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=20
        ).filter(lambda name: name not in (".", "..")),
        below,
        max_size=4,
    ),
    max_leaves=12,
)


def _build(top, tree):
    for name, what in tree.items():
        path = top / name
        if isinstance(what, dict):
            path.mkdir()
            _build(path, what)
            path.chmod(0o700 + len(what))
        elif what[0] == "file":
            path.write_bytes(b"%d" % what[1] * what[1])
        elif what[0] == "hole":
            with path.open("wb") as file:
                file.truncate(what[1] * 1000)
        elif what[0] == "link":
            path.symlink_to(str(what[1]))
        else:
            os.mkfifo(path, 0o600 + what[1] % 64)


@settings(max_examples=40)
@given(st.dictionaries(st.sampled_from(["a", "b", "ü"]), TREES, max_size=3), st.integers(1, 30))
def test_any_tree_stopped_anywhere(tmp_path_factory, tree, looks):
    base = tmp_path_factory.mktemp("any")
    tops = base / "source", base / "target"
    for top in tops:
        top.mkdir()
    _build(tops[0], tree)
    fds = [os.open(top, os.O_RDONLY) for top in tops]
    try:
        left = looks

        def stop():
            nonlocal left
            left -= 1
            return left < 0

        first = copy_contents(*fds, stop=Stop(asked=stop), helpers=0)
        done = first if first.done else copy_contents(*fds, cursor=first.cursor, helpers=0)
        assert done.faithful
        assert _equal(*fds).left.entries == done.entries + 1
    finally:
        for fd in fds:
            os.close(fd)
        subprocess.run(["rm", "-rf", base], check=True)


def test_compare_names_each_difference(top, target, opened):
    nasty(top, levels=5)
    source, copy = opened(top), opened(target)
    assert copy_contents(source, copy).faithful
    os.chmod(target / "script", 0o600)
    os.setxattr(target / "plain", "user.x", b"1")
    (target / "sub" / "-rf").unlink()
    (target / "new").write_text("")
    (target / "up").unlink()
    (target / "up").symlink_to("...")
    (target / "third-plain").unlink()
    (target / "third-plain").write_bytes((top / "plain").read_bytes())
    with (target / "sparse").open("r+b") as file:
        file.seek(4_000_000)
        file.write(b"On")
    found = compare(source, copy, data=True)
    what = {(difference.path, difference.what) for difference in found.differences}
    assert {
        ("script", "mode"),
        ("plain", "xattrs"),
        ("sub/-rf", "missing"),
        ("new", "extra"),
        ("up", "target"),
        ("third-plain", "links"),
        ("sparse", "data"),
        ("sparse", "mtime"),
        ("sub", "mtime"),
        (".", "mtime"),
    } <= what
    assert found.count == len(found.differences)
    few = compare(source, copy, limit=2)
    assert len(few.differences) == 2
    assert few.count > 5

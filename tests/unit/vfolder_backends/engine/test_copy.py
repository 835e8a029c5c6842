import errno
import itertools
import os
import random
import subprocess

import pytest

from tests.unit.vfolder_backends.engine.trees import ROOT, add_socket, equal, flat, nasty
from vfolder_backends.engine.stop import Stop
from vfolder_backends.engine.tree_copy import copy_contents
from vfolder_backends.engine.usage import usage


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
    found = equal(source, copy)
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
    equal(source, copy)


def test_helpers_copy_the_same_tree(top, target, opened):
    flat(top, directories=60, files=100, size=64)
    nasty(top, levels=50)
    source, copy = opened(top), opened(target)
    done = copy_contents(source, copy, helpers=2)
    assert done.faithful
    assert done.entries == equal(source, copy).left.entries - 1


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
    equal(source, copy)


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
        equal(opened(top), fd)
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

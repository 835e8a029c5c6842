"""Trees for the engine's tests."""

import os
import random
import socket
import stat

from vfolder_backends.engine.compare import compare

ROOT = os.geteuid() == 0


def flat(top, directories, files, size=0):
    """`directories` with `files` each; returns how many entries that is."""
    for number in range(directories):
        here = top / f"d{number:04d}"
        here.mkdir()
        for name in range(files):
            (here / f"f{name:04d}").write_bytes(b"x" * size)
    return directories * (files + 1)


def deep(top, levels, name="d"):
    """A chain of directories, too deep for a path; a file lies at its end."""
    here = os.open(top, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("end", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)


def nasty(top, levels=1000):
    """All that users put into a folder; returns the path of a socket in it."""
    (top / "sub" / "empty").mkdir(parents=True)
    (top / "plain").write_bytes(b"some text" * 1000)
    (top / "sub" / "large").write_bytes(random.Random(1).randbytes(3_000_000))
    for name in ("plain", "sub/large"):
        os.link(top / name, top / "sub" / f"also-{name.replace('/', '-')}")
        os.link(top / name, top / f"third-{name.replace('/', '-')}")
    with (top / "sparse").open("wb") as file:
        file.truncate(10_000_000)
        file.seek(4_000_000)
        file.write(b"in the middle")
    with (top / "hole-at-end").open("wb") as file:
        file.write(b"data" * 2000)
        file.truncate(5_000_000)
    (top / "absolute").symlink_to("/etc/passwd")
    (top / "dangling").symlink_to("nowhere/at/all")
    (top / "up").symlink_to("..")
    os.link(top / "dangling", top / "dangling-too", follow_symlinks=False)
    os.mkfifo(top / "fifo")
    os.link(top / "fifo", top / "sub" / "fifo-too")
    (top / "new\nline").write_text("x")
    raw = os.open(os.path.join(os.fsencode(top), b"not-\xff\xfe-utf8"), os.O_CREAT | os.O_WRONLY)
    os.write(raw, b"bytes")
    os.close(raw)
    (top / "sub" / "-rf").write_text("")
    (top / ("n" * 255)).write_text("long")
    (top / "script").write_text("#!/bin/sh\n")
    os.chmod(top / "script", 0o6755)
    os.chmod(top / "sub", 0o2750)
    os.chmod(top / "sub" / "empty", 0o1777)
    if os.geteuid() == 0:
        os.chown(top / "plain", 1234, 4321)
        os.chown(top / "dangling", 77, 78, follow_symlinks=False)
        os.chown(top / "sub", 99, 98)
    deep(top / "sub", levels)
    for path in (top / "script", top / "sub" / "empty", top / "sub", top):
        os.utime(path, ns=(1_000_000_000_123_456_789, 1_111_111_111_987_654_321))
    os.utime(top / "dangling", ns=(5, 6), follow_symlinks=False)


def add_socket(top):
    """A socket, which no copy keeps."""
    here = os.open(top, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"/proc/self/fd/{here}/socket")
    os.close(here)
    assert stat.S_ISSOCK(os.lstat(top / "socket").st_mode)


def equal(left, right):
    """What a comparison of two open trees that are the same found."""
    found = compare(left, right, data=True)
    assert found.differences == []
    assert found.equal, found.problems
    return found

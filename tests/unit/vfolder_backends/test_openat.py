import errno
import os
import subprocess
import sys

import pytest

from vfolder_backends import openat

# A seccomp filter of our own: one system call fails as in an old kernel or a strict container.
_DENY = """
import ctypes, os, platform, struct, sys

def deny(number, code):
    def op(code, jt, jf, k):
        return struct.pack("HBBI", code, jt, jf, k)
    program = op(0x20, 0, 0, 0) + op(0x15, 0, 1, number) + op(0x06, 0, 0, 0x50000 | code)
    program += op(0x06, 0, 0, 0x7FFF0000)
    buffer = ctypes.create_string_buffer(program)
    filter_ = struct.pack("HxxxxxxP", 4, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    assert libc.prctl(22, 2, ctypes.c_char_p(filter_), 0, 0) == 0, ctypes.get_errno()

RENAMEAT2 = {"x86_64": 316, "aarch64": 276}[platform.machine()]
"""


def _run(script, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", _DENY + script, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_text("content")
    (tmp_path / "a" / "up").symlink_to("..")
    (tmp_path / "a" / "out").symlink_to("/etc")
    (tmp_path / "a" / "beside").symlink_to("b")
    return tmp_path


@pytest.fixture
def root(tree):
    fd = os.open(tree, os.O_RDONLY)
    yield fd
    os.close(fd)


def test_opens_what_lies_beneath(root):
    with open(openat.open_beneath(root, "a/b/file", os.O_RDONLY)) as file:
        assert file.read() == "content"
    with openat.directory(root, "a/b") as fd:
        assert os.listdir(fd) == ["file"]


_REFUSED = {
    "a/up": "ELOOP",
    "a/out/passwd": "ELOOP",
    "a/beside/file": "ELOOP",
    "a/b/file/x": "ENOTDIR",
    "../x": "EXDEV",
    "/etc": "EXDEV",
    "a/none": "ENOENT",
}


@pytest.mark.parametrize(("path", "name"), _REFUSED.items())
def test_refuses_links_and_ways_out(root, path, name):
    with pytest.raises(OSError) as caught:  # noqa: PT011
        openat.open_beneath(root, path, os.O_RDONLY)
    assert errno.errorcode[caught.value.errno] == name
    assert caught.value.filename == path


@pytest.mark.parametrize("code", ["ENOSYS", "EPERM"])
def test_without_openat2_nothing_more_is_let_through(tree, code):
    script = """
import errno
deny(437, getattr(errno, sys.argv[2]))
from vfolder_backends import openat
root = os.open(sys.argv[1], os.O_RDONLY)
print(openat.has_openat2())
with open(openat.open_beneath(root, "a/b/file", os.O_RDONLY)) as file:
    print(file.read())
before = len(os.listdir("/proc/self/fd"))
for path in sys.argv[3:]:
    try:
        print(openat.open_beneath(root, path, os.O_RDONLY))
    except OSError as error:
        print(errno.errorcode[error.errno])
        assert error.filename == path
print(len(os.listdir("/proc/self/fd")) - before)
"""
    has, content, *codes, leaked = _run(script, tree, code, *_REFUSED)
    assert (has, content, leaked) == ("False", "content", "0")
    # A link in the middle is ENOTDIR here: it is opened as the directory that it is not.
    assert set(codes) <= {"ELOOP", "ENOTDIR", "EXDEV", "ENOENT"}
    assert codes[-3:] == ["EXDEV", "EXDEV", "ENOENT"]
    assert len(codes) == len(_REFUSED)


def test_rename_noreplace(tmp_path, root):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    openat.rename_noreplace(root, "one", "three")
    with pytest.raises(FileExistsError):
        openat.rename_noreplace(root, "two", "three")
    with pytest.raises(FileNotFoundError):
        openat.rename_noreplace(root, "one", "four")
    assert {"two", "three"} <= set(os.listdir(root))
    with openat.directory(root, "three") as inside:
        openat.rename_noreplace(root, "two", "one", inside)
        (tmp_path / "four").mkdir()
        with pytest.raises(FileExistsError):
            openat.rename_noreplace(root, "four", "one", inside)
    assert [path.name for path in (tmp_path / "three").iterdir()] == ["one"]


@pytest.mark.parametrize("code", ["EINVAL", "ENOSYS"])
def test_rename_noreplace_where_the_file_system_lacks_it(tmp_path, code):
    script = """
import errno
deny(RENAMEAT2, getattr(errno, sys.argv[2]))
from vfolder_backends import openat
root = os.open(sys.argv[1], os.O_RDONLY)
for source, target in (("one", "three"), ("two", "three"), ("one", "four")):
    try:
        openat.rename_noreplace(root, source, target)
        print("done")
    except OSError as error:
        print(type(error).__name__)
"""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    assert _run(script, tmp_path, code) == ["done", "FileExistsError", "FileNotFoundError"]
    assert sorted(os.listdir(tmp_path)) == ["three", "two"]

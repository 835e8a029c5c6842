import os
import resource
import subprocess

import pytest

from vfolder_backends.adoption.found import OTHERS, Tally
from vfolder_backends.adoption.walk import walk
from vfolder_backends.testing.old_trees import OldFolder, plant


def measure(path, *, digest=False):
    tally = Tally()
    fd = os.open(path, os.O_RDONLY)
    try:
        entries = sum(walk(fd, tally, digest=digest))
    finally:
        os.close(fd)
    return tally, entries


@pytest.fixture
def tree(tmp_path):
    return plant(tmp_path, OldFolder.of(1, 1), 3, owner=None)


def du(*words):
    return int(subprocess.run(["du", *words], check=True, capture_output=True).stdout.split()[0])


def test_sizes_and_counts_are_those_of_du_and_find(tree):
    for n in range(600):
        (tree / "sub" / f"f{n}").write_bytes(b"x" * n)
    tally, entries = measure(tree)
    assert tally.allocated == du("-s", "-B1", tree)
    assert tally.inodes == du("-s", "--inodes", tree)
    found = subprocess.run(["find", tree], check=True, capture_output=True).stdout
    assert entries + 1 == found.count(b"\n")
    regular = [p for p in tree.rglob("*") if not p.is_dir() or p.is_symlink()]
    sizes = {p.lstat().st_ino: p.lstat().st_size for p in regular}
    assert tally.apparent == sum(sizes.values())


def test_hard_links_count_once(tree):
    before, _ = measure(tree)
    os.link(tree / "file", tree / "third")
    after, _ = measure(tree)
    assert (after.inodes, after.allocated) == (before.inodes, before.allocated)


@pytest.mark.skipif(os.geteuid() != 0, reason="changing owners needs root")
def test_owners_are_counted_and_bounded(tree):
    os.chown(tree / "file", 7, 8)
    tally, _ = measure(tree)
    assert tally.owners[7, 8] == 1
    assert sum(tally.owners.values()) == tally.inodes
    for n in range(1200):
        tally.count_owner(10_000 + n, 0)
    assert len(tally.owners) <= 1001
    assert tally.owners[OTHERS] > 200


CHANGES = {
    "mode": lambda top: (top / "file").chmod(0o600),
    "owner": lambda top: os.chown(top / "file", os.geteuid(), 4711),
    "size": lambda top: os.truncate(top / "sub" / "sparse", 1 << 19),
    "time": lambda top: os.utime(top / "file", ns=(0, 0)),
    "name": lambda top: (top / "file").rename(top / "file2"),
    "target": lambda top: ((top / "sub/link").unlink(), (top / "sub/link").symlink_to("x")),
    "attribute": lambda top: os.setxattr(top / "file", "user.origin", b"elsewhere"),
    "attribute of the top": lambda top: os.setxattr(top, "user.more", b""),
    "mode of the top": lambda top: top.chmod(0o700),
    "one more": lambda top: (top / "sub" / "new").touch(),
    "one less": lambda top: (top / "sub" / "empty").unlink(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_digest_sees_every_change(tree, change):
    if change == "owner" and os.geteuid() != 0:
        pytest.skip("changing owners needs root")
    before, _ = measure(tree, digest=True)
    assert measure(tree, digest=True)[0].digest == before.digest
    CHANGES[change](tree)
    assert measure(tree, digest=True)[0].digest != before.digest


def test_a_rename_of_the_whole_folder_is_no_change(tree, tmp_path):
    before, _ = measure(tree, digest=True)
    (tmp_path / "elsewhere").mkdir()
    tree.rename(tmp_path / "elsewhere" / "x")
    assert measure(tmp_path / "elsewhere" / "x", digest=True)[0] == before


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_mounts_inside_are_counted_and_not_entered(tree, tmp_path):
    (tree / "inside").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    subprocess.run(["mount", "--bind", tmp_path / "other", tree / "inside"], check=True)
    try:
        tally, _ = measure(tree)
    finally:
        subprocess.run(["umount", tree / "inside"], check=True)
    assert tally.mounts == 1
    assert tally.inodes == measure(tree)[0].inodes


def test_a_deep_tree_needs_no_recursion(tmp_path):
    """Nor a descriptor per level."""
    fd, depth = os.open(tmp_path, os.O_RDONLY), 300
    for _ in range(depth):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, before[1]))
    try:
        assert measure(tmp_path)[0].inodes == depth + 1
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)

"""A container is set aside while its limit is removed: empty, found again, never lost."""

import os

import pytest

from vfolder_backends import containers
from vfolder_backends.errors import NotEmpty
from vfolder_backends.ids import ScopeHex

SCOPE = ScopeHex("5c" * 16)


@pytest.fixture
def root(tmp_path):
    (tmp_path / ".vfolder").mkdir()
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def test_set_aside_and_removed(root, tmp_path):
    containers.make(root, SCOPE)
    number = containers.inode(root, SCOPE)
    for _ in range(2):  # again after a crash
        assert containers.set_aside(root, SCOPE)
    assert os.stat(tmp_path / containers.aside_path(SCOPE)).st_ino == number
    assert not (tmp_path / SCOPE.value).exists()
    containers.remove_aside(root, SCOPE)
    assert not containers.set_aside(root, SCOPE)
    assert os.listdir(tmp_path / ".vfolder") == []


def test_what_holds_something_stays_where_it_is(root, tmp_path):
    containers.make(root, SCOPE)
    (tmp_path / SCOPE.value / "file").write_text("x")
    with pytest.raises(NotEmpty, match="file lies in it"):
        containers.set_aside(root, SCOPE)
    assert (tmp_path / SCOPE.value / "file").exists()


def test_what_was_filled_while_aside_comes_back(root, tmp_path):
    containers.make(root, SCOPE)
    containers.set_aside(root, SCOPE)
    (tmp_path / containers.aside_path(SCOPE) / "file").write_text("x")
    with pytest.raises(NotEmpty):
        containers.remove_aside(root, SCOPE)
    with pytest.raises(NotEmpty):
        containers.set_aside(root, SCOPE)
    assert (tmp_path / SCOPE.value / "file").exists()


def test_one_aside_and_one_in_place_are_two(root, tmp_path):
    containers.make(root, SCOPE)
    containers.set_aside(root, SCOPE)
    containers.make(root, SCOPE)
    assert containers.set_aside(root, SCOPE)
    assert (tmp_path / SCOPE.value).exists()
    containers.bring_back(root, SCOPE)
    assert (tmp_path / containers.aside_path(SCOPE)).exists()


def test_a_probe_leaves_nothing(root, tmp_path):
    path = containers.make_probe(root)
    assert (tmp_path / path).is_dir()
    containers.remove_probe(root, path)
    assert os.listdir(tmp_path / ".vfolder") == []


def test_what_probes_left_that_were_cut_off_is_removed_by_a_later_one(root, tmp_path):
    cut_off = tmp_path / containers.make_probe(root)
    other = tmp_path / containers.make_probe(root)
    assert cut_off.exists()  # its maker may still look for it
    os.utime(cut_off, (1, 1))
    containers.remove_probe(root, containers.make_probe(root))
    assert (cut_off.exists(), other.exists()) == (False, True)

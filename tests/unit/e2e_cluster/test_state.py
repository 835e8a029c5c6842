"""State folders: names, ownership and locks."""

import dataclasses
import shutil
from pathlib import Path

import pytest

from e2e.cluster import state
from e2e.cluster.errors import NotUp, RigError
from e2e.cluster.state import Kind, State


@pytest.mark.parametrize("name", ["", "..", "a/b", "-a", "a-", "A", "a" * 21, "a b", "a\n"])
def test_a_name_that_could_leave_its_folder_is_refused(name: str) -> None:
    with pytest.raises(RigError, match="1 to 20"):
        State(Kind.CLUSTER, name)


def test_what_was_created_is_loaded_again() -> None:
    made = State(Kind.CLUSTER, "one", nodes=2, owner=state.myself())
    made.create()
    assert state.load(Kind.CLUSTER, "one") == made
    assert state.load_all(Kind.CLUSTER) == [made]
    assert state.load_all(Kind.CEPH) == []


def test_a_second_of_the_same_name_is_refused_and_leaves_nothing(area: Path) -> None:
    made = State(Kind.CEPH, "one")
    made.create()
    with pytest.raises(RigError, match="take it down"):
        State(Kind.CEPH, "one", nodes=1).create()
    assert state.load(Kind.CEPH, "one") == made
    assert [path.name for path in (area / "ceph").iterdir()] == ["one"]


def test_a_folder_without_our_marker_is_not_ours(area: Path) -> None:
    (area / "k8s" / "photos").mkdir(parents=True)
    assert state.load_all(Kind.CLUSTER) == []
    with pytest.raises(NotUp, match="photos"):
        state.load(Kind.CLUSTER, "photos")


def test_only_a_dead_owner_abandons() -> None:
    owner = state.myself()
    assert owner is not None
    dead = dataclasses.replace(owner, started=owner.started - 1)
    assert not State(Kind.CLUSTER, "kept").abandoned()
    assert not State(Kind.CLUSTER, "mine", owner=owner).abandoned()
    assert State(Kind.CLUSTER, "left", owner=dead).abandoned()


def test_the_lock_of_a_removed_folder_is_not_given() -> None:
    made = State(Kind.CLUSTER, "one")
    with pytest.raises(NotUp), made.locked():
        pass
    made.create()
    with made.locked():
        shutil.rmtree(made.folder)
    with pytest.raises(NotUp), made.locked():
        pass


def test_tags_differ_by_name_kind_and_area(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tags = {State(Kind.CLUSTER, "a").tag, State(Kind.CLUSTER, "b").tag, State(Kind.CEPH, "a").tag}
    monkeypatch.setenv("VFOLDER_STATE", str(tmp_path / "other"))
    tags.add(State(Kind.CLUSTER, "a").tag)
    assert len(tags) == 4

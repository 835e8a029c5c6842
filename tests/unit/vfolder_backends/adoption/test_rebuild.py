"""What marks, index and trash tell of a lost cluster."""

import os

import pytest

from vfolder_backends.adoption.failures import Refused
from vfolder_backends.adoption.found import Tick
from vfolder_backends.adoption.pacing import Pace
from vfolder_backends.adoption.rebuild import choose_cluster, rebuild
from vfolder_backends.adoption.verdicts import Outcome
from vfolder_backends.config import BackendConfig
from vfolder_backends.port import FolderRequest, Limits, Owner, ScopeRequest
from vfolder_backends.registry import Registry
from vfolder_backends.testing.old_trees import OldFolder, plant

A, B, C = OldFolder.of(1, 1), OldFolder.of(1, 2), OldFolder.of(2, 1)
LOST = "lost"


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    return root


@pytest.fixture
async def backend(root):
    backend = Registry().build(BackendConfig("b", "vfs", str(root)))
    await backend.attach(None)
    yield backend
    await backend.close()


def owner(name, namespace="team-a", cluster=LOST):
    return Owner(cluster, namespace, name)


async def make(backend, folder, name, scope_owner=None, folder_owner=None):
    await backend.ensure_scope(
        ScopeRequest(folder.scope, scope_owner or owner("research"), Limits())
    )
    await backend.ensure_folder(
        FolderRequest(folder.scope, folder.folder, folder_owner or owner(name))
    )


async def read(root, backend, cluster=LOST):
    pace, fd = Pace(str(root), 10), os.open(root, os.O_RDONLY)
    try:
        found = [v async for v in rebuild(pace, fd, backend, cluster) if not isinstance(v, Tick)]
    finally:
        os.close(fd)
        pace.close()
    return found


def outcomes(found):
    return sorted((v.outcome, v.reason) for v in found)


async def test_live_things_come_back_under_their_names_and_trash_is_told(root, backend):
    await make(backend, A, "data")
    await make(backend, B, "old")
    await backend.trash_folder(B.scope, B.folder, owner("old"))
    found = await read(root, backend)
    assert outcomes(found) == [
        (Outcome.ADOPT, ""), (Outcome.ADOPT, ""), (Outcome.TRASH, "Trashed"),
    ]  # fmt: skip
    made = [v.made for v in found if v.made is not None]
    assert [m.name for m in made] == ["research", "data"]
    assert made[0].previous == owner("research")
    assert any("team-a/old" in v.message for v in found)


async def test_of_two_folders_of_one_name_the_index_tells_which(root, backend):
    await make(backend, A, "data")
    await make(backend, B, "data")  # made after `start-empty`; the other one still is there
    found = {v.folder: (v.outcome, v.reason) for v in await read(root, backend) if v.folder}
    assert found == {A.folder: (Outcome.FORMER, "FormerData"), B.folder: (Outcome.ADOPT, "")}


async def test_unmarked_data_and_other_clusters_are_not_touched(root, backend):
    await make(backend, A, "data")
    plant(root, B, 3, owner=None)
    await make(backend, C, "x", owner("s", cluster="alive"), owner("x", cluster="alive"))
    found = await read(root, backend)
    assert {v.scope for v in found} == {A.scope}
    assert ("refused", "NoMark") in outcomes(found)


async def test_a_folder_of_another_namespace_is_told(root, backend):
    await make(backend, A, "data", folder_owner=owner("data", namespace="team-b"))
    assert ("refused", "OtherNamespace") in outcomes(await read(root, backend))


async def test_which_cluster_has_to_be_said_where_there_are_several(root, backend):
    fd = os.open(root, os.O_RDONLY)
    try:
        with pytest.raises(Refused, match="no marks of any cluster"):
            choose_cluster(fd, "")
        await make(backend, A, "data")
        assert choose_cluster(fd, "") == LOST
        await make(backend, C, "x", owner("s", cluster="alive"), owner("x", cluster="alive"))
        with pytest.raises(Refused, match=r"several clusters; .*: alive, lost"):
            choose_cluster(fd, "")
        assert choose_cluster(fd, "alive") == "alive"
        with pytest.raises(Refused, match="no marks of that cluster; there are: alive, lost"):
            choose_cluster(fd, "never")
    finally:
        os.close(fd)

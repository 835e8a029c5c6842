"""Data that was there before the cluster: adopted as it lies, and found again after its loss."""

import csv
import io
import json
import os
import pathlib

import pytest
from kept_limits import ATTRIBUTE, registry
from operator_rig import Api, condition, place, running_over

from vfolder_backends.testing.old_trees import (
    OldFolder,
    Portrait,
    plant,
    scope_of,
    users_data,
    write_mapping,
)
from vfolder_operator.adm.cli import execute
from vfolder_operator.adm.world import World
from vfolder_operator.kube import Body, Kinds

FOLDERS = [OldFolder.of(1, 1), OldFolder.of(1, 2), OldFolder.of(2, 1)]
LIMITS = {1: (1 << 30, 5000), 2: (2 << 30, 0)}


class Command:
    """`vfolder-adm`, with what it printed."""

    def __init__(self, api: Api) -> None:
        self.kubeconfig = str(api.control_plane.kubeconfig)
        self.out, self.err = io.StringIO(), io.StringIO()

    async def __call__(self, *words: str | pathlib.Path) -> int:
        self.out, self.err = io.StringIO(), io.StringIO()
        line = [*map(str, words), "--kubeconfig", self.kubeconfig, "--progress", "none"]
        return await execute(line, World(self.out, self.err, registry()))


def manifest(root: pathlib.Path, path: pathlib.Path) -> pathlib.Path:
    """A StorageBackend's manifest."""
    body = {
        "apiVersion": "vfolder.dev/v1alpha1",
        "kind": "StorageBackend",
        "metadata": {"name": "scratch"},
        "spec": {
            "type": "kept",
            "hostPath": "/mnt/scratch",
            "operatorPath": str(root),
            "allowedNamespaces": {},
        },
    }
    path.write_text(json.dumps(body))
    return path


@pytest.fixture
def old(tmp_path: pathlib.Path) -> pathlib.Path:
    """A layout 3 tree of another system, under limits."""
    root = tmp_path / "root"
    root.mkdir()
    for folder in FOLDERS:
        plant(root, folder, 3, owner=(1000, 1000))
    for number, (size, files) in LIMITS.items():
        os.setxattr(root / scope_of(number).value, ATTRIBUTE, f"{size} {files}".encode())
    manifest(root, tmp_path / "scratch.json")
    write_mapping(tmp_path / "folders.csv", FOLDERS)
    return root


async def versions(api: Api) -> list[str]:
    return [
        b["metadata"]["resourceVersion"]
        for kind in (Kinds.BACKEND, Kinds.SCOPE, Kinds.FOLDER)
        async for b in api.kube.list(kind)
    ]


async def bound(api: Api, name: str) -> Body:
    folder = await api.until_ready(Kinds.FOLDER, name, 30)
    claim = await api.get(Kinds.CLAIM, name)
    assert claim["status"]["phase"] == "Bound"
    return folder


async def test_a_layout_3_tree_is_adopted_as_it_lies(
    api: Api, old: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    adm, before = Command(api), users_data(old)
    words = (
        "adopt", old, "--backend", tmp_path / "scratch.json", "--namespace", "team-a",
        "--mapping", tmp_path / "folders.csv", "--report", tmp_path / "report.csv",
    )  # fmt: skip
    assert await adm(*words) == 0, adm.err.getvalue()
    assert await versions(api) == [], "a dry run made objects"
    assert await adm(*words, "--apply") == 0, adm.err.getvalue()
    assert not (old / ".vfolder").exists(), "only the operator writes marks"
    async with running_over(api, registry()):
        for folder in FOLDERS:
            found = await bound(api, folder.name)
            handle = f"scratch/{folder.scope}/{folder.folder}"
            assert found["status"]["volumeHandle"] == handle
            assert found["spec"]["reclaimPolicy"] == "Retain"
        for number, (size, files) in LIMITS.items():
            scope = await api.until_ready(Kinds.SCOPE, f"project-{scope_of(number).uuid}")
            wanted = {"bytes": size} | ({"files": files} if files else {})
            assert scope["status"]["limits"] == wanted
    assert users_data(old) == before

    settled = await versions(api)
    assert await adm(*words, "--apply") == 0, adm.err.getvalue()
    assert await versions(api) == settled, "a second run wrote something"
    with (tmp_path / "report.csv").open() as file:
        assert {row["result"] for row in csv.DictReader(file)} == {"already"}


async def test_a_backend_of_the_cluster_gets_the_entries_it_lacks(
    api: Api, old: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    spec = json.loads((tmp_path / "scratch.json").read_text())["spec"]
    mine = {"scopeID": f"project:{scope_of(9).uuid}", "namespace": "team-b", "name": "other"}
    await api.apply(Kinds.BACKEND, "scratch", {**spec, "adoptions": [mine]})
    adm = Command(api)
    words = (
        "adopt", old, "--backend", "scratch", "--namespace", "team-a", "--default-type", "user",
        "--apply",
    )  # fmt: skip
    assert await adm(*words) == 0, adm.err.getvalue()
    backend = await api.get(Kinds.BACKEND, "scratch")
    entries = backend["spec"]["adoptions"]
    assert mine in entries
    assert len(entries) == 3
    async with running_over(api, registry()):
        for folder in FOLDERS:
            await bound(api, folder.folder.uuid)
    assert await adm(*words) == 0, adm.err.getvalue()
    assert (await api.get(Kinds.BACKEND, "scratch"))["spec"] == backend["spec"]
    assert await adm("adopt", old, "--backend", "missing", "--namespace", "team-a") == 2
    assert "there is no such StorageBackend" in adm.err.getvalue()


async def test_nothing_is_created_when_one_name_is_taken(
    api: Api, old: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    await api.folder(name=FOLDERS[2].name)
    adm = Command(api)
    code = await adm(
        "adopt", old, "--backend", tmp_path / "scratch.json", "--namespace", "team-a",
        "--mapping", tmp_path / "folders.csv", "--apply",
    )  # fmt: skip
    assert code == 1
    assert f"VFolder team-a/{FOLDERS[2].name}: exists" in adm.err.getvalue()
    assert [s async for s in api.kube.list(Kinds.SCOPE)] == []
    assert [s async for s in api.kube.list(Kinds.BACKEND)] == []


async def test_what_the_api_server_refuses_is_told_and_nothing_is_created(
    api: Api, old: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    adm = Command(api)
    code = await adm(
        "adopt", old, "--backend", tmp_path / "scratch.json", "--namespace", "nowhere",
        "--mapping", tmp_path / "folders.csv", "--apply",
    )  # fmt: skip
    assert code == 1
    assert 'namespaces "nowhere" not found' in adm.err.getvalue()
    assert await versions(api) == []


async def lived(api: Api, root: pathlib.Path, tmp_path: pathlib.Path) -> tuple[Body, Portrait]:
    """A life in the first cluster, and what it left on the storage."""
    body = json.loads(manifest(root, tmp_path / "scratch.json").read_text())
    async with running_over(api, registry()):
        await api.apply(Kinds.BACKEND, "scratch", body["spec"])
        await api.scope({"limits": {"bytes": "3Gi", "files": 777}})
        await api.folder()
        await api.folder(name="gone")
        folder = await bound(api, "data")
        await bound(api, "gone")
        (root / folder["status"]["path"] / "work").write_text("of years")
        await api.delete(Kinds.FOLDER, "gone")
        await api.until_gone(Kinds.FOLDER, "gone")
    return folder, users_data(root)


@pytest.mark.timeout(180)
async def test_a_lost_cluster_is_rebuilt_from_marks_and_limits(
    api: Api, other_cluster: Api, tmp_path: pathlib.Path
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    folder, before = await lived(api, root, tmp_path)
    adm, report = Command(other_cluster), tmp_path / "report.csv"
    words = ("rebuild", root, "--backend", tmp_path / "scratch.json", "--report", report)
    assert await adm(*words) == 0, adm.err.getvalue()
    assert "previousCluster" in adm.out.getvalue()
    assert await adm(*words, "--with-namespaces", "--apply") == 0, adm.err.getvalue()
    with report.open() as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["result"] for row in rows) == ["adopt", "adopt", "trash"]
    async with running_over(other_cluster, registry()):
        found = await bound(other_cluster, "data")
        assert found["status"]["volumeHandle"] == folder["status"]["volumeHandle"]
        scope = await other_cluster.until_ready(Kinds.SCOPE, "research")
        assert scope["status"]["limits"] == {"bytes": 3 << 30, "files": 777}
        # Leave was given to objects of the old names, and to no others.
        thief = {"vfolder.dev/id": folder["status"]["folderID"]}
        await other_cluster.folder(name="thief", annotations=thief)
        told = await other_cluster.until_reason(Kinds.FOLDER, "thief", "NotOurs")
        assert "team-a/data" in condition(told, "Ready")["message"]
    assert users_data(root) == before
    # Of the lost cluster only the trash is left; the rest is the new one's now.
    for cluster, left in ((api, ["trash"]), (other_cluster, ["adopt", "adopt"])):
        assert await adm(*words, "--cluster", await uid(cluster)) == 0, adm.err.getvalue()
        with report.open() as file:
            assert [row["result"] for row in csv.DictReader(file)] == left


async def uid(api: Api) -> str:
    return str((await api.get(Kinds.NAMESPACE, "kube-system"))["metadata"]["uid"])


@pytest.mark.timeout(180)
async def test_objects_from_git_are_told_the_id_and_do_not_start_empty(
    api: Api, other_cluster: Api, tmp_path: pathlib.Path
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    folder, before = await lived(api, root, tmp_path)
    adm = Command(other_cluster)
    words = ("rebuild", root, "--backend", tmp_path / "scratch.json", "--with-namespaces")
    assert await adm(*words, "--manifests", tmp_path / "objects") == 0, adm.err.getvalue()
    assert sorted(p.name for p in (tmp_path / "objects").iterdir()) == [
        "00-storagebackend.yaml",
        "10-team-a.research.yaml",
    ]
    first = str(tmp_path / "objects" / "00-storagebackend.yaml")
    await other_cluster.kubectl("apply", "-f", first)
    async with running_over(other_cluster, registry()):
        await other_cluster.scope({"limits": {"bytes": "3Gi", "files": 777}})
        told = await other_cluster.until_reason(Kinds.SCOPE, "research", "FormerDataFound")
        scope, _ = place(folder)
        assert f"vfolder.dev/id=project:{scope.uuid}" in condition(told, "Ready")["message"]
        await other_cluster.annotate(Kinds.SCOPE, "research", id=f"project:{scope.uuid}")
        await other_cluster.until_ready(Kinds.SCOPE, "research")
        await other_cluster.folder()
        await other_cluster.until_reason(Kinds.FOLDER, "data", "FormerDataFound")
        await other_cluster.annotate(Kinds.FOLDER, "data", id=folder["status"]["folderID"])
        await bound(other_cluster, "data")
    assert users_data(root) == before

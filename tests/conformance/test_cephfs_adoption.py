"""A tree of another system on a real CephFS, scanned and adopted as it lies, its quotas kept."""

import csv
import io
import json
import os

import pytest
import yaml

from e2e.cluster import Ceph, packages
from vfolder_backends.config import BackendConfig
from vfolder_backends.port import Adoption, FolderRequest, Limits, Owner, ScopeRequest
from vfolder_backends.registry import Registry
from vfolder_backends.sizes import parse_quantity
from vfolder_backends.testing.old_trees import OldFolder, plant, scope_of, users_data, write_mapping
from vfolder_operator.adm.cli import execute
from vfolder_operator.adm.world import World

_MISSING = packages.missing(packages.CEPH)

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="a private CephFS needs root"),
    pytest.mark.skipif(bool(_MISSING), reason=f"packages are missing: {', '.join(_MISSING)}"),
]

FOLDERS = [OldFolder.of(1, 1), OldFolder.of(1, 2), OldFolder.of(2, 1)]
LIMITS = {1: Limits(1 << 30, 5000), 2: Limits(2 << 30)}


@pytest.fixture(scope="module")
def ceph():
    with Ceph(quick=True) as ceph:
        yield ceph


@pytest.fixture
def old(ceph, tmp_path):
    root = ceph.operator_mount / tmp_path.name
    root.mkdir()
    for folder in FOLDERS:
        plant(root, folder, 3, owner=(1000, 1000))
    for number, limits in LIMITS.items():
        place = root / scope_of(number).value
        os.setxattr(place, "ceph.quota.max_bytes", str(limits.bytes).encode())
        if limits.files:
            os.setxattr(place, "ceph.quota.max_files", str(limits.files).encode())
    return root


async def adm(*words):
    out, err = io.StringIO(), io.StringIO()
    code = await execute([*map(str, words), "--progress", "none"], World(out, err, Registry()))
    assert code == 0, err.getvalue()
    return out.getvalue()


async def test_a_scan_tells_what_lies_there_and_changes_nothing(old):
    before = users_data(old)
    told = await adm("scan", old, "--type", "cephfs", "--output", "json")
    rows = [json.loads(line) for line in told.splitlines()]
    seen = {row["scope"]: row for row in rows if row["kind"] == "scope"}
    for number, limits in LIMITS.items():
        row = seen[str(scope_of(number).uuid)]
        assert (row["limit_bytes"], row.get("limit_files")) == (limits.bytes, limits.files)
        assert row["used_bytes"] == row["apparent_bytes"], "CephFS counts what is in files"
    folders = {row["folder"] for row in rows if row["kind"] == "folder"}
    assert folders == {str(folder.folder.uuid) for folder in FOLDERS}
    assert users_data(old) == before
    assert not (old / ".vfolder").exists()


async def test_a_tree_is_adopted_with_its_quotas(old, tmp_path):
    manifest, objects = tmp_path / "scratch.json", tmp_path / "objects"
    spec = {
        "type": "cephfs",
        "hostPath": "/mnt/x",
        "operatorPath": str(old),
        "allowedNamespaces": {},
    }
    named = {"apiVersion": "vfolder.dev/v1alpha1", "kind": "StorageBackend"}
    manifest.write_text(json.dumps({**named, "metadata": {"name": "scratch"}, "spec": spec}))
    mapping = write_mapping(tmp_path / "folders.csv", FOLDERS)
    before = users_data(old)
    await adm(
        "adopt", old, "--backend", manifest, "--namespace", "team-a", "--mapping", mapping,
        "--manifests", objects, "--report", tmp_path / "report.csv",
    )  # fmt: skip
    with (tmp_path / "report.csv").open() as file:
        results = [row["result"] for row in csv.DictReader(file)]
    assert results == ["adopt"] * (len(FOLDERS) + len(LIMITS))
    made = [one for path in objects.iterdir() for one in yaml.safe_load_all(path.read_text())]
    scopes = [one for one in made if one["kind"] == "QuotaScope"]
    sizes = sorted(parse_quantity(one["spec"]["limits"]["bytes"]) for one in scopes)
    assert sizes == [limits.bytes for limits in LIMITS.values()]
    assert [one["kind"] for one in made].count("VFolder") == len(FOLDERS)
    # What the operator does with such objects.
    backend = Registry().build(BackendConfig("scratch", "cephfs", str(old)))
    await backend.attach(None)
    for number, limits in LIMITS.items():
        owner = Owner("cluster", "team-a", f"q{number}")
        request = ScopeRequest(scope_of(number), owner, limits, adoption=Adoption())
        state = await backend.ensure_scope(request)
        assert (state.owner, state.limits) == (owner, limits)
    for folder in FOLDERS:
        owner = Owner("cluster", "team-a", folder.name)
        request = FolderRequest(folder.scope, folder.folder, owner, adoption=Adoption())
        assert (await backend.ensure_folder(request)).owner == owner
    await backend.close()
    assert users_data(old) == before

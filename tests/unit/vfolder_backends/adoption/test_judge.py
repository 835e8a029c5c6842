"""What may be adopted, and why not."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from vfolder_backends.adoption.columns import Defaults
from vfolder_backends.adoption.found import MIGRATION_CLUSTER, Tick
from vfolder_backends.adoption.judge import Court, judge
from vfolder_backends.adoption.mapping import MappingTable
from vfolder_backends.adoption.pacing import Pace
from vfolder_backends.adoption.verdicts import DefaultNames, Outcome
from vfolder_backends.backend import TreeBackend
from vfolder_backends.config import BackendConfig
from vfolder_backends.directories import DirectoryDriver
from vfolder_backends.errors import Unavailable
from vfolder_backends.ids import ScopeKind
from vfolder_backends.port import Adoption, FolderRequest, Limits, Owner, ScopeRequest
from vfolder_backends.registry import Registry
from vfolder_backends.testing.old_trees import OldFolder, plant, portrait, write_mapping
from vfolder_backends.vendors.vfs.backend import NoQuota

A, B, C = OldFolder.of(1, 1), OldFolder.of(1, 2), OldFolder.of(2, 1)
SCOPE_NAME = f"project-{A.scope.uuid}"


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    for folder in (A, B, C):
        plant(root, folder, 3, owner=None)
    return root


@pytest.fixture
def verdicts(root, tmp_path):
    """Judge, with no trace on the disk; outcomes and reasons by path."""

    async def judged(
        folders=(A, B, C),
        names=None,
        cluster="us",
        admit=lambda *_: None,
        quota=None,
        **columns,
    ):
        before = portrait(root)
        if names is None:
            path = write_mapping(tmp_path / "m.csv", folders, columns)
            names = MappingTable.load(path, Defaults("team-a"))
        config = BackendConfig("b", "vfs", str(root), read_only=True)
        kept = quota or NoQuota()
        backend = TreeBackend(config, lambda access: DirectoryDriver(access, kept))
        pace = Pace(str(root), 10)
        await backend.attach(None, initialise=False)
        fd = os.open(root, os.O_RDONLY)
        try:
            court = Court(pace, fd, names, backend, cluster, admit)
            found = [v async for v in judge(court) if not isinstance(v, Tick)]
        finally:
            os.close(fd)
            pace.close()
            await backend.close()
        assert portrait(root) == before
        told = {}
        for verdict in found:
            told.setdefault(verdict.path, (verdict.outcome, verdict.reason))
        return told

    return judged


def path(folder, layout=3):
    return str(folder.path(Path(), layout))


async def mark(root, scope_owner, folder_owner=None):
    backend = Registry().build(BackendConfig("b", "vfs", str(root)))
    await backend.attach(None)
    await backend.ensure_scope(ScopeRequest(A.scope, scope_owner, Limits(), adoption=Adoption()))
    if folder_owner is not None:
        await backend.ensure_folder(
            FolderRequest(A.scope, A.folder, folder_owner, must_exist=True, adoption=Adoption())
        )
    await backend.close()


async def test_all_that_the_mapping_tells_of_is_adopted(verdicts):
    found = await verdicts()
    assert set(found.values()) == {(Outcome.ADOPT, "")}
    assert len(found) == 5


async def test_without_a_mapping_ids_are_names(verdicts):
    found = await verdicts(names=DefaultNames(ScopeKind.USER, "team-a"))
    assert set(found.values()) == {(Outcome.ADOPT, "")}


async def test_what_no_line_is_about_and_what_no_disk_has(verdicts):
    missing = OldFolder.of(1, 9)
    found = await verdicts([A, missing])
    assert found[path(B)] == (Outcome.NOT_IN_MAPPING, "NotInMapping")
    assert found[C.scope.value] == (Outcome.NOT_IN_MAPPING, "NotInMapping")
    assert found[path(C)] == (Outcome.REFUSED, "ScopeRefused")
    assert found[path(missing)] == (Outcome.NOT_ON_DISK, "NotOnDisk")
    assert found[path(A)] == (Outcome.ADOPT, "")


async def test_layout_2_is_pointed_to_migrate(verdicts, root):
    old = OldFolder.of(1, 5)
    plant(root, old, 2, owner=None)
    assert (await verdicts([A, B, C, old]))[path(old, 2)] == (Outcome.LAYOUT_2, "Layout2")


async def test_links_are_refused(verdicts, root):
    taken = A.path(root, 3)
    taken.rename(root / "aside")
    taken.symlink_to(root / "aside")
    found = await verdicts()
    assert found[path(A)] == (Outcome.REFUSED, "Link")


@pytest.mark.parametrize(
    ("scope_owner", "outcome"),
    [
        (Owner("us", "team-a", SCOPE_NAME), (Outcome.ALREADY, "")),
        (Owner(MIGRATION_CLUSTER, "team-a", SCOPE_NAME), (Outcome.ADOPT, "")),
        (Owner("them", "team-a", SCOPE_NAME), (Outcome.REFUSED, "NotOurs")),
        (Owner("us", "team-b", "other"), (Outcome.REFUSED, "NotOurs")),
    ],
)
async def test_marks_decide(verdicts, root, scope_owner, outcome):
    await mark(root, scope_owner)
    found = await verdicts()
    assert found[A.scope.value] == outcome
    reached = outcome[0] is not Outcome.REFUSED
    assert found[path(A)] == ((Outcome.ADOPT, "") if reached else (Outcome.REFUSED, "ScopeRefused"))


async def test_a_folder_of_somebody_else_is_refused_alone(verdicts, root):
    await mark(root, Owner("us", "team-a", SCOPE_NAME), Owner("us", "team-a", "mine"))
    found = await verdicts()
    assert found[path(A)] == (Outcome.REFUSED, "NotOurs")
    assert found[path(B)] == (Outcome.ADOPT, "")


async def test_without_a_cluster_a_mark_proves_nothing(verdicts, root):
    await mark(root, Owner("us", "team-a", SCOPE_NAME))
    found = await verdicts(cluster="")
    assert found[A.scope.value] == (Outcome.REFUSED, "ClusterUnknown")


async def test_two_folders_of_one_name_are_both_refused(verdicts):
    found = await verdicts(vfolder="same")
    assert found[path(A)] == found[path(B)] == (Outcome.REFUSED, "NameTaken")
    assert found[A.scope.value] == (Outcome.ADOPT, "")


async def test_a_name_that_kubernetes_does_not_take_is_refused(verdicts):
    found = await verdicts([replace(A, name="My Data"), B, C])
    assert found[path(A)] == (Outcome.REFUSED, "InvalidName")


async def test_a_folder_that_the_mapping_has_elsewhere_is_refused(verdicts):
    found = await verdicts([replace(A, scope=C.scope), B, C])
    assert found[path(A)] == (Outcome.REFUSED, "ScopeDiffers")


async def test_deleted_folders_are_skipped(verdicts):
    found = await verdicts(status="delete-pending")
    assert found[path(A)] == (Outcome.SKIPPED, "Deleted")


async def test_what_the_storages_object_does_not_admit_is_refused(verdicts):
    found = await verdicts(admit=lambda said, state: "LimitAboveMaximum: too much")
    assert found[A.scope.value] == (Outcome.REFUSED, "NotAdmitted")


class Dead(NoQuota):
    """A storage that tells nothing of limits."""

    def read(self, scope):
        raise Unavailable("the filer is away")


async def test_limits_that_cannot_be_read_are_refused(verdicts):
    found = await verdicts(quota=Dead())
    assert found[A.scope.value] == (Outcome.REFUSED, "LimitsUnreadable")

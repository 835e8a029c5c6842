"""The suite on a real XFS, and each way in which its limits are not on."""

import os

import pytest

from e2e.guest.disks import XFS, XFS_ACCOUNTING, XFS_PLAIN
from tests.conformance.guest.project_rules import ProjectConformance
from tests.conformance.guest.projects import ProjectsUnderTest, expect_refusal
from vfolder_backends.errors import Misconfigured
from vfolder_backends.facts import Tristate


class TestXfs(ProjectConformance):
    kind = "xfs"
    refusal = "ENOSPC"
    disk = XFS.mount_point

    async def test_root_is_told_to_be_bound(self, capabilities):
        assert capabilities.enforcement.root_bypass is Tristate.NO
        assert capabilities.granularity_bytes == 4096
        assert capabilities.clone == "Reflink"


async def test_without_project_quotas():
    await expect_refusal(XFS_PLAIN, "xfs", "prjquota", "rootflags", "remount", "/dev/ubd")


async def test_with_counting_alone():
    await expect_refusal(XFS_ACCOUNTING, "xfs", "pqnoenforce", "prjquota", "does not enforce")


async def test_another_file_system(tmp_path):
    with pytest.raises(Misconfigured, match=rf"{tmp_path} .*'overlay', not on xfs itself"):
        await ProjectsUnderTest(tmp_path, "xfs").build().attach(None)
    assert os.listdir(tmp_path) == []

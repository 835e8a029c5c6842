"""The suite on a real ext4, and each way in which its limits are not on.

For a guest without CAP_SYS_RESOURCE (`--no-sys-resource`): with it root passes ext4's limits.
"""

import os

import pytest

from e2e.guest.disks import EXT4, EXT4_ACCOUNTING, EXT4_PLAIN
from tests.conformance.guest.project_rules import ProjectConformance
from tests.conformance.guest.projects import ProjectsUnderTest, expect_refusal
from vfolder_backends.errors import Misconfigured
from vfolder_backends.facts import Tristate


class TestExt4(ProjectConformance):
    kind = "ext4"
    refusal = "EDQUOT"
    disk = EXT4.mount_point

    async def test_that_some_are_not_bound_is_told(self, storage, capabilities):
        assert capabilities.enforcement.root_bypass is Tristate.YES
        assert "CAP_SYS_RESOURCE" in capabilities.enforcement.message
        assert capabilities.granularity_bytes == 1024
        assert capabilities.clone == "Copy"
        storage.options["user_namespaces"] = True
        other = storage.build()
        await other.attach(None)
        assert (await other.probe()).capabilities.enforcement.root_bypass is Tristate.NO
        await other.close()


async def test_without_the_features():
    await expect_refusal(EXT4_PLAIN, "ext4", "tune2fs -O project,quota -Q prjquota /dev/ubd")


async def test_without_the_mount_option():
    await expect_refusal(EXT4_ACCOUNTING, "ext4", "mount option prjquota", "does not enforce")


async def test_another_file_system(tmp_path):
    with pytest.raises(Misconfigured, match=rf"{tmp_path} .*'overlay', not on ext4 itself"):
        await ProjectsUnderTest(tmp_path, "ext4").build().attach(None)
    assert os.listdir(tmp_path) == []

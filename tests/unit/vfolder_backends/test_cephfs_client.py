import os

import pytest

from vfolder_backends.errors import Misconfigured
from vfolder_backends.mountinfo import filesystem_type
from vfolder_backends.vendors.cephfs import client
from vfolder_backends.vendors.cephfs.backend import XattrQuota


@pytest.mark.parametrize("path", ["/tmp", "/proc", "/dev/shm"])
def test_other_file_systems_are_not_taken_for_cephfs(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        assert not client.is_cephfs(fd)
        with pytest.raises(Misconfigured, match=f"{path} .*'{filesystem_type(fd)}'"):
            XattrQuota(path).check_root(fd)
    finally:
        os.close(fd)


def test_file_system_types_are_named():
    with open("/proc/self/status") as proc:
        assert filesystem_type(proc.fileno()) == "proc"

"""Whom limits bind: root with and without CAP_SYS_RESOURCE, and root of a user namespace."""

import os
import subprocess
import sys
from uuid import uuid4

import pytest

from e2e.guest.disks import EXT4, XFS
from tests.conformance.guest.project_tagging import SYSTEM_PYTHON
from tests.conformance.guest.projects import ProjectsUnderTest
from vfolder_backends.port import Limits
from vfolder_backends.testing.conformance.base import (
    MIB,
    SCOPE,
    TEAM,
    folder_request,
    scope_request,
)

ROOT = []
CONTAINER_ROOT = ["setpriv", "--bounding-set=-sys_resource", "--inh-caps=-sys_resource"]
NAMESPACE_ROOT = ["unshare", "--user", "--map-root-user"]
OWNER = ["setpriv", "--reuid=1000", "--regid=1001", "--clear-groups"]

WRITE = """
import errno, os, sys
fd = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)
try:
    for _ in range(64):
        os.write(fd, bytes(65536))
        os.fsync(fd)
    print("no error")
except OSError as error:
    print(errno.errorcode[error.errno])
"""


@pytest.mark.parametrize(
    ("disk", "who", "expected"),
    [
        (XFS, ROOT, "ENOSPC"),
        (XFS, CONTAINER_ROOT, "ENOSPC"),
        (XFS, NAMESPACE_ROOT, "ENOSPC"),
        (XFS, OWNER, "ENOSPC"),
        (EXT4, ROOT, "no error"),  # which is why its root_bypass is Yes
        (EXT4, CONTAINER_ROOT, "EDQUOT"),
        (EXT4, NAMESPACE_ROOT, "EDQUOT"),  # and No in user namespaces
        (EXT4, OWNER, "EDQUOT"),
    ],
)
async def test_whom_a_limit_binds(disk, who, expected):
    root = disk.mount_point / uuid4().hex
    root.mkdir()
    storage = ProjectsUnderTest(root, disk.kind)
    backend = storage.build()
    await backend.attach(None)
    await backend.ensure_scope(scope_request())
    folder = folder_request()
    await backend.ensure_folder(folder)
    await backend.set_limits(SCOPE, TEAM, Limits(bytes=2 * MIB))
    place = storage.path(SCOPE, folder.folder) / "file"
    place.parent.chmod(0o777)  # a namespace's root has no power over what others own
    words = [*who, SYSTEM_PYTHON, "-I", "-c", WRITE, str(place)]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    assert said == expected
    assert (place.stat().st_size == 4 * MIB) == (expected == "no error")
    await backend.close()


async def test_without_cap_sys_admin_the_missing_right_is_named():
    root = XFS.mount_point / uuid4().hex
    root.mkdir()
    script = (
        "import asyncio, sys\n"
        "from vfolder_backends.config import BackendConfig\n"
        "from vfolder_backends.registry import Registry\n"
        "backend = Registry().build(BackendConfig('n', 'xfs', sys.argv[1]))\n"
        "asyncio.run(backend.attach(None))\n"
    )
    drop = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"]
    done = subprocess.run(
        [*drop, sys.executable, "-c", script, root], capture_output=True, text=True, check=False
    )
    assert "PermissionDenied" in done.stderr
    assert "CAP_SYS_ADMIN" in done.stderr
    assert os.listdir(root) == []

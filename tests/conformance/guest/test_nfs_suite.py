"""The suite on a tree that the operator itself sees over NFS: no rename without replacing there,
names kept for files that are open, and a server between two actors."""

import pytest

from e2e.cluster import commands
from e2e.guest.disks import EXT4
from e2e.guest.nfs import NfsServer
from vfolder_backends.testing.conformance import TreeConformance
from vfolder_backends.testing.storages import TreeUnderTest

VERSIONS = {"4.2": "vers=4.2,hard", "3": "vers=3,hard,nolock"}


@pytest.fixture(scope="module", params=VERSIONS)
def mounted(request, tmp_path_factory):
    server = request.getfixturevalue("server")
    point = tmp_path_factory.mktemp("mounted")
    options = f"{VERSIONS[request.param]},proto=tcp,addr=127.0.0.1"
    source = server.source("suite", request.param)
    commands.run("mount", "-t", "nfs", "-o", options, source, point)
    yield point
    # Lazily: a process that was held by the last rule may still have a descriptor there.
    commands.run("umount", "--lazy", point)


@pytest.fixture(scope="module")
def server():
    server = NfsServer()
    folder = EXT4.mount_point / "suite"
    folder.mkdir()
    server.export("suite", folder, "no_root_squash")
    yield server
    server.stop()


class TestOverNfs(TreeConformance):
    @pytest.fixture
    def storage(self, mounted, tmp_path):
        root = mounted / tmp_path.name
        root.mkdir()
        return TreeUnderTest(root)

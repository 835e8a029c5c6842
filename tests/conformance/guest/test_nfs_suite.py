"""The suite on a tree that the operator itself sees over NFS: no rename without replacing there,
names kept for files that are open, and a server between two actors."""

import pytest

from e2e.cluster import commands
from e2e.guest.disks import EXT4
from e2e.guest.nfs import NfsServer
from vfolder_backends.errors import BackendError, Unsupported
from vfolder_backends.port import FolderPhase
from vfolder_backends.testing.conformance import TreeConformance
from vfolder_backends.testing.conformance.base import (
    DATASETS,
    FOLDER,
    SCOPE,
    folder_request,
    purge_all,
    scope_request,
)
from vfolder_backends.testing.conformance.clone_operations import clone_request
from vfolder_backends.testing.storages import NfsUnderTest

VERSIONS = {"4.2": "vers=4.2,hard", "3": "vers=3,hard"}


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


@pytest.fixture
def without_locks(server, tmp_path):
    point = tmp_path / "nolock"
    point.mkdir()
    options = "vers=3,hard,nolock,proto=tcp,addr=127.0.0.1"
    commands.run("mount", "-t", "nfs", "-o", options, server.source("suite", "3"), point)
    root = point / tmp_path.name
    root.mkdir()
    yield NfsUnderTest(root)
    commands.run("umount", point)


async def test_locks_of_this_machine_alone(without_locks):
    """Two actors on two machines would not be kept apart, so clones are refused."""
    backend = without_locks.build()
    await backend.attach(None)
    assert (await backend.probe()).capabilities.clone == "None"
    await backend.ensure_scope(scope_request())
    await backend.ensure_folder(folder_request())
    with pytest.raises(Unsupported, match="without nolock"):
        await backend.ensure_folder(clone_request())
    assert (await backend.describe_folder(SCOPE, FOLDER)).phase is FolderPhase.LIVE
    await backend.close()


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
        return NfsUnderTest(root)

    async def test_file_that_is_open_here(self, storage, backend, folder):
        """The purge says so, and ends once it is closed."""
        await storage.fill(SCOPE, folder, 1000)
        held = (storage.path(SCOPE, folder) / "data-1000").open("rb")
        with held:
            await backend.trash_folder(SCOPE, folder, DATASETS)
            with pytest.raises(BackendError, match="still open in a process on this machine"):
                await purge_all(backend)
        await purge_all(backend)
        assert not [path for path in storage.snapshot() if folder.value in path]

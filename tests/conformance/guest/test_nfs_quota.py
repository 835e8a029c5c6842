"""A limit on the server's disk stops a pod on a node that mounts the folder over NFS."""

import contextlib
import errno
import fcntl
import os
import struct
import time

import pytest
from nfs_site import FILES, LIMIT, MIB, VERSIONS, new_node
from node_rig import base_folder, fails

from tests.conformance.guest.projects import project_of
from vfolder_csi.mounts.targets import Deadlines

OVER = {"xfs": errno.ENOSPC, "ext4": errno.EDQUOT}
FS_IOC_FSSETXATTR = 0x401C5820
USER = 1000


@pytest.fixture
async def node():
    with base_folder() as base:
        node = new_node(base)
        node.deadlines = Deadlines()
        try:
            await node.start()
            yield node
        finally:
            await node.stop()


@pytest.fixture(params=VERSIONS)
def version(request):
    return request.param


@pytest.fixture(params=["xfs", "ext4"])
def kind(request):
    return request.param


@pytest.fixture(params=["root_squash"])
def export(request, site, kind):
    return site.exports[kind, request.param]


@pytest.fixture
async def published(site, node, export, version):
    """A folder, the target where a pod sees it, and its whole life around the test."""
    site.connect(node, export, version)
    handle = await site.volume(export)
    await node.stage(handle)
    target = await node.publish(handle)
    yield handle, target
    await node.unpublish(handle)
    await node.unstage(handle)
    assert node.mounts_at(node.staging(handle)) == []


def as_user(work):
    """Run `work` in a child that is an ordinary user; return what it returns, a short text."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        said = "died"
        try:
            os.setgroups([])
            os.setgid(USER)
            os.setuid(USER)
            said = work()
        except OSError as error:
            said = f"OSError {errno.errorcode.get(error.errno)}"
        finally:
            os.write(writer, said.encode())
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as pipe:
        return pipe.read()


def write_until_refused(path, flags, size):
    """Return where the error came, its errno, and how many bytes were taken before."""
    fd, taken, at = os.open(path, os.O_CREAT | os.O_WRONLY | flags), 0, "write"
    try:
        while taken < size:
            taken += os.write(fd, b"x" * 65536)
        at = "fsync"
        os.fsync(fd)
    except OSError as error:
        return f"{at} {errno.errorcode[error.errno]} {taken}"
    finally:
        # Whatever could not be written was told already; close may tell it again.
        with contextlib.suppress(OSError):
            os.close(fd)
    return f"nowhere {taken}"


def close_without_fsync(path, size):
    fd = os.open(path, os.O_CREAT | os.O_WRONLY)
    at = "write"
    try:
        for _ in range(size // 65536):
            os.write(fd, b"x" * 65536)
        at = "close"
        os.close(fd)
    except OSError as error:
        return f"{at} {errno.errorcode[error.errno]}"
    return "nowhere"


async def test_a_synchronous_writer_is_stopped_at_the_limit(published, export, kind):
    handle, target = published
    said = as_user(lambda: write_until_refused(target / "file", os.O_SYNC, 2 * LIMIT))
    at, name, taken = said.split()
    assert (at, name) == ("write", errno.errorcode[OVER[kind]])
    assert LIMIT - MIB <= int(taken) <= LIMIT
    assert (export.path(handle) / "file").stat().st_size <= LIMIT


async def test_a_buffered_writer_is_told_by_fsync_at_the_latest(published, export, kind):
    handle, target = published
    said = as_user(lambda: write_until_refused(target / "file", 0, 2 * LIMIT))
    at, name, _ = said.split()
    assert at in ("write", "fsync")
    assert name == errno.errorcode[OVER[kind]]
    server = export.path(handle) / "file"
    assert server.stat().st_blocks * 512 <= LIMIT


async def test_a_buffered_writer_without_fsync_is_told_by_close_at_the_latest(published, kind):
    _, target = published
    said = as_user(lambda: close_without_fsync(target / "file", 2 * LIMIT))
    at, name = said.split()
    assert at in ("write", "close")
    assert name == errno.errorcode[OVER[kind]]


async def test_files_are_limited(published, kind):
    _, target = published

    def work():
        for number in range(2 * FILES):
            try:
                (target / str(number)).touch()
            except OSError as error:
                return f"{number} {errno.errorcode[error.errno]}"
        return "nowhere"

    number, name = as_user(work).split()
    assert name == errno.errorcode[OVER[kind]]
    assert int(number) == FILES - 4, "the scope, two levels and the folder count"


async def test_a_full_folder_can_be_emptied_and_used_again(published):
    _, target = published
    as_user(lambda: write_until_refused(target / "file", os.O_SYNC, 2 * LIMIT))
    target.joinpath("file").unlink()

    def work():
        return write_until_refused(target / "again", os.O_SYNC, MIB)

    # The server's disk may give back what a file held a moment after it is gone.
    end = time.monotonic() + 20
    while (said := as_user(work)) != f"nowhere {MIB}":
        assert time.monotonic() < end, said


async def test_df_and_the_plugin_show_the_scope(node, published):
    handle, target = published
    as_user(lambda: write_until_refused(target / "file", os.O_SYNC, 2 * MIB))
    shown = os.statvfs(target)
    assert shown.f_blocks * shown.f_frsize == LIMIT
    sizes, inodes = (await node.stats(handle, target)).usage
    assert sizes.total == LIMIT
    # XFS reserves ahead of a file that grows, for as long as the server keeps it open.
    assert 2 * MIB <= sizes.used < 4 * MIB
    assert (inodes.total, inodes.used) == (FILES, 5)


async def test_a_client_cannot_change_project_ids(published, export):
    """This is what makes a limit on a disk of the server one that nobody in a pod can pass."""
    handle, target = published
    server = export.path(handle)
    before = project_of(server).id

    def work():
        (target / "mine").write_text("x")
        told = []
        for path in (target, target / "mine"):
            fd = os.open(path, os.O_RDONLY)
            try:
                fcntl.ioctl(fd, FS_IOC_FSSETXATTR, struct.pack("IIIII8x", 0, 0, 0, 0, 0))
                told.append("changed")
            except OSError as error:
                told.append(errno.errorcode[error.errno])
            finally:
                os.close(fd)
        return " ".join(told)

    assert as_user(work) == "ENOTTY ENOTTY"
    assert before == project_of(server).id == project_of(server / "mine").id
    assert before > 0


async def test_root_in_a_pod_is_nobody_to_the_server(published, export, kind):
    handle, target = published
    said = write_until_refused(target / "roots", os.O_SYNC, 2 * LIMIT)
    assert said.split()[1] == errno.errorcode[OVER[kind]]
    assert (export.path(handle) / "roots").stat().st_uid == 65534


@pytest.mark.parametrize("export", ["no_root_squash"], indirect=True)
async def test_root_that_the_server_trusts_passes_ext4s_limit_only(published, export, kind):
    _, target = published
    said = write_until_refused(target / "roots", os.O_SYNC, 2 * LIMIT)
    if kind == "ext4":
        assert said == f"nowhere {2 * LIMIT}"
    else:
        assert said.split()[1] == "ENOSPC"
    said = as_user(lambda: write_until_refused(target / "users", os.O_SYNC, 2 * LIMIT))
    assert said.split()[1] == errno.errorcode[OVER[kind]]


async def test_a_folder_the_server_does_not_have(site, node, export, version):
    site.connect(node, export, version)
    handle = node.folder(999, export.name, make=False)
    with fails("NOT_FOUND", "No such file or directory"):
        await node.stage(handle)
    assert node.mounts_at(node.staging(handle)) == []

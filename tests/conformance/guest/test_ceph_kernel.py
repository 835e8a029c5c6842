"""CephFS mounted by the node plugin itself: the kernel's client, by system call alone."""

import errno
import os
import re
import threading
import time
from pathlib import Path

import pytest
from node_rig import SCOPE, Node, base_folder, fails

from e2e.cluster import Ceph
from e2e.cluster.ceph import ADMIN, NODE, client
from vfolder_backends.layout import folder_path
from vfolder_csi.directory import NetworkMount
from vfolder_csi.mounts.network import HELPER_DIRS
from vfolder_csi.mounts.targets import Deadlines

MIB = 1 << 20
LIMIT = 8 * MIB
MOST = 64 * MIB

LIFTER = client("lifter", "allow rwp")
POWERFUL = client("powerful", "allow rwps")
AT_ROOT = client("root", "allow rw path=/root")
AT_SCOPE = client("scope", f"allow rw path=/root/{SCOPE}")
ELSEWHERE = client("elsewhere", "allow rw path=/other")


@pytest.fixture(scope="module")
def ceph():
    clients = (LIFTER, POWERFUL, AT_ROOT, AT_SCOPE, ELSEWHERE)
    with Ceph(quick=True, entities=clients) as cluster:
        (cluster.operator_mount / "root").mkdir()
        (cluster.operator_mount / "other").mkdir()
        yield cluster


@pytest.fixture
async def node():
    with base_folder() as base:
        node = Node(base, HELPER_DIRS)
        node.deadlines = Deadlines(call=60.0, storage=30.0, unmount=20.0)
        try:
            await node.start()
            yield node
        finally:
            await node.stop()


@pytest.fixture
def volume(ceph, node):
    """A folder in a scope with a limit, on a backend that the node mounts with the node's key."""
    handle = node.folder(1, "ceph", make=False)
    root = ceph.operator_mount / "root"
    folder = root / folder_path(handle.scope, handle.folder)
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.iterdir():
        left.unlink()
    os.setxattr(root / handle.scope.value, "ceph.quota.max_bytes", str(LIMIT).encode())
    connect(node, ceph)
    return handle


def connect(node, ceph, source=None, *options):
    source = source or f"{ceph.monitor('v1')}:/root"
    node.add_backend("ceph", NetworkMount("ceph", source, options, True), "cephfs")


def secrets(ceph, who=NODE):
    return {"userID": who.name.removeprefix("client."), "userKey": ceph.key(who)}


def form(ceph, name):
    new = f"node@{ceph.fsid}.{ceph.file_system}=/root"
    v1, v2 = ceph.monitor("v1"), ceph.monitor("v2")
    return {
        "old": (f"{v1}:/root", f"mds_namespace={ceph.file_system}"),
        "old, messenger 2": (f"{v2}:/root", f"fs={ceph.file_system}", "ms_mode=prefer-crc"),
        "new": (new, f"mon_addr={v1}"),
        "new, messenger 2": (new, f"mon_addr={v2}", "ms_mode=secure"),
    }[name]


@pytest.mark.parametrize("name", ["old", "old, messenger 2", "new", "new, messenger 2"])
async def test_both_forms_of_a_source_and_both_messengers(ceph, node, volume, name):
    connect(node, ceph, *form(ceph, name))
    await node.stage(volume, secrets=secrets(ceph))
    target = await node.publish(volume)
    (target / "file").write_text("from a pod")
    [stage] = node.mounts_at(node.staging(volume))
    assert stage.fs_type == "ceph"
    assert {"nosuid", "nodev"} <= stage.options
    seen = ceph.operator_mount / "root" / folder_path(volume.scope, volume.folder) / "file"
    assert seen.read_text() == "from a pod"
    await node.unpublish(volume)
    await node.unstage(volume)
    assert node.mounts_at(node.staging(volume)) == []


async def test_the_scopes_limit_stops_a_writer_and_df_shows_it(ceph, node, volume):
    await node.stage(volume, secrets=secrets(ceph))
    target = await node.publish(volume)
    shown = os.statvfs(target)
    assert shown.f_blocks * shown.f_frsize == LIMIT
    (sizes, *_) = (await node.stats(volume, target)).usage
    assert sizes.total == LIMIT
    assert LIMIT - MIB <= write_until_refused(target / "file") < MOST
    await node.unpublish(volume)
    await node.unstage(volume)


def write_until_refused(path):
    """Write slowly enough for the client to learn of it; return how much was taken."""
    taken, fd = 0, os.open(path, os.O_CREAT | os.O_WRONLY)
    try:
        while taken < MOST:
            taken += os.write(fd, b"x" * 65536)
            os.fsync(fd)
    except OSError as error:
        if error.errno != errno.EDQUOT:
            raise
    finally:
        os.close(fd)
    return taken


async def test_the_secret_is_in_no_argument_and_no_list(ceph, node, volume):
    """Every process and every mount is looked at, again and again, while mounts are made."""
    key, found, stop = ceph.key(NODE).encode(), [], threading.Event()

    def watch():
        while not stop.is_set():
            for name in ("cmdline", "environ", "mountinfo", "mounts"):
                for path in Path("/proc").glob(f"[0-9]*/{name}"):
                    try:
                        data = path.read_bytes()
                    except OSError:
                        continue
                    if key in data:
                        found.append(str(path))
            rounds.append(time.monotonic())

    rounds = []
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for name in ("old", "new"):
            connect(node, ceph, *form(ceph, name))
            await node.stage(volume, secrets=secrets(ceph))
            await node.publish(volume, secrets=secrets(ceph))
            await node.unpublish(volume)
            await node.unstage(volume)
    finally:
        stop.set()
        watcher.join()
    assert len(rounds) > 1
    assert found == []


async def test_a_key_at_the_root_sees_the_limit_and_one_at_the_scope_is_refused(ceph, node, volume):
    """The kernel's client looks a limit up at its directory, for which that is not enough."""
    with fails("FAILED_PRECONDITION", "does not reach the backend's root", "allow rw path="):
        await node.stage(volume, secrets=secrets(ceph, AT_SCOPE))
    await node.stage(volume, secrets=secrets(ceph, AT_ROOT))
    target = await node.publish(volume)
    assert write_until_refused(target / "file") < MOST
    await node.unpublish(volume)
    await node.unstage(volume)


@pytest.mark.parametrize(
    ("who", "words"), [(LIFTER, "'p'"), (POWERFUL, "'p' and 's'")], ids=["p", "p and s"]
)
async def test_a_key_that_may_more_is_refused_before_anything_is_mounted(
    ceph, node, volume, who, words
):
    with fails("FAILED_PRECONDITION", f"capability {words}", "ceph auth caps"):
        await node.stage(volume, secrets=secrets(ceph, who))
    with fails("FAILED_PRECONDITION", f"capability {words}"):
        await node.publish(volume, secrets=secrets(ceph, who))
    assert not any("ceph" in line.split()[-3:] for line in mounts_of(node))
    prefix = ceph.operator_mount / "root" / volume.scope.value / volume.folder.value[:2]
    assert os.listdir(prefix / ".snap") == []
    with pytest.raises(OSError, match=re.escape(os.strerror(errno.ENODATA))):
        os.getxattr(prefix, "ceph.quota.max_files")


def mounts_of(node):
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if str(node.kubelet) in line]


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ("wrong key", "UNAVAILABLE", "userID and userKey"),
        ("unknown user", "UNAVAILABLE", "userID and userKey"),
        ("unknown path", "NOT_FOUND", "no such folder"),
        ("elsewhere", "FAILED_PRECONDITION", "does not reach the backend's root"),
        ("odd option", "FAILED_PRECONDITION", "one of the options"),
        ("no secret", "FAILED_PRECONDITION", "nodePublishSecretRef"),
    ],
)
async def test_a_mount_that_cannot_be_says_why(ceph, node, volume, change, code, words):
    given = secrets(ceph)
    if change == "wrong key":
        given["userKey"] = ceph.key(ADMIN)
    elif change == "unknown user":
        given["userID"] = "nobody"
    elif change == "elsewhere":
        given = secrets(ceph, ELSEWHERE)
    elif change == "unknown path":
        connect(node, ceph, f"{ceph.monitor('v1')}:/nowhere")
    elif change == "odd option":
        connect(node, ceph, None, "no_such_option=1")
    else:
        given = {}
    with fails(code, words):
        await node.stage(volume, secrets=given)
    assert node.mounts_at(node.staging(volume)) == []

"""What must be refused, with a message that says what is wrong, and without any mount."""

import json
import os

import pytest

from vfolder_csi._proto import csi_pb2
from vfolder_csi.directory import HostPath
from vfolder_csi.mounts import mountinfo

HEX = "a" * 32
ROOT_ID = "0123456789abcdef" * 2


@pytest.fixture(autouse=True)
def nothing_is_mounted(node):
    before = mountinfo.read()
    yield
    assert mountinfo.read() == before
    assert not node.target().exists()


@pytest.mark.parametrize(
    ("volume_id", "words"),
    [
        ("", "volume_id is missing"),
        ("fake-vol-id", "<backend>/<scope"),
        (f"scratch/{HEX}/../{HEX}", "<backend>/<scope"),
        (f"../{HEX}/{HEX}", "DNS label"),
        (f"scratch/{HEX.upper()}/{HEX}", "32 lower-case"),
        (f"scratch/{HEX}/{HEX}@", "empty share"),
        (f"scratch/{HEX}/{HEX}\x00", "control character"),
        ("x" * 129, "more than 128 bytes"),
    ],
)
async def test_volume_id(node, fails, volume_id, words):
    staging = str(node.staging("any"))
    with fails("INVALID_ARGUMENT", words):
        await node.publish(volume_id, staging_target_path=staging)
    with fails("INVALID_ARGUMENT", words):
        await node.stage(volume_id, staging_target_path=staging)


@pytest.mark.parametrize(
    "target",
    [
        "",
        "relative/path",
        "/etc",
        "{kubelet}",
        "{kubelet}/../etc/x",
        "{kubelet}/pods/../../x",
        "{kubelet}//pods/x",
        "{kubelet}/pods/x/",
        "{kubelet}-not/x",
        "{kubelet}/" + "x" * 4096,
    ],
)
async def test_target_path(node, fails, target):
    handle = node.folder()
    path = target.format(kubelet=node.kubelet)
    with fails("INVALID_ARGUMENT", "target_path"):
        await node.publish(handle, path)
    with fails("INVALID_ARGUMENT", "target_path"):
        await node.unpublish(handle, path)
    with fails("INVALID_ARGUMENT", "staging_target_path"):
        await node.stage(handle, staging_target_path=path)


async def test_a_link_in_the_target_path_is_not_followed(node, fails, base):
    handle = node.folder()
    outside = base / "outside"
    outside.mkdir()
    (node.kubelet / "link").symlink_to(outside)
    with fails("INVALID_ARGUMENT", "leads through"):
        await node.publish(handle, node.kubelet / "link" / "mount")
    with fails("FAILED_PRECONDITION", "not a directory"):
        await node.publish(handle, node.kubelet / "link")
    assert list(outside.iterdir()) == []


async def test_a_target_without_a_parent(node, fails):
    with fails("FAILED_PRECONDITION", "does not exist"):
        await node.publish(node.folder(), node.kubelet / "pods" / "nobody" / "mount")


async def test_no_staging_path(node, fails):
    with fails("FAILED_PRECONDITION", "staging_target_path is missing"):
        await node.publish(node.folder(), staging_target_path="")


@pytest.mark.parametrize(
    ("capability", "words"),
    [
        (None, "volume_capability is missing"),
        ({"block": {}, "access_mode": {"mode": 5}}, "access_type is block"),
        ({"access_mode": {"mode": 5}}, "access_type is missing"),
        ({"mount": {}}, "MULTI_NODE_MULTI_WRITER"),
        ({"mount": {}, "access_mode": {"mode": 99}}, "mode 99 is not one of"),
        (
            {"mount": {"mount_flags": ["suid"]}, "access_mode": {"mode": 5}},
            "'suid' is not allowed; allowed: diratime",
        ),
        (
            {"mount": {"mount_flags": ["ro", "rw"]}, "access_mode": {"mode": 5}},
            "ro and rw contradict",
        ),
        (
            {"mount": {"mount_flags": ["ro" * 4000]}, "access_mode": {"mode": 5}},
            "more than 4096 bytes",
        ),
    ],
)
async def test_capability(node, fails, capability, words):
    handle = node.folder()
    message = csi_pb2.VolumeCapability(**capability) if capability is not None else None
    with fails("INVALID_ARGUMENT", words):
        await node.publish(handle, volume_capability=message)
    with fails("INVALID_ARGUMENT", words):
        await node.stage(handle, volume_capability=message)


async def test_a_volume_context_with_a_path(node, fails):
    handle = node.folder()
    with fails("INVALID_ARGUMENT", "volume_context: key 'path' is not allowed"):
        await node.publish(handle, volume_context={"path": "/etc"})
    with fails("INVALID_ARGUMENT", "volume_context: key 'path' is not allowed"):
        await node.stage(handle, volume_context={"path": "/etc"})


async def test_what_kubernetes_adds_to_a_volume_context_is_fine(node):
    handle = node.folder()
    context = {
        "csi.storage.k8s.io/pod.name": "p",
        "storage.kubernetes.io/csiProvisionerIdentity": "1-csi.vfolder.dev",
    }
    await node.publish(handle, volume_context=context)
    await node.unpublish(handle)


async def test_unknown_backend_and_folder(node, fails):
    with fails("NOT_FOUND", "no StorageBackend 'nowhere'"):
        await node.publish(f"nowhere/{HEX}/{HEX}", staging_target_path=str(node.staging("s")))
    with fails("NOT_FOUND", "backend scratch has no folder"):
        await node.publish(node.folder(7, make=False))


async def test_a_host_path_outside_the_host_roots(node, fails, base):
    outside = base / "outside"
    outside.mkdir()
    node.add_backend("scratch", HostPath(str(outside), ROOT_ID))
    with fails("FAILED_PRECONDITION", "scratch", str(outside), "node.hostRoots"):
        await node.publish(node.folder())


async def test_a_host_path_with_dots(node, fails):
    node.add_backend("scratch", HostPath(f"{node.host_root}/../mnt/scratch", ROOT_ID))
    with fails("FAILED_PRECONDITION", "not an absolute, normalised path"):
        await node.publish(node.folder())


async def test_a_host_path_that_is_a_link(node, fails):
    (node.host_root / "link").symlink_to("scratch")
    node.add_backend("scratch", HostPath(f"{node.host_root}/link", ROOT_ID))
    with fails("FAILED_PRECONDITION", "no symbolic link"):
        await node.publish(node.folder())


async def test_a_host_path_that_does_not_exist(node, fails):
    handle = node.folder()
    node.add_backend("scratch", HostPath(f"{node.host_root}/gone", ROOT_ID))
    with fails("FAILED_PRECONDITION", "does not exist on this node"):
        await node.publish(handle)


@pytest.mark.parametrize(
    "mark",
    [
        None,
        b"",
        b"not json",
        b"[]",
        json.dumps({"layout": 3}).encode(),
        json.dumps({"layout": 3, "rootID": "f" * 32}).encode(),
        json.dumps({"layout": 4, "rootID": ROOT_ID}).encode(),
        "pipe",
        "link",
    ],
)
async def test_root_lost(node, fails, mark):
    handle = node.folder()
    path = node.storage / ".vfolder" / "root"
    content = path.read_bytes()
    path.unlink()
    words = ["RootLost"]
    if mark == "pipe":
        os.mkfifo(path)
    elif mark == "link":
        (node.storage / "elsewhere").write_bytes(content)
        path.symlink_to("../elsewhere")
        words = ["root mark"]
    elif mark is not None:
        path.write_bytes(mark)
    with fails("FAILED_PRECONDITION", *words):
        await node.publish(handle)


@pytest.mark.parametrize("root_id", [None, "", "f" * 32])
async def test_root_lost_by_annotation(node, fails, root_id):
    handle = node.folder()
    node.add_backend("scratch", HostPath(str(node.storage), root_id))
    with fails("FAILED_PRECONDITION", "RootLost"):
        await node.publish(handle)


async def test_an_unmounted_backend_is_not_an_empty_one(node, fails):
    handle = node.folder()
    bare = node.host_root / "later"
    bare.mkdir()
    node.add_backend("scratch", HostPath(str(bare), ROOT_ID))
    with fails("FAILED_PRECONDITION", "RootLost", "is the storage mounted?"):
        await node.publish(handle)


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
@pytest.mark.parametrize("kind", ["link", "file"])
async def test_a_link_or_a_file_on_the_way_to_the_folder(node, fails, depth, kind):
    secret = node.host_root / "secret"
    secret.mkdir()
    handle = node.folder(make=False)
    folder = node.folder_dir(handle)
    at = [*reversed(folder.parents[:3]), folder][depth]
    at.parent.mkdir(parents=True, exist_ok=True)
    if kind == "link":
        rest = folder.relative_to(at)
        (secret / rest).mkdir(parents=True, exist_ok=True)
        at.symlink_to(secret)
    else:
        at.write_text("a file")
    with fails("FAILED_PRECONDITION", "opening folder"):
        await node.publish(handle)


async def test_stats_of_what_is_not_there(node, fails):
    handle = node.folder()
    with fails("INVALID_ARGUMENT", "volume_id is missing"):
        await node.stats("", "some/path")
    with fails("INVALID_ARGUMENT", "volume_path is missing"):
        await node.stats(handle, "")
    for volume in ("fake-vol-id", handle):
        for path in ("some/path", "/etc", node.target(), node.kubelet / "pods"):
            with fails("NOT_FOUND"):
                await node.stats(volume, path)


async def test_an_odd_volume_id_does_not_block_a_clean_up(node):
    await node.unpublish("of an older version")
    await node.node.NodeUnstageVolume(
        csi_pb2.NodeUnstageVolumeRequest(
            volume_id="of an older version", staging_target_path=str(node.staging("any"))
        )
    )


async def test_expanding_is_not_offered(node, fails):
    with fails("UNIMPLEMENTED", "nothing to expand"):
        await node.node.NodeExpandVolume(csi_pb2.NodeExpandVolumeRequest())

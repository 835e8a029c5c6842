import errno

import pytest

from vfolder_backends.ids import VolumeHandle
from vfolder_csi.directory import NetworkMount
from vfolder_csi.errors import FailedPrecondition
from vfolder_csi.mounts.network import mount_error, plan_mount

HANDLE = VolumeHandle.parse(f"net/{'5' * 32}/{'ab12' + 'c' * 28}")
FOLDER = f"/{'5' * 32}/ab/12/{'c' * 28}"
KEY = "QVFBcGxhbnRlZHNlY3JldGtleQ=="
SECRETS = {"userID": "pods", "userKey": KEY}


@pytest.fixture
def helpers(tmp_path):
    for name in ("mount.nfs", "mount.nfs4", "mount.ceph"):
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(0o755)
    return [str(tmp_path / "none"), str(tmp_path)]


def test_nfs_by_its_helper(helpers):
    plan = plan_mount(HANDLE, NetworkMount("nfs", "filer:/x/", ("vers=4.1", "hard")), {}, helpers)
    assert plan.helper == f"{helpers[1]}/mount.nfs"
    assert plan.source == f"filer:/x{FOLDER}"
    assert plan.data == "nodev,nosuid,vers=4.1,hard,retry=0"


def test_a_retry_of_the_admin_stays(helpers):
    plan = plan_mount(HANDLE, NetworkMount("nfs4", "filer:/x", ("retry=1",)), {}, helpers)
    assert plan.data == "nodev,nosuid,retry=1"


@pytest.mark.parametrize("options", [("vers=3",), ("nfsvers=3", "hard"), ("v3",)])
def test_version_3_must_say_what_becomes_of_locks(helpers, options):
    with pytest.raises(FailedPrecondition, match=r"rpc\.statd.*'nolock'"):
        plan_mount(HANDLE, NetworkMount("nfs", "filer:/x", options), {}, helpers)
    for word in ("lock", "nolock"):
        plan_mount(HANDLE, NetworkMount("nfs", "filer:/x", (*options, word)), {}, helpers)


def test_what_the_kernel_says_of_a_ceph_mount_is_explained(helpers):
    plan = plan_mount(HANDLE, NetworkMount("ceph", "m1:/", ("fs=x",), True), SECRETS, helpers)
    told = {
        number: mount_error(OSError(number, ""), plan, plan.source)
        for number in (errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL, errno.ENOENT, errno.EIO)
    }
    assert "userID and userKey" in str(told[errno.EHOSTUNREACH])
    assert "capabilities" in str(told[errno.EACCES])
    assert "(mds_namespace, name, secret)" in str(told[errno.EINVAL])
    assert "no such folder" in str(told[errno.ENOENT])
    assert [type(error).__name__ for error in told.values()] == [
        "Unavailable",
        "FailedPrecondition",
        "FailedPrecondition",
        "NotFound",
        "Unavailable",
    ]
    assert not any(KEY in str(error) for error in told.values())


def test_an_export_that_is_the_root(helpers):
    plan = plan_mount(HANDLE, NetworkMount("nfs", "filer:/"), {}, helpers)
    assert plan.source == f"filer:{FOLDER}"


def test_ceph_by_the_kernel_although_there_is_a_helper(helpers):
    mount = NetworkMount("ceph", "m1,m2:/", ("fs=x", "noatime", "_netdev"), True)
    plan = plan_mount(HANDLE, mount, SECRETS, helpers)
    assert plan.helper is None
    assert plan.source == f"m1,m2:{FOLDER}"
    assert plan.ms_flags == 0x2 | 0x4 | 0x400
    assert plan.data == f"mds_namespace=x,name=pods,secret={KEY}"
    assert KEY not in repr(plan)


def test_cephs_newer_form_names_the_user_itself(helpers):
    mount = NetworkMount("ceph", "pods@fsid.x=/vf", ("mon_addr=m1/m2",), True)
    plan = plan_mount(HANDLE, mount, SECRETS, helpers)
    assert plan.source == f"pods@fsid.x=/vf{FOLDER}"
    assert plan.data == f"mon_addr=m1/m2,secret={KEY}"


def test_ceph_without_authentication(helpers):
    assert plan_mount(HANDLE, NetworkMount("ceph", "m1:/"), {}, helpers).data == ""


@pytest.mark.parametrize(
    "secrets",
    [
        {},
        {"userID": "pods"},
        {"userID": "pods,secret=x", "userKey": KEY},
        {"userID": "pods", "userKey": f"{KEY},name=admin"},
    ],
)
def test_a_secret_that_does_not_do_is_not_quoted(helpers, secrets):
    with pytest.raises(FailedPrecondition, match="userID") as caught:
        plan_mount(HANDLE, NetworkMount("ceph", "m1:/", (), True), secrets, helpers)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("option", ["secret=x", "secretfile=/x", "password=x"])
def test_secrets_in_options_are_refused_without_being_quoted(helpers, option):
    with pytest.raises(FailedPrecondition, match=r"spec\.mount\.secretRef") as caught:
        plan_mount(HANDLE, NetworkMount("ceph", "m1:/", (option,)), {}, helpers)
    assert option not in str(caught.value)

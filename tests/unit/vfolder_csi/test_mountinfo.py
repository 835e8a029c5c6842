import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfolder_csi.mounts import mountinfo

LINE = (
    "36 35 98:0 /mnt1 /mnt2 ro,noatime shared:1 master:7 - ext3 /dev/root rw,errors=continue\n"
    "37 36 0:31 / /var/lib/kubelet/a\\040b\\134c rw,nosuid,nodev - nfs4 filer:/x\\043y rw\n"
    "38 36 0:32 / /mnt2 rw - tmpfs  rw\n"
)


def test_what_the_kernel_documents():
    first, second, third = mountinfo.parse(LINE)
    assert first == mountinfo.Mount(
        36, "98:0", "/mnt1", "/mnt2", frozenset({"ro", "noatime"}), "ext3", "/dev/root"
    )
    assert (second.point, second.source) == ("/var/lib/kubelet/a b\\c", "filer:/x#y")
    assert third.source == ""


def test_the_last_mount_at_a_point_is_on_top():
    mounts = mountinfo.parse(LINE)
    assert mountinfo.top(mounts, "/mnt2") is mounts[2]
    assert mountinfo.top(mounts, "/mnt") is None


@pytest.mark.parametrize("line", ["36 35 98:0 / /x rw\n", "x\n", "36 35 98:0 / /x rw - ext4\n"])
def test_other_lines(line):
    with pytest.raises(ValueError, match="not as documented"):
        mountinfo.parse(line)


@given(st.text(st.characters(min_codepoint=1, max_codepoint=0x2FF), max_size=20))
def test_escapes_round_trip(text):
    escaped = "".join(f"\\{ord(c):03o}" if c in " \t\n\\#" else c for c in text)
    assert mountinfo.unescape(escaped) == text


def test_this_process():
    assert mountinfo.top(mountinfo.read(), "/") is not None
    with open("/proc/self/mountinfo") as file:
        found = mountinfo.of_descriptor(mountinfo.read(), file.fileno())
    assert found is not None
    assert found.fs_type == "proc"

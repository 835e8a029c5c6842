"""Numbers and structures, as a compiled program prints them from the kernel's own headers."""

import shutil
import struct
import subprocess

import pytest

from vfolder_backends.projects import identity, syscalls

PROGRAM = r"""
#include <stddef.h>
#include <stdio.h>
#include <linux/fs.h>
#include <linux/quota.h>
#include <linux/dqblk_xfs.h>
#include <sys/syscall.h>
#define SIZE(s) printf(#s " %zu\n", sizeof(struct s))
#define AT(s, f) printf(#s "." #f " %zu\n", offsetof(struct s, f))
#define VALUE(v) printf(#v " %lu\n", (unsigned long)(v))
int main(void) {
    SIZE(fsxattr); AT(fsxattr, fsx_projid); AT(fsxattr, fsx_cowextsize);
    SIZE(if_nextdqblk); AT(if_nextdqblk, dqb_bhardlimit); AT(if_nextdqblk, dqb_curspace);
    AT(if_nextdqblk, dqb_ihardlimit); AT(if_nextdqblk, dqb_curinodes);
    AT(if_nextdqblk, dqb_valid); AT(if_nextdqblk, dqb_id);
    SIZE(fs_quota_statv); AT(fs_quota_statv, qs_flags);
    VALUE(FS_IOC_FSGETXATTR); VALUE(FS_IOC_FSSETXATTR); VALUE(FS_XFLAG_PROJINHERIT);
    VALUE(Q_GETQUOTA); VALUE(Q_SETQUOTA); VALUE(Q_GETNEXTQUOTA); VALUE(Q_XGETQSTATV);
    VALUE(FS_QUOTA_PDQ_ACCT); VALUE(FS_QUOTA_PDQ_ENFD); VALUE(QIF_LIMITS);
    VALUE(SYS_quotactl); VALUE(QCMD(Q_GETQUOTA, 2) & 0xffffffff);
}
"""

FIELDS = {
    "fsxattr": 28,
    "fsxattr.fsx_projid": 12,
    "fsxattr.fsx_cowextsize": 16,
    "if_nextdqblk": 72,
    "if_nextdqblk.dqb_bhardlimit": 0,
    "if_nextdqblk.dqb_curspace": 16,
    "if_nextdqblk.dqb_ihardlimit": 24,
    "if_nextdqblk.dqb_curinodes": 40,
    "if_nextdqblk.dqb_valid": 64,
    "if_nextdqblk.dqb_id": 68,
    "fs_quota_statv": 160,
    "fs_quota_statv.qs_flags": 2,
}


def test_structures_have_these_sizes_and_offsets():
    assert syscalls.FSXATTR.size == FIELDS["fsxattr"]
    packed = syscalls.FSXATTR.pack(1, 2, 3, 0xAABBCCDD, 5)
    assert struct.unpack_from("=I", packed, FIELDS["fsxattr.fsx_projid"]) == (0xAABBCCDD,)
    assert struct.unpack_from("=I", packed, FIELDS["fsxattr.fsx_cowextsize"]) == (5,)
    assert syscalls.DQBLK.size == FIELDS["if_nextdqblk"]
    packed = syscalls.DQBLK.pack(1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
    for name, value in (("bhardlimit", 1), ("curspace", 3), ("ihardlimit", 4), ("curinodes", 6)):
        assert struct.unpack_from("=Q", packed, FIELDS[f"if_nextdqblk.dqb_{name}"]) == (value,)
    for name, value in (("valid", 9), ("id", 10)):
        assert struct.unpack_from("=I", packed, FIELDS[f"if_nextdqblk.dqb_{name}"]) == (value,)
    assert FIELDS["fs_quota_statv"] == syscalls.STATV_SIZE
    assert FIELDS["fs_quota_statv.qs_flags"] == syscalls._FLAGS_OFFSET


@pytest.mark.skipif(syscalls._POWER, reason="these are the numbers of the other architectures")
def test_numbers():
    assert (syscalls.FS_IOC_FSGETXATTR, syscalls.FS_IOC_FSSETXATTR) == (0x801C581F, 0x401C5820)
    assert identity._XFS_IOC_FSGEOMETRY_V1 == 0x80705864
    assert identity._EXT4_IOC_GETFSUUID == 0x8008662C
    assert identity._FSUUID.size == 24


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
def test_the_headers_say_the_same(tmp_path):
    (tmp_path / "numbers.c").write_text(PROGRAM)
    built = subprocess.run(
        ["gcc", "-o", tmp_path / "numbers", tmp_path / "numbers.c"], capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    out = subprocess.run([tmp_path / "numbers"], capture_output=True, text=True, check=True).stdout
    said = {name: int(value) for name, value in (line.rsplit(" ", 1) for line in out.splitlines())}
    assert {name: said[name] for name in FIELDS} == FIELDS
    for name in (
        "FS_IOC_FSGETXATTR",
        "FS_IOC_FSSETXATTR",
        "FS_XFLAG_PROJINHERIT",
        "Q_GETQUOTA",
        "Q_SETQUOTA",
        "Q_GETNEXTQUOTA",
        "Q_XGETQSTATV",
    ):
        assert said[name] == getattr(syscalls, name), name
    assert said["FS_QUOTA_PDQ_ACCT"] == syscalls.ACCOUNTED
    assert said["FS_QUOTA_PDQ_ENFD"] == syscalls.ENFORCED
    assert said["QIF_LIMITS"] == syscalls._QIF_LIMITS
    assert said["SYS_quotactl"] == syscalls._SYS_QUOTACTL
    command = syscalls.Q_GETQUOTA << 8 | syscalls._PRJQUOTA
    assert said["QCMD(Q_GETQUOTA, 2) & 0xffffffff"] == command & 0xFFFFFFFF

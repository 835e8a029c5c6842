import os

from vfolder_csi import stats


def test_what_df_shows(tmp_path):
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        found = stats.of_file_system(descriptor)
        assert not stats.is_cephfs(descriptor)
    finally:
        os.close(descriptor)
    expected = os.statvfs(tmp_path)
    assert found.bytes.total == expected.f_blocks * expected.f_frsize
    assert 0 < found.bytes.used < found.bytes.total
    assert found.inodes is not None
    assert found.inodes.total == expected.f_files

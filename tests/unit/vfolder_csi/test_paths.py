import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfolder_csi.errors import FailedPrecondition, InvalidArgument
from vfolder_csi.mounts.paths import check_beneath, open_beneath, spot

ROOT = "/var/lib/kubelet"


@given(st.text("/.ab\n", max_size=16))
def test_what_is_accepted_stays_below(tail):
    try:
        relative = check_beneath(ROOT, ROOT + tail, "target_path")
    except InvalidArgument:
        return
    assert os.path.normpath(f"{ROOT}/{relative}") == ROOT + tail
    assert relative
    assert not {"", ".", ".."} & set(relative.split("/"))


@given(st.text(max_size=40))
def test_nothing_else_is_accepted(path):
    if not path.startswith(f"{ROOT}/"):
        with pytest.raises(InvalidArgument, match="target_path"):
            check_beneath(ROOT, path, "target_path")


def test_links_are_not_followed(tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "root" / "absolute").symlink_to(tmp_path / "outside")
    (tmp_path / "root" / "relative").symlink_to("../outside")
    (tmp_path / "root" / "within").symlink_to(".")
    root = os.open(tmp_path / "root", os.O_PATH)
    try:
        for name in ("absolute", "relative", "within", ".."):
            with pytest.raises(OSError, match=r"symbolic links|cross-device"):
                open_beneath(root, name)
    finally:
        os.close(root)


def test_prepare_makes_an_unwritable_directory(tmp_path):
    path = tmp_path / "mount"
    for _ in range(2):
        with spot(str(tmp_path), str(path), "target_path") as place:
            os.close(place.prepare())
            assert place.path == os.path.realpath(path)
        assert path.stat().st_mode & 0o7777 == 0
        path.chmod(0o755)


@pytest.mark.parametrize("kind", ["file", "link", "pipe"])
def test_prepare_replaces_nothing(tmp_path, kind):
    path = tmp_path / "mount"
    if kind == "file":
        path.write_text("content")
    elif kind == "link":
        path.symlink_to(tmp_path)
    else:
        os.mkfifo(path)
    with (
        spot(str(tmp_path), str(path), "target_path") as place,
        pytest.raises(FailedPrecondition, match="not a directory"),
    ):
        place.prepare()
    assert os.path.lexists(path)

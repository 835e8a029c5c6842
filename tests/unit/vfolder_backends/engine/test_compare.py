import os

from tests.unit.vfolder_backends.engine.trees import nasty
from vfolder_backends.engine.compare import compare
from vfolder_backends.engine.tree_copy import copy_contents


def test_compare_names_each_difference(top, target, opened):
    nasty(top, levels=5)
    source, copy = opened(top), opened(target)
    assert copy_contents(source, copy).faithful
    os.chmod(target / "script", 0o600)
    os.setxattr(target / "plain", "user.x", b"1")
    (target / "sub" / "-rf").unlink()
    (target / "new").write_text("")
    (target / "up").unlink()
    (target / "up").symlink_to("...")
    (target / "third-plain").unlink()
    (target / "third-plain").write_bytes((top / "plain").read_bytes())
    with (target / "sparse").open("r+b") as file:
        file.seek(4_000_000)
        file.write(b"On")
    found = compare(source, copy, data=True)
    what = {(difference.path, difference.what) for difference in found.differences}
    assert {
        ("script", "mode"),
        ("plain", "xattrs"),
        ("sub/-rf", "missing"),
        ("new", "extra"),
        ("up", "target"),
        ("third-plain", "links"),
        ("sparse", "data"),
        ("sparse", "mtime"),
        ("sub", "mtime"),
        (".", "mtime"),
    } <= what
    assert found.count == len(found.differences)
    few = compare(source, copy, limit=2)
    assert len(few.differences) == 2
    assert few.count > 5

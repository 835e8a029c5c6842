"""Copies of whatever trees there may be."""

import os
import subprocess

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.vfolder_backends.engine.trees import equal
from vfolder_backends.engine.stop import Stop
from vfolder_backends.engine.tree_copy import copy_contents

TREES = st.recursive(
    st.tuples(st.sampled_from(["file", "link", "fifo", "hole"]), st.integers(0, 9000)),
    lambda below: st.dictionaries(
        st.text(
            st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=20
        ).filter(lambda name: name not in (".", "..")),
        below,
        max_size=4,
    ),
    max_leaves=12,
)


def _build(top, tree):
    for name, what in tree.items():
        path = top / name
        if isinstance(what, dict):
            path.mkdir()
            _build(path, what)
            path.chmod(0o700 + len(what))
        elif what[0] == "file":
            path.write_bytes(b"%d" % what[1] * what[1])
        elif what[0] == "hole":
            with path.open("wb") as file:
                file.truncate(what[1] * 1000)
        elif what[0] == "link":
            path.symlink_to(str(what[1]))
        else:
            os.mkfifo(path, 0o600 + what[1] % 64)


@settings(max_examples=40)
@given(st.dictionaries(st.sampled_from(["a", "b", "ü"]), TREES, max_size=3), st.integers(1, 30))
def test_any_tree_stopped_anywhere(tmp_path_factory, tree, looks):
    base = tmp_path_factory.mktemp("any")
    tops = base / "source", base / "target"
    for top in tops:
        top.mkdir()
    _build(tops[0], tree)
    fds = [os.open(top, os.O_RDONLY) for top in tops]
    try:
        left = looks

        def stop():
            nonlocal left
            left -= 1
            return left < 0

        first = copy_contents(*fds, stop=Stop(asked=stop), helpers=0)
        done = first if first.done else copy_contents(*fds, cursor=first.cursor, helpers=0)
        assert done.faithful
        assert equal(*fds).left.entries == done.entries + 1
    finally:
        for fd in fds:
            os.close(fd)
        subprocess.run(["rm", "-rf", base], check=True)

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfolder_csi.errors import InvalidArgument
from vfolder_csi.mounts import flags


@pytest.mark.parametrize(
    ("words", "read_only", "expected"),
    [
        ([], False, set()),
        ([], True, {"ro"}),
        (["rw"], True, {"ro"}),
        (["ro", "ro"], False, {"ro"}),
        (["noexec", "noatime", "nodiratime"], False, {"noexec", "noatime", "nodiratime"}),
        (["exec", "relatime", "diratime"], False, {"relatime"}),
        (["nosymfollow", "nosuid"], False, {"nosymfollow"}),
    ],
)
def test_words(words, read_only, expected):
    assert flags.parse_mount_flags(words, read_only) == {"nosuid", "nodev"} | expected


@pytest.mark.parametrize(
    "word", ["suid", "dev", "bind", "remount", "RO", "ro,suid", "uid=0", "", "loop", "sync"]
)
def test_what_is_not_allowed_is_named(word):
    with pytest.raises(InvalidArgument, match="not allowed; allowed: diratime, exec") as caught:
        flags.parse_mount_flags(["ro", word], False)
    assert repr(word) in str(caught.value)


@pytest.mark.parametrize(
    "pair", [("ro", "rw"), ("exec", "noexec"), ("noatime", "relatime"), ("noatime", "strictatime")]
)
def test_contradictions(pair):
    with pytest.raises(InvalidArgument, match="contradict"):
        flags.parse_mount_flags(pair, False)


@given(st.lists(st.sampled_from(flags.ALLOWED)), st.booleans())
def test_nosuid_and_nodev_always_reach_the_kernel(words, read_only):
    try:
        parsed = flags.parse_mount_flags(words, read_only)
    except InvalidArgument:
        return
    attr_set, attr_clear = flags.attributes(parsed)
    assert attr_set & 0x6 == 0x6
    assert flags.ms_flags(parsed) & 0x6 == 0x6
    assert bool(attr_set & 0x1) == (read_only or "ro" in words)
    # The kernel refuses to set one of the access-time modes without clearing all of them.
    assert not attr_set & flags.ATTR_ATIME or attr_clear == flags.ATTR_ATIME

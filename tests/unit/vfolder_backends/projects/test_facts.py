"""What is promised of each file system, and the range of ids."""

import pytest

from vfolder_backends.config import BackendConfig
from vfolder_backends.errors import Misconfigured, UnknownOption
from vfolder_backends.port import Limits
from vfolder_backends.projects import facts, quotas
from vfolder_backends.registry import Registry


def config(**more):
    return BackendConfig("disk", "xfs", "/mnt/disk", **more)


@pytest.mark.parametrize(
    ("flavour", "more", "level", "bypass"),
    [
        (facts.XFS, {}, "Cooperative", "No"),
        (facts.XFS, {"user_namespaces": True}, "Enforced", "No"),
        (facts.XFS, {"node_fs_type": "nfs4"}, "Enforced", "No"),
        (facts.EXT4, {}, "Cooperative", "Yes"),
        (facts.EXT4, {"user_namespaces": True}, "Enforced", "No"),
        (facts.EXT4, {"node_fs_type": "nfs"}, "Enforced", "Unknown"),
    ],
)
def test_enforcement(flavour, more, level, bypass):
    told = facts.enforcement(flavour, config(**more))
    assert (told.bytes, told.files, told.root_bypass) == (level, level, bypass)
    assert flavour.over_limit in told.message


def test_writers_to_a_server_meet_limits_when_they_close():
    local = facts.capabilities(facts.XFS, config(), 4096, reflink=True)
    remote = facts.capabilities(facts.XFS, config(node_fs_type="nfs"), 4096, reflink=True)
    assert (local.error_at, remote.error_at) == ("Write", "Close")


@pytest.mark.parametrize(
    ("wanted", "unit", "shown"),
    [
        (Limits(4096, 1), 4096, Limits(4096, 1)),
        (Limits(4097), 4096, Limits(8192)),
        (Limits(1), 1024, Limits(1024)),
        (Limits(None, 7), 1024, Limits(None, 7)),
    ],
)
def test_bytes_are_rounded_up_to_what_is_kept(wanted, unit, shown):
    assert quotas.stored(wanted, unit) == shown


@pytest.mark.parametrize("kind", ["xfs", "ext4"])
def test_parameters(kind):
    def build(**parameters):
        return Registry().build(BackendConfig("disk", kind, "/mnt/disk", parameters=parameters))

    build()
    build(projectIDFrom="1000", projectIDTo="2000")
    with pytest.raises(Misconfigured, match="projectIDFrom"):
        build(projectIDFrom="0")
    with pytest.raises(Misconfigured, match="projectIDTo"):
        build(projectIDTo=str(0xFFFFFFFF))
    with pytest.raises(Misconfigured, match="projectIDFrom is above projectIDTo"):
        build(projectIDFrom="2000", projectIDTo="1000")
    with pytest.raises(UnknownOption, match="did you mean 'projectIDFrom'"):
        build(projectIDfrom="1")

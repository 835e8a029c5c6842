"""What differs between XFS and ext4, and how far limits hold on each, told as it is."""

from dataclasses import dataclass
from typing import Final

from vfolder_backends.config import BackendConfig
from vfolder_backends.facts import Capabilities, Enforcement, Level, Tristate

_NETWORK: Final = "nfs"


@dataclass(frozen=True, slots=True)
class Flavour:
    """One file system with project quotas.

    Attributes:
        kind: its name in the kernel, and the backend's type.
        over_limit: the errno of a writer at the limit.
        binds_root: whether limits hold for those who have CAP_SYS_RESOURCE, too.
        granularity: the unit of limits in bytes, None where it is the file system's block.
        usage_lag: seconds until usage shows what was removed.
    """

    kind: str
    over_limit: str
    binds_root: bool
    granularity: int | None
    usage_lag: int


XFS: Final = Flavour("xfs", "ENOSPC", binds_root=True, granularity=None, usage_lag=5)
EXT4: Final = Flavour("ext4", "EDQUOT", binds_root=False, granularity=1024, usage_lag=0)


def enforcement(flavour: Flavour, config: BackendConfig) -> Enforcement:
    """How far limits hold, from how pods get at the folders."""
    said = [f"checked by the kernel at each write, to the block: writers get {flavour.over_limit}"]
    remote = config.node_fs_type.startswith(_NETWORK)
    if remote:
        level = Level.ENFORCED
        said.append("clients of the server cannot change project ids")
    elif config.user_namespaces:
        level = Level.ENFORCED
        said.append("pods run in user namespaces, where project ids cannot be changed")
    else:
        level = Level.COOPERATIVE
        said.append(
            "a file's owner may charge it to another project or to none, unless pods run with"
            " hostUsers: false; an audit finds such files"
        )
    bypass = Tristate.NO
    if not flavour.binds_root and not config.user_namespaces:
        if remote:
            bypass = Tristate.UNKNOWN
            said.append("root of a client passes limits where the export says no_root_squash")
        else:
            bypass = Tristate.YES
            said.append("processes with CAP_SYS_RESOURCE, as in privileged pods, pass limits")
    return Enforcement(level, level, bypass, "; ".join(said))


def capabilities(
    flavour: Flavour, config: BackendConfig, granularity: int, *, reflink: bool
) -> Capabilities:
    """What the storage can do."""
    remote = bool(config.node_fs_type)
    return Capabilities(
        enforcement(flavour, config),
        over_limit_errno=flavour.over_limit,
        # Buffered writes to a server meet its limit when the client sends them.
        error_at="Close" if remote else "Write",
        accounting="Allocated",
        df_shows="Scope",
        isolation="NodeOnly",
        granularity_bytes=granularity,
        usage_lag_seconds=flavour.usage_lag,
        fast_usage=True,
        folder_usage=False,
        files_count_directories=True,
        clone="Reflink" if reflink else "None",
    )

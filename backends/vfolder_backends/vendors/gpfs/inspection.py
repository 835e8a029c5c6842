"""What a Storage Scale file system can do, and what is off until somebody switches it on."""

from typing import Final

from vfolder_backends.errors import Misconfigured, Unavailable, Unsupported
from vfolder_backends.facts import Capabilities, Enforcement, Level, Tristate
from vfolder_backends.vendors.gpfs import models

OLDEST: Final = (5, 0)
ON_ROOT: Final = "enforceFilesetQuotaOnRoot"
"""Its default is no; mmlsconfig shows only what was set."""

_BINDS: Final = {
    Tristate.YES: f"root passes limits: {ON_ROOT} is not yes (mmchconfig {ON_ROOT}=yes -i)",
    Tristate.NO: f"root is bound, {ON_ROOT} is yes; a cluster that mounts this file system from"
    " elsewhere has a setting of its own",
    Tristate.UNKNOWN: f"whether root passes limits is unknown: this account may not read {ON_ROOT}",
}


def check_version(version: str, array: str) -> None:
    """Refuse what is older than the interface that was read of (`Unsupported`)."""
    numbers = tuple(int(n) for n in version.partition("-")[0].split(".") if n.isdigit())
    if numbers < OLDEST:
        raise Unsupported(
            f"{array}: Storage Scale {version} is too old;"
            f" {'.'.join(map(str, OLDEST))} or newer is needed"
        )


def check_file_system(found: models.FileSystem) -> None:
    """Refuse a file system that is not mounted or does not enforce quotas of filesets.

    Raises:
        Unavailable: it is mounted nowhere.
        Misconfigured: quotas of filesets are off; the message says how to switch them on.
    """
    name = found.name
    if not found.mount.mount_point:
        raise Unavailable(f"file system {name!r} has no mount point")
    if found.mount.status == "not mounted":
        raise Unavailable(f"file system {name!r} is mounted on no node (mmmount {name} -a)")
    if "fileset" not in found.quota.enforced.split(";"):
        raise Misconfigured(
            f"file system {name!r} enforces quotas of {found.quota.enforced or 'none'!r}, not of"
            f" filesets: mmchfs {name} -Q yes, mmquotaon -j {name}, then mmcheckquota {name}"
        )


def root_bypass(config: models.Config | None) -> Tristate:
    """Whether root passes limits; None where the configuration cannot be read."""
    if config is None:
        return Tristate.UNKNOWN
    return Tristate.NO if (config.value(ON_ROOT) or "no").lower() == "yes" else Tristate.YES


def enforcement(bypass: Tristate) -> Enforcement:
    """How far limits hold."""
    return Enforcement(
        Level.ENFORCED,
        Level.ENFORCED,
        bypass,
        "enforced by each node within what it was handed out in advance; every replica counts;"
        f" {_BINDS[bypass]}",
    )


def capabilities(found: models.FileSystem, bypass: Tristate) -> Capabilities:
    """What the file system can do."""
    return Capabilities(
        enforcement(bypass),
        over_limit_errno="EDQUOT",  # IBM: "disk quota exceeded"; not measured by us
        error_at="Close",
        accounting="Allocated",
        df_shows="Scope" if found.quota.fileset_df else "Backend",
        isolation="NodeOnly",
        granularity_bytes=models.KIB,
        fast_usage=True,
    )


def warnings(found: models.FileSystem, bypass: Tristate, doubtful: int) -> list[str]:
    """What an administrator should know, and what changes nothing."""
    told = []
    if bypass is not Tristate.NO:
        told.append(_BINDS[bypass])
    if found.quota.per_fileset:
        told.append(
            "--perfileset-quota is on; if setting limits is refused, try quotaPath: fileset"
        )
    if doubtful:
        told.append(
            f"{doubtful} scopes have more than a tenth of their limit in doubt; a node may have"
            f" failed: mmcheckquota {found.name}"
        )
    return told

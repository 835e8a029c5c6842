"""What a simulated Storage Scale cluster knows."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Fileset:
    """A fileset; `inode` is its root directory's, wherever the junction lies now.

    Limits are in KiB and in files, 0 is none.
    """

    name: str
    number: int
    inode: int
    linked: bool
    comment: str = ""
    independent: bool = False
    max_inodes: int = 0
    limit: int = 0
    files_limit: int = 0
    in_doubt: int = 0
    hint: str = ""
    seen: bool = True  # whether the server's cache knows it


@dataclass(slots=True)
class State:
    """Everything that a change can change."""

    filesets: dict[str, Fileset] = field(default_factory=dict)
    last: int = 0


@dataclass(slots=True)
class Settings:
    """How this cluster behaves: what differs between versions and sites.

    Attributes:
        version: of the server.
        name: of its one file system.
        mount_point: where nodes mount it.
        mount_status: "mounted" or "not mounted".
        enforced: which quotas are.
        per_fileset: --perfileset-quota.
        fileset_quotas: limits are set by the fileset's own path only.
        fileset_df: --filesetdf.
        on_root: enforceFilesetQuotaOnRoot as mmlsconfig shows it, empty when it was never set.
        config_refused: the account may not read the configuration.
        page: lines in one page of a list.
        zero_hidden: a quota without limits is not in the list.
        cached: a fileset just made is not seen before the cache is refreshed.
        bare_number: bytes that a number without a unit means.
        job_missing: status of a job that nobody knows.
        total_kib: size of the data pools.
    """

    version: str = "5.1.9-4"
    name: str = "fs1"
    mount_point: str = "/gpfs/fs1"
    mount_status: str = "mounted"
    enforced: str = "user;group;fileset"
    per_fileset: bool = False
    fileset_quotas: bool = False
    fileset_df: bool = True
    on_root: str = "yes"
    config_refused: bool = False
    page: int = 50
    zero_hidden: bool = True
    cached: bool = False
    bare_number: int = 1
    job_missing: int = 400
    total_kib: int = 1 << 30

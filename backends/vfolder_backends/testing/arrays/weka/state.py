"""What a simulated WEKA cluster knows."""

from dataclasses import dataclass, field

FS_UID = "6d1ad0b5-0a3c-4a86-9d7e-3a5a1f2c9b10"


@dataclass(slots=True)
class Quota:
    """A directory quota; 0 is no limit. `ready_in` counts calls until it is in force."""

    inode: int
    hard: int = 0
    soft: int = 0
    grace: int = 0
    owner: str = ""
    ready_in: int = 0
    hint: str = ""  # where the directory was last seen, below the file system's root

    @property
    def status(self) -> str:
        """WEKA's word."""
        return "ADDING" if self.ready_in else "ACTIVE"


@dataclass(slots=True)
class State:
    """Everything that a change can change."""

    quotas: dict[int, Quota] = field(default_factory=dict)


@dataclass(slots=True)
class Settings:
    """How this cluster behaves: what differs between versions and sites.

    Attributes:
        release: its version.
        name: of its one file system.
        missing_as_500: "Directory has no quota" comes with status 500, else 404.
        plural_delete: only `/quotas/{inode}` removes, as the CSI plugin knows it.
        page: quotas in one page of the list.
        adding_calls: for how many calls a quota on a non-empty directory is ADDING.
        full_paths: the list shows `fs:/path` in `full_path`.
        access_seconds: lifetime of access tokens.
        refresh_seconds: lifetime of refresh tokens.
        total_bytes: size of the file system.
        io_status: STARTED when it works.
        alerts: how many are active.
    """

    release: str = "4.4.7"
    name: str = "default"
    missing_as_500: bool = False
    plural_delete: bool = False
    page: int = 50
    adding_calls: int = 4
    full_paths: bool = False
    access_seconds: float = 300.0
    refresh_seconds: float = 2592000.0
    total_bytes: int = 1 << 40
    io_status: str = "STARTED"
    alerts: int = 0

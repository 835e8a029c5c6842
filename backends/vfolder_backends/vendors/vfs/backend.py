"""Plain directories: everything but a limit, and it says so."""

from typing import Final

from vfolder_backends.access import RootAccess
from vfolder_backends.backend import TreeBackend
from vfolder_backends.config import BackendConfig, Options
from vfolder_backends.directories import DirectoryDriver
from vfolder_backends.driver import ScopeQuota
from vfolder_backends.facts import Capabilities, Enforcement, Level, Tristate
from vfolder_backends.port import Limits, StorageBackend, Usage
from vfolder_backends.tree.reflink import can_reflink
from vfolder_backends.walked import UsageWalks

_ENFORCEMENT: Final = Enforcement(
    Level.NONE,
    Level.NONE,
    Tristate.UNKNOWN,
    "plain directories: no limit is stored or enforced, and nothing is counted",
)


class VfsOptions(Options):
    """`vfs` has no parameters."""


class NoQuota:
    """A `directories.DirectoryQuota` for file systems that have none, or none we may set."""

    def check_root(self, root: int) -> None:
        """Any directory will do."""

    def probe(self, root: int) -> tuple[Capabilities, tuple[str, ...]]:
        """Promise nothing."""
        return Capabilities(_ENFORCEMENT, clone="Reflink" if can_reflink(root) else "None"), ()

    def stored(self, limits: Limits) -> Limits:
        """No limit is kept."""
        return Limits()

    def read(self, scope: int) -> ScopeQuota:
        """No limit, and usage unknown."""
        return ScopeQuota(Limits(), None, _ENFORCEMENT)

    def write(self, scope: int, limits: Limits) -> None:
        """Accept and keep nothing; the limits read back show it."""

    def folder_usage(self, folder: int) -> Usage | None:
        """Nothing is counted."""
        return None


class Factory:
    """Makes `vfs` backends."""

    options: type[Options] = VfsOptions
    required_credentials: tuple[str, ...] = ()

    def build(self, config: BackendConfig) -> StorageBackend:
        """Return a backend over `config.root`."""

        def driver(access: RootAccess) -> DirectoryDriver:
            return DirectoryDriver(access, NoQuota(), UsageWalks(access))

        return TreeBackend(config, driver)

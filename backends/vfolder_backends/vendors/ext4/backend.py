"""ext4 with project quotas: limits hold to the block, but for those with CAP_SYS_RESOURCE.

All of it is in `vfolder_backends.projects`; what is told of it, in `projects.facts`.
"""

from vfolder_backends.config import BackendConfig, Options
from vfolder_backends.port import StorageBackend
from vfolder_backends.projects import facts
from vfolder_backends.projects.options import ProjectOptions, build


class Factory:
    """Makes `ext4` backends."""

    options: type[Options] = ProjectOptions
    required_credentials: tuple[str, ...] = ()

    def build(self, config: BackendConfig) -> StorageBackend:
        """Return a backend over the mounted file system at `config.root`."""
        return build(facts.EXT4, config)

"""`noted`: plain directories whose limits are noted in an extended attribute, for people to read.

All that a storage of directories has to bring is here: options, a quota on an open directory, a
factory. Marks, folders, trash and guards come from `TreeBackend`.
"""

import errno
import json
import os

from pydantic import Field

from vfolder_backends.backend import TreeBackend
from vfolder_backends.config import BackendConfig, Options, parse_options
from vfolder_backends.directories import DirectoryDriver
from vfolder_backends.driver import ScopeQuota
from vfolder_backends.errors import Misconfigured
from vfolder_backends.facts import Capabilities, Enforcement, Level, Tristate
from vfolder_backends.port import Limits, StorageBackend, Usage

_ENFORCEMENT = Enforcement(
    Level.ADVISORY, Level.ADVISORY, Tristate.YES, "limits are noted for people, nothing is stopped"
)


class NotedOptions(Options):
    """Parameters of `noted`."""

    attribute: str = Field(
        default="user.example.limits",
        pattern=r"^user\.[a-z.]+$",
        description="Extended attribute that holds the limits.",
    )


class NotedQuota:
    """A `DirectoryQuota` in an extended attribute."""

    def __init__(self, attribute: str) -> None:
        self._attribute = attribute

    def check_root(self, root: int) -> None:
        """Raise Misconfigured where the file system keeps no such attributes."""
        try:
            os.listxattr(root)
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
            raise Misconfigured("the root's file system has no extended attributes") from error

    def probe(self, root: int) -> tuple[Capabilities, tuple[str, ...]]:
        """Promise what is kept: a note."""
        return Capabilities(_ENFORCEMENT), ()

    def stored(self, limits: Limits) -> Limits:
        """A note is exact."""
        return limits

    def read(self, scope: int) -> ScopeQuota:
        """Read the note; none is no limit."""
        try:
            noted = json.loads(os.getxattr(scope, self._attribute))
        except OSError as error:
            if error.errno != errno.ENODATA:
                raise
            noted = {}
        return ScopeQuota(Limits(noted.get("bytes"), noted.get("files")), None, _ENFORCEMENT)

    def write(self, scope: int, limits: Limits) -> None:
        """Write the note."""
        text = json.dumps({"bytes": limits.bytes, "files": limits.files})
        os.setxattr(scope, self._attribute, text.encode())

    def folder_usage(self, folder: int) -> Usage | None:
        """Nothing is counted."""
        return None


class Factory:
    """Makes `noted` backends."""

    options: type[Options] = NotedOptions
    required_credentials: tuple[str, ...] = ()

    def build(self, config: BackendConfig) -> StorageBackend:
        """Return a backend over `config.root`."""
        options = parse_options(NotedOptions, config.parameters)
        quota = NotedQuota(options.attribute)
        return TreeBackend(config, lambda access: DirectoryDriver(access, quota))

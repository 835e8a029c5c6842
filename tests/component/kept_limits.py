"""A kind of storage for tests: plain directories that remember limits, and enforce none."""

import os
from contextlib import suppress

from vfolder_backends.backend import TreeBackend
from vfolder_backends.config import BackendConfig
from vfolder_backends.directories import DirectoryDriver
from vfolder_backends.driver import ScopeQuota
from vfolder_backends.facts import Capabilities, Enforcement, Level, Tristate
from vfolder_backends.port import Limits, StorageBackend
from vfolder_backends.registry import Registry
from vfolder_backends.vendors.vfs.backend import NoQuota, VfsOptions

ATTRIBUTE = "user.kept-limit"
_ENFORCEMENT = Enforcement(Level.COOPERATIVE, Level.COOPERATIVE, Tristate.NO, "for tests")


class KeptLimits(NoQuota):
    """Limits in an extended attribute of the scope's directory."""

    def probe(self, root: int) -> tuple[Capabilities, tuple[str, ...]]:
        return Capabilities(_ENFORCEMENT), ()

    def stored(self, limits: Limits) -> Limits:
        return limits

    def read(self, scope: int) -> ScopeQuota:
        limits = Limits()
        with suppress(OSError):
            size, files = os.getxattr(scope, ATTRIBUTE).decode().split()
            limits = Limits(int(size) or None, int(files) or None)
        return ScopeQuota(limits, None, _ENFORCEMENT)

    def write(self, scope: int, limits: Limits) -> None:
        os.setxattr(scope, ATTRIBUTE, f"{limits.bytes or 0} {limits.files or 0}".encode())


class Factory:
    """Makes `kept` backends."""

    options = VfsOptions
    required_credentials: tuple[str, ...] = ()

    def build(self, config: BackendConfig) -> StorageBackend:
        return TreeBackend(config, lambda access: DirectoryDriver(access, KeptLimits()))


def registry() -> Registry:
    """The kind `kept`."""
    return Registry({"kept": Factory()})

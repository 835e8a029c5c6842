"""The parameters of backends with project quotas, and how such a backend is put together."""

from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from vfolder_backends.access import RootAccess
from vfolder_backends.backend import TreeBackend
from vfolder_backends.config import BackendConfig, Options, parse_options
from vfolder_backends.port import StorageBackend
from vfolder_backends.projects.driver import ProjectDriver
from vfolder_backends.projects.facts import Flavour
from vfolder_backends.projects.syscalls import MAX_PROJECT

FIRST: Final = 0x10000000
"""Far above the ids that people choose, and above kubelet's own, which begin at 1048577."""

_Id = Annotated[int, Field(ge=1, le=MAX_PROJECT)]


class ProjectOptions(Options):
    """From which project ids scopes get theirs; both ends belong to the range."""

    first: Annotated[
        _Id, Field(alias="projectIDFrom", description="Lowest project id of scopes.")
    ] = FIRST
    last: Annotated[
        _Id,
        Field(alias="projectIDTo", description="Highest one; it is also used to probe with."),
    ] = MAX_PROJECT

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.first > self.last:
            raise ValueError("projectIDFrom is above projectIDTo")
        return self


def build(flavour: Flavour, config: BackendConfig) -> StorageBackend:
    """Return a backend over the mounted file system at `config.root`.

    Raises:
        Misconfigured: a parameter is unknown, or has a value that is not allowed.
    """
    options = parse_options(ProjectOptions, config.parameters)

    def driver(access: RootAccess) -> ProjectDriver:
        return ProjectDriver(access, flavour, config, options.first, options.last)

    return TreeBackend(config, driver)

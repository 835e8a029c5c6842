"""What a StorageBackend of type `exascaler` says in `parameters`."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from vfolder_backends.config import Options, absolute_path
from vfolder_backends.projects.options import FIRST
from vfolder_backends.projects.syscalls import MAX_PROJECT

_Id = Annotated[int, Field(ge=1, le=MAX_PROJECT)]


class Tagging(StrEnum):
    """What reads and sets the project ids of files."""

    LFS = "lfs"
    IOCTL = "ioctl"


def _mount_point(path: str) -> str:
    return absolute_path(path) if path else ""


class ExascalerOptions(Options):
    """Which program is asked, of which mount, and which project ids scopes get."""

    lfs_path: Annotated[
        str, Field(alias="lfsPath", min_length=1, description="The program lfs: name or path.")
    ] = "lfs"
    mount_point: Annotated[
        str,
        AfterValidator(_mount_point),
        Field(
            alias="mountPoint",
            description="Where Lustre is mounted in the operator; empty looks above operatorPath.",
        ),
    ] = ""
    first: Annotated[
        _Id, Field(alias="projectIDFrom", description="Lowest project id of scopes.")
    ] = FIRST
    last: Annotated[
        _Id,
        Field(alias="projectIDTo", description="Highest one; it is also used to probe with."),
    ] = MAX_PROJECT
    tagging: Annotated[
        Tagging,
        Field(
            description="What reads and sets project ids: lfs, or ioctl (what lfs itself calls;"
            " quicker where much data is adopted)."
        ),
    ] = Tagging.LFS
    ids_locked: Annotated[
        bool,
        Field(
            alias="projectIDsLocked",
            description="Set to true where nodemaps (or enable_chprojid_gid) keep owners of files"
            " from changing project ids; limits are Cooperative otherwise.",
        ),
    ] = False

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.first > self.last:
            raise ValueError("projectIDFrom is above projectIDTo")
        return self

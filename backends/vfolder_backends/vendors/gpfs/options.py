"""What a StorageBackend of type `gpfs` says in `parameters`."""

import re
from enum import StrEnum
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from vfolder_backends.config import Options, absolute_path

NAME_LENGTH: Final = 255
_PREFIX = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_LONGEST_PREFIX: Final = NAME_LENGTH - 32  # the rest is the scope


class InodeSpace(StrEnum):
    """Which kind of fileset a scope is."""

    DEPENDENT = "dependent"
    INDEPENDENT = "independent"


class QuotaPath(StrEnum):
    """Which of two calls sets limits."""

    FILE_SYSTEM = "filesystem"
    FILESET = "fileset"


def _prefix(text: str) -> str:
    if not _PREFIX.fullmatch(text) or len(text) > _LONGEST_PREFIX:
        raise ValueError(
            f"must begin with a letter, hold only letters, digits, '_', '.' and '-', and be at most"
            f" {_LONGEST_PREFIX} long"
        )
    return text


class GpfsOptions(Options):
    """The place on the file system that `operatorPath` shows, and what scopes are made of."""

    file_system: Annotated[
        str, Field(alias="fileSystem", min_length=1, description="Name of the file system.")
    ]
    path: Annotated[
        str,
        AfterValidator(absolute_path),
        Field(description="Directory of that file system which operatorPath shows."),
    ] = "/"
    fileset_prefix: Annotated[
        str,
        AfterValidator(_prefix),
        Field(
            alias="filesetPrefix",
            description="What the names of our filesets begin with; one per StorageBackend.",
        ),
    ] = "vfolder-"
    inode_space: Annotated[
        InodeSpace,
        Field(
            alias="inodeSpace",
            description="Kind of the filesets: dependent, or independent with inodes of their own.",
        ),
    ] = InodeSpace.DEPENDENT
    max_inodes: Annotated[
        int,
        Field(
            alias="maxInodes",
            ge=1024,
            description="Inodes an independent fileset may have at least; raised to a scope's"
            " file limit where that is higher.",
        ),
    ] = 1_000_000
    quota_path: Annotated[
        QuotaPath,
        Field(
            alias="quotaPath",
            description="Call that sets limits: filesystem, or fileset for file systems with"
            " --perfileset-quota that refuse the other.",
        ),
    ] = QuotaPath.FILE_SYSTEM
    job_pause: Annotated[
        float,
        Field(
            alias="jobPause",
            ge=0.01,
            le=10,
            description="Seconds before the first look at a job; doubled up to eight times that.",
        ),
    ] = 0.5

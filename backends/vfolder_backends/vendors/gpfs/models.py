"""What Storage Scale answers, as far as we read it.

Names and types from `IBM/ibm-spectrum-scale-csi` (connectors/resources.go) and IBM's pages on the
endpoints. Limits and usage come in KiB, though they may be written in other units.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import Field

from vfolder_backends.transport.parsing import WireModel

KIB: Final = 1024
_UNLINKED: Final = ("", "--")


class Paging(WireModel):
    """Where a list goes on."""

    last_id: int | None = Field(default=None, alias="lastId")
    next: str = ""


class Info(WireModel):
    """The interface itself."""

    server_version: str = Field(alias="serverVersion")


class InfoAnswer(WireModel):
    """Answer of `/info`."""

    info: Info


class Mount(WireModel):
    """Where the file system is mounted, on all nodes at the same place."""

    mount_point: str = Field(alias="mountPoint")
    status: str = ""


class QuotaState(WireModel):
    """Which quotas a file system counts and enforces; `user;group;fileset` or `none`."""

    accounted: str = Field(default="", alias="quotasAccountingEnabled")
    enforced: str = Field(default="", alias="quotasEnforced")
    per_fileset: bool = Field(default=False, alias="perfilesetQuotas")
    fileset_df: bool = Field(default=False, alias="filesetdfEnabled")


class FileSystem(WireModel):
    """A file system."""

    name: str
    mount: Mount
    quota: QuotaState


class FileSystemsAnswer(WireModel):
    """One or all."""

    filesystems: list[FileSystem]


class Config(WireModel):
    """Values of mmlsconfig: what was set explicitly; how they are nested differs."""

    config: Mapping[str, Any]

    def value(self, name: str) -> str | None:
        """Return an attribute as text, None where it has its default."""
        return next(_values(self.config, name), None)


def _values(found: Any, name: str) -> Iterator[str]:
    if isinstance(found, Mapping):
        for key, value in found.items():
            if key == name and not isinstance(value, (Mapping, list)):
                yield str(value)
            else:
                yield from _values(value, name)
    elif isinstance(found, list):
        for value in found:
            yield from _values(value, name)


class Pool(WireModel):
    """A storage pool; one for metadata alone tells nothing of data."""

    total_data: int = Field(default=0, alias="totalDataInKB")
    free_data: int = Field(default=0, alias="freeDataInKB")


class PoolsAnswer(WireModel):
    """All pools of a file system."""

    pools: list[Pool] = Field(alias="storagePool")


class FilesetConfig(WireModel):
    """A fileset; `path` is its junction."""

    name: str = Field(alias="filesetName")
    path: str = ""
    status: str = ""
    comment: str = ""
    max_inodes: int = Field(default=0, alias="maxNumInodes")

    @property
    def linked(self) -> bool:
        """Whether it is seen in the tree."""
        return self.path not in _UNLINKED and self.status != "Unlinked"


class Fileset(WireModel):
    """See `FilesetConfig`."""

    config: FilesetConfig


class FilesetsAnswer(WireModel):
    """One page of them, or the one that was asked for."""

    filesets: list[Fileset]
    paging: Paging = Paging()


class Quota(WireModel):
    """A line of mmrepquota: sizes in KiB, a limit of 0 is none.

    `in_doubt` is handed out to nodes and not accounted for yet.
    """

    type: str = Field(alias="quotaType")
    name: str = Field(default="", alias="objectName")
    fileset: str = Field(default="", alias="filesetName")
    usage: int = Field(alias="blockUsage")
    limit: int = Field(alias="blockLimit")
    in_doubt: int = Field(default=0, alias="blockInDoubt")
    files: int = Field(alias="filesUsage")
    files_limit: int = Field(alias="filesLimit")


class QuotasAnswer(WireModel):
    """One page of the list."""

    quotas: list[Quota]
    paging: Paging = Paging()


class Result(WireModel):
    """What a job printed."""

    exit_code: int | None = Field(default=None, alias="exitCode")
    stderr: list[str] = Field(default=[])


class Job(WireModel):
    """Work that goes on after the answer."""

    id: int = Field(alias="jobId")
    status: str
    result: Result = Result()


class JobsAnswer(WireModel):
    """What every change is answered with."""

    jobs: list[Job] = Field(default=[])

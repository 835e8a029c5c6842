"""What VMS answers, as far as we read it; names and types from VAST's OpenAPI documents."""

from collections.abc import Sequence
from typing import Annotated, Generic, TypeVar

from pydantic import BeforeValidator, Field, model_validator

from vfolder_backends.transport.parsing import WireModel

ItemT = TypeVar("ItemT")


def _separate(hosts: object) -> object:
    """Take a text apart: the document of 5.3.0 has one where later ones have a list."""
    return hosts.replace(",", " ").split() if isinstance(hosts, str) else hosts or ()


Hosts = Annotated[Sequence[str], BeforeValidator(_separate)]


class Tokens(WireModel):
    """A login; how long it lives is a setting of the cluster, and not told."""

    access: str = Field(repr=False)
    refresh: str = Field(default="", repr=False)


class Quota(WireModel):
    """A quota on a path; limits are null, or absent, where there are none."""

    id: int
    name: str
    path: str
    hard_limit: int | None = None
    hard_limit_inodes: int | None = None
    used_capacity: int | None = None
    used_inodes: int | None = None
    state: str | None = None
    sync_state: str | None = None
    tenant_id: int | None = None

    @property
    def place(self) -> str:
        """The path without a slash at the end."""
        return self.path.rstrip("/") or "/"


class Cluster(WireModel):
    """The cluster; spaces in bytes, bandwidths in bytes a second, latencies in microseconds."""

    state: str
    sw_version: str = ""
    logical_space: int | None = None
    logical_space_in_use: int | None = None
    rd_iops: float | None = None
    wr_iops: float | None = None
    rd_bw: float | None = None
    wr_bw: float | None = None
    rd_latency: float | None = None
    wr_latency: float | None = None


class Version(WireModel):
    """An installation of the software; `sys_version` is like 5.3.0.123."""

    sys_version: str


class View(WireModel):
    """What is shown to clients, and by which policy."""

    path: str
    policy_id: int
    protocols: Sequence[str] = ()


class ViewPolicy(WireModel):
    """Which hosts get at a view; `*` is all of them."""

    name: str
    nfs_read_write: Hosts = ()
    nfs_read_only: Hosts = ()
    nfs_no_squash: Hosts = ()


class Listing(WireModel, Generic[ItemT]):
    """A list in either of its forms: bare, or one page with a link to the next one."""

    results: Sequence[ItemT]
    next: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, body: object) -> object:
        return {"results": body} if isinstance(body, list) else body

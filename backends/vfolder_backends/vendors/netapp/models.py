"""What ONTAP answers, as far as we read it; names and types from its REST documentation, 9.19.1."""

from collections.abc import Sequence
from typing import Generic, TypeVar

from pydantic import Field

from vfolder_backends.transport.parsing import WireModel

ItemT = TypeVar("ItemT")

PENDING = frozenset({"queued", "running", "paused"})
"""States of a job that is not over."""


class Version(WireModel):
    """The version of ONTAP: 9.14.1 is generation 9, major 14, minor 1."""

    full: str = ""
    generation: int
    major: int
    minor: int


class Cluster(WireModel):
    """The cluster."""

    version: Version


class Href(WireModel):
    """A link."""

    href: str


class Links(WireModel):
    """What a list links to."""

    next: Href | None = None


class Listing(WireModel, Generic[ItemT]):
    """One page of a list."""

    records: Sequence[ItemT] = ()
    links: Links = Field(default=Links(), alias="_links")


class Named(WireModel):
    """A reference to another object."""

    name: str = ""
    uuid: str = ""


class Nas(WireModel):
    """How clients see a volume."""

    path: str = ""
    export_policy: Named = Named()


class Space(WireModel):
    """Bytes."""

    size: int
    used: int


class QuotaState(WireModel):
    """Whether limits are kept at all."""

    state: str


class Rates(WireModel):
    """Averages over the last interval; None where there is none."""

    read: float | None = None
    write: float | None = None


class Metric(WireModel):
    """Operations and bytes a second, latencies in microseconds."""

    iops: Rates = Rates()
    throughput: Rates = Rates()
    latency: Rates = Rates()


class Volume(WireModel):
    """A FlexVol or FlexGroup volume."""

    uuid: str
    name: str
    svm: Named
    state: str
    type: str = "rw"
    nas: Nas = Nas()
    space: Space
    quota: QuotaState
    metric: Metric = Metric()


class Client(WireModel):
    """Whom an export rule is for."""

    match: str


class ExportRule(WireModel):
    """One rule of an export policy."""

    clients: Sequence[Client] = ()


class ExportPolicy(WireModel):
    """Who may mount."""

    name: str
    rules: Sequence[ExportRule] = ()


class Qtree(WireModel):
    """A qtree; the name of number 0, which is the volume, is empty."""

    id: int
    name: str = ""


class QtreeRef(WireModel):
    """A qtree as rules and reports name it."""

    id: int | None = None
    name: str = ""


class Rule(WireModel):
    """What is to be enforced; the rule of no qtree is the default one."""

    uuid: str
    qtree: QtreeRef = QtreeRef()


class Used(WireModel):
    """What is used."""

    total: int | None = None


class Counted(WireModel):
    """A limit that is in force, and what is used of it."""

    hard_limit: int | None = None
    used: Used = Used()


class Report(WireModel):
    """What is in force on a qtree."""

    qtree: QtreeRef = QtreeRef()
    space: Counted = Counted()
    files: Counted = Counted()


class JobError(WireModel):
    """Why a job failed; the code is a text here."""

    code: str = ""
    message: str = ""


class Job(WireModel):
    """Work that goes on after the answer; the code is a number here."""

    uuid: str
    state: str
    code: int | None = None
    message: str = ""
    error: JobError | None = None


class JobRef(WireModel):
    """The job that an answer names."""

    uuid: str


class Accepted(WireModel):
    """The answer to a change that is not done yet."""

    job: JobRef

"""What Hammerspace answers, as far as we read it; names from HammerSDK and the CSI plugin."""

from typing import Any, Final

from pydantic import Field, RootModel

from vfolder_backends.transport.parsing import WireModel

ENDED: Final = frozenset({"COMPLETED", "FAILED", "HALTED", "CANCELLED"})
DONE: Final = "COMPLETED"


class Uoid(WireModel):
    """How an object is known."""

    uuid: str


class Figures(WireModel):
    """Of bytes, or of inodes."""

    total: int | None = None
    used: int | None = None


class Share(WireModel):
    """A share; `limit` in bytes, None or 0 is none."""

    uoid: Uoid
    name: str
    path: str
    comment: str | None = None
    state: str = Field(default="", alias="shareState")
    limit_bytes: int | None = Field(default=None, alias="shareSizeLimit")
    space: Figures | None = None
    inodes: Figures | None = None

    @property
    def limit(self) -> int | None:
        """The limit in bytes, None is unlimited."""
        return self.limit_bytes or None


class Whole(RootModel[dict[str, Any]]):
    """An object with all its fields: a change sends all of them back."""


class Shares(RootModel[list[dict[str, Any]]]):
    """Lists are bare."""


class Task(WireModel):
    """Work that goes on after the answer."""

    status: str
    message: str | None = Field(default="", alias="statusMessage")


class CapacityFigures(WireModel):
    """Bytes of the whole system."""

    total: int
    used: int


class State(WireModel):
    """The system's state."""

    capacity: CapacityFigures

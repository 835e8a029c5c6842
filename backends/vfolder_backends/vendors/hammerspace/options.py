"""What a StorageBackend of type `hammerspace` says in `parameters`.

Several facts about Hammerspace are documented nowhere in public; each of them is an option here,
and a wrong one is noticed: what was written is read back.
"""

import ipaddress
import re
from enum import StrEnum
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from vfolder_backends.config import Options, absolute_path

NAME_LENGTH: Final = 80
_PREFIX = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_LONGEST_PREFIX: Final = NAME_LENGTH - 32  # the rest is the scope


class Login(StrEnum):
    """How calls are authenticated."""

    SESSION = "session"
    BASIC = "basic"


class Unlimited(StrEnum):
    """What is written to remove a size limit."""

    NULL = "null"
    ZERO = "zero"


class Spelling(StrEnum):
    """How the parameters of a removal are spelled: as the CSI plugin does, or as the SDK."""

    DASHES = "dashes"
    UNDERSCORES = "underscores"


def _prefix(text: str) -> str:
    if not _PREFIX.fullmatch(text) or len(text) > _LONGEST_PREFIX:
        raise ValueError(
            "must begin with a letter, hold only letters, digits, '_' and '-', and be at most"
            f" {_LONGEST_PREFIX} long"
        )
    return text


def _networks(text: str) -> str:
    found = []
    for part in text.replace(",", " ").split():
        network = ipaddress.ip_network(part)
        if network.prefixlen == 0:
            raise ValueError(f"{part} is everybody; name the networks of the nodes")
        found.append(str(network))
    return ",".join(found)


def _some(text: str) -> str:
    if not text:
        raise ValueError("names no network; nobody could mount a share")
    return text


class HammerspaceOptions(Options):
    """The place in the global namespace that `operatorPath` shows, and how shares are exported."""

    path: Annotated[
        str,
        AfterValidator(absolute_path),
        Field(description="Directory of the global namespace which operatorPath shows."),
    ] = "/"
    node_subnets: Annotated[
        str,
        AfterValidator(_networks),
        AfterValidator(_some),
        Field(
            alias="nodeSubnets",
            description="Networks of the nodes: read and write, root squashed. Never everybody.",
        ),
    ]
    operator_subnets: Annotated[
        str,
        AfterValidator(_networks),
        Field(
            alias="operatorSubnets",
            description="Networks the operator mounts from: read and write as root.",
        ),
    ] = ""
    share_prefix: Annotated[
        str,
        AfterValidator(_prefix),
        Field(
            alias="sharePrefix",
            description="What the names of our shares begin with; one per StorageBackend.",
        ),
    ] = "vfolder-"
    login: Annotated[
        Login, Field(description="session (a login and its cookie), or basic with every call.")
    ] = Login.SESSION
    unlimited: Annotated[
        Unlimited, Field(description="What removes a size limit: null or zero.")
    ] = Unlimited.NULL
    removal: Annotated[
        Spelling,
        Field(description="Spelling of delete-path and delete-delay: dashes or underscores."),
    ] = Spelling.DASHES
    create_path: Annotated[
        bool,
        Field(
            alias="createPath",
            description="Send create-path=true with a new share, though its directory is there.",
        ),
    ] = False
    task_pause: Annotated[
        float,
        Field(
            alias="taskPause",
            ge=0.01,
            le=10,
            description="Seconds before the first look at a task; doubled up to eight times that.",
        ),
    ] = 0.5

    def exports(self) -> list[dict[str, object]]:
        """The export rules of a share, the operator's first."""
        return [
            {"subnet": subnet, "accessPermissions": "RW", "rootSquash": squash}
            for subnets, squash in ((self.operator_subnets, False), (self.node_subnets, True))
            for subnet in subnets.split(",")
            if subnet
        ]

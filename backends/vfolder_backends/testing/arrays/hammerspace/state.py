"""What a simulated Hammerspace system knows."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Share:
    """A share of a directory; a limit of 0 is none."""

    uuid: str
    name: str
    path: str
    inode: int = 0
    comment: str = ""
    limit: int = 0
    warn: int = 90
    exports: list[dict[str, Any]] = field(default_factory=list)
    extended: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class State:
    """Everything that a change can change; shares by name."""

    shares: dict[str, Share] = field(default_factory=dict)
    last: int = 0


@dataclass(slots=True)
class Settings:
    """How this system behaves where nothing public says it.

    Attributes:
        null_keeps: null leaves a limit as it is; only 0 removes it.
        underscores: removals know their parameters only as the SDK spells them.
        wants_create_path: a share is made only with create-path=true.
        nested: whether shares may lie below others.
        follows: a share's path changes when its directory is renamed.
        basic: whether HTTP Basic is taken.
        fails: how many tasks from now on fail.
        session_seconds: lifetime of a session.
        total_bytes: size of the system.
    """

    null_keeps: bool = False
    underscores: bool = False
    wants_create_path: bool = False
    nested: bool = True
    follows: bool = False
    basic: bool = False
    fails: int = 0
    session_seconds: float = 3600.0
    total_bytes: int = 1 << 40

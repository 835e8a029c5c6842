"""What every command works with, and how it ends."""

import argparse
import enum
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TextIO

from vfolder_backends.registry import Registry

DONE = 0
FAILED = 1
USAGE = 2


class UsageError(Exception):
    """Arguments, or a file they name, cannot be used; nothing was touched."""


@dataclass(frozen=True, slots=True)
class World:
    """Where output goes, and which kinds of storage there are."""

    out: TextIO
    err: TextIO
    registry: Registry = field(default_factory=Registry)


Command = Callable[[argparse.Namespace, World], Awaitable[int]]
"""What runs for one command; returns the exit code."""


class Format(enum.StrEnum):
    """How rows are printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"

"""Identities that cross process borders, parsed strictly and in one place.

A scope and a folder are uuids; on disk and in volume handles they are 32 lower-case hexadecimal
digits. Everything that reaches a path is built from these types, so a path can hold nothing else.
"""

import re
import uuid
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

_HEX32 = re.compile(r"[0-9a-f]{32}")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_BACKEND = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")
_SHARE = re.compile(r"[0-9a-f]{8}")

MAX_HANDLE_LENGTH = 128
"""What the CSI specification lets a volume id be, in bytes."""


@dataclass(frozen=True, slots=True, order=True)
class Hex32:
    """A uuid as the storage shows it: 32 lower-case hexadecimal digits.

    Raises:
        ValueError: the text is not that.
    """

    value: str

    def __post_init__(self) -> None:
        if not _HEX32.fullmatch(self.value):
            raise ValueError(f"{self.value!r} is not 32 lower-case hexadecimal digits")

    @classmethod
    def from_uuid(cls, text: str) -> Self:
        """Parse a lower-case uuid with dashes; an upper-case twin would be a second name."""
        if not _UUID.fullmatch(text):
            raise ValueError(f"{text!r} is not a lower-case uuid such as {uuid.UUID(int=0)}")
        return cls(text.replace("-", ""))

    @property
    def uuid(self) -> str:
        """The same id with dashes."""
        return str(uuid.UUID(self.value))

    def __str__(self) -> str:
        return self.value


class ScopeHex(Hex32):
    """The id of a quota scope on the storage."""

    __slots__ = ()


class FolderHex(Hex32):
    """The id of a folder on the storage."""

    __slots__ = ()


class ScopeKind(StrEnum):
    """Whom a scope belongs to in the predecessor's words; it is not visible on the storage."""

    USER = "user"
    PROJECT = "project"


@dataclass(frozen=True, slots=True)
class QuotaScopeID:
    """`user:<uuid>` or `project:<uuid>`, the textual form in the QuotaScope object."""

    kind: ScopeKind
    hex: ScopeHex

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the textual form.

        Raises:
            ValueError: the text is anything else.
        """
        kind, colon, rest = text.partition(":")
        if not colon or kind not in set(ScopeKind):
            raise ValueError(f"{text!r} does not begin with 'user:' or 'project:'")
        return cls(ScopeKind(kind), ScopeHex.from_uuid(rest))

    def __str__(self) -> str:
        return f"{self.kind}:{self.hex.uuid}"


def check_backend_name(name: str) -> str:
    """Return `name` if it can stand in a volume handle.

    Raises:
        ValueError: it is not a lower-case DNS label of at most 40 characters.
    """
    if not _BACKEND.fullmatch(name):
        raise ValueError(f"{name!r} is not a lower-case DNS label of at most 40 characters")
    return name


@dataclass(frozen=True, slots=True)
class VolumeHandle:
    """`<backend>/<scope>/<folder>[@<share>]`, the CSI volume id and all that a path is made from.

    `share` is eight hexadecimal digits that make the handle of a folder shown in a second namespace
    differ from the first one (two PersistentVolumes may not have the same handle).
    """

    backend: str
    scope: ScopeHex
    folder: FolderHex
    share: str = ""

    def __post_init__(self) -> None:
        check_backend_name(self.backend)
        if self.share and not _SHARE.fullmatch(self.share):
            raise ValueError(f"share {self.share!r} is not 8 lower-case hexadecimal digits")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a handle; exactly what `str()` prints is accepted.

        Raises:
            ValueError: the text is anything else.
        """
        if len(text) > MAX_HANDLE_LENGTH:
            raise ValueError(
                f"volume handle has {len(text)} characters, at most {MAX_HANDLE_LENGTH} may be"
            )
        parts = text.split("/")
        if len(parts) != 3:
            raise ValueError(f"volume handle {text!r} is not <backend>/<scope>/<folder>")
        folder, at, share = parts[2].partition("@")
        if at and not share:
            raise ValueError(f"volume handle {text!r} has an empty share")
        return cls(parts[0], ScopeHex(parts[1]), FolderHex(folder), share)

    def __str__(self) -> str:
        tail = f"@{self.share}" if self.share else ""
        return f"{self.backend}/{self.scope}/{self.folder}{tail}"

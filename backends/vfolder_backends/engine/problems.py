"""What a walk could not do: counted, with the first few by name, never hidden."""

import errno
import os
from collections.abc import Iterable, Mapping
from typing import Any, Final

from vfolder_backends.engine.spans import Path

_NAMED: Final = 20

_GENERAL: Final = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.ENOTCONN,
    errno.ESHUTDOWN,
    errno.ETIMEDOUT,
    errno.EHOSTDOWN,
)

VANISHED: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE)
"""What an entry that is gone, or was swapped for something else, answers with."""


class Problems:
    """Entries left out, by reason.

    Attributes:
        counts: how many there are of each reason: `vanished`, `mount`, `socket`, or the name of an
            error such as `EACCES`, before it what could not be kept, as in `owner: EPERM`.
        named: path and reason of the first of them.
    """

    def __init__(
        self, counts: Mapping[str, int] | None = None, named: Iterable[tuple[str, str]] = ()
    ) -> None:
        self.counts = dict(counts or {})
        self.named = list(named)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Problems) and self.state() == other.state()

    def __repr__(self) -> str:
        return f"Problems({self.counts}, {self.named})"

    def add(self, path: Path, reason: str) -> None:
        """Count one."""
        self.counts[reason] = self.counts.get(reason, 0) + 1
        if len(self.named) < _NAMED:
            self.named.append(("/".join(path) or ".", reason))

    def merge(self, other: "Problems") -> None:
        """Count all of `other`'s too."""
        for reason, count in other.counts.items():
            self.counts[reason] = self.counts.get(reason, 0) + count
        self.named += other.named[: _NAMED - len(self.named)]

    def __bool__(self) -> bool:
        return bool(self.counts)

    def state(self) -> Any:
        """As JSON."""
        return [self.counts, self.named]

    @classmethod
    def restored(cls, state: Any) -> "Problems":
        """From what `state` gave."""
        counts, named = state
        return cls(counts, [(path, reason) for path, reason in named])


def reason_of(error: OSError) -> str:
    """The reason to count an error under."""
    if error.errno in VANISHED:
        return "vanished"
    if error.errno == errno.EXDEV:
        return "mount"
    return errno.errorcode.get(error.errno or 0, str(error.errno))


def general(error: OSError) -> bool:
    """Whether the error is not of one entry, such as no room: then nothing goes on."""
    return error.errno in _GENERAL


def described(error: OSError, path: Path) -> OSError:
    """The same error, with the path below the top in place of a bare name."""
    return OSError(error.errno, os.strerror(error.errno or 0), "/".join(path))

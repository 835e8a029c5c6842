"""Planted secrets: nothing that is logged or raised may hold one of them."""

import logging
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final

_SHORTEST: Final = 4
_STARTS: Final = frozenset({"subprocess.Popen", "os.exec", "os.posix_spawn", "os.system"})


class Texts(logging.Handler):
    """Collects every text that comes out: log records in full, exceptions with their causes.

    Attributes:
        texts: what came out, the command lines of all processes that were started among it.
        planted: secrets to look for beside those that are asked about.
    """

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.texts: list[str] = []
        self.planted: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message, the extra fields and the traceback."""
        parts = [record.getMessage(), repr(record.__dict__)]
        if record.exc_info and record.exc_info[1] is not None:
            parts += traceback.format_exception(record.exc_info[1])
        self.texts += parts

    def caught(self, error: BaseException) -> None:
        """Keep what an exception says, and all that led to it."""
        self.texts += [*traceback.format_exception(error), repr(error)]

    def plant(self, secrets: Iterable[str]) -> None:
        """Look for these, too."""
        self.planted.update(secrets)

    def leaks(self, secrets: Iterable[str]) -> list[str]:
        """Return the texts, our own command line among them, that hold one of `secrets`."""
        arguments = Path("/proc/self/cmdline").read_bytes().decode(errors="replace")
        wanted = [secret for secret in {*secrets, *self.planted} if len(secret) >= _SHORTEST]
        return [t for t in [*self.texts, arguments] if any(secret in t for secret in wanted)]


_LISTENING: Final[set[Texts]] = set()


def _started(event: str, args: tuple[object, ...]) -> None:
    """Keep the arguments of each process that is started."""
    if event in _STARTS:
        for texts in _LISTENING:
            texts.texts.append(f"{event}{args!r}")


@cache
def _watch_processes() -> None:
    # Once and for all: an audit hook cannot be removed.
    sys.addaudithook(_started)


@contextmanager
def listening() -> Iterator[Texts]:
    """Collect what all loggers say at DEBUG, and what is started, for a `with` block."""
    texts = Texts()
    top = logging.getLogger()
    level = top.level
    top.addHandler(texts)
    top.setLevel(logging.DEBUG)
    _watch_processes()
    _LISTENING.add(texts)
    try:
        yield texts
    finally:
        _LISTENING.discard(texts)
        top.setLevel(level)
        top.removeHandler(texts)

"""Planted secrets: nothing that is logged or raised may hold one of them."""

import logging
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


class Texts(logging.Handler):
    """Collects every text that comes out: log records in full, exceptions with their causes."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message, the extra fields and the traceback."""
        parts = [record.getMessage(), repr(record.__dict__)]
        if record.exc_info and record.exc_info[1] is not None:
            parts += traceback.format_exception(record.exc_info[1])
        self.texts += parts

    def caught(self, error: BaseException) -> None:
        """Keep what an exception says, and all that led to it."""
        self.texts += [*traceback.format_exception(error), repr(error)]

    def leaks(self, secrets: Iterable[str]) -> list[str]:
        """Return the texts, our own command line among them, that hold one of `secrets`."""
        arguments = Path("/proc/self/cmdline").read_bytes().decode(errors="replace")
        wanted = [secret for secret in secrets if len(secret) >= 4]
        return [t for t in [*self.texts, arguments] if any(secret in t for secret in wanted)]


@contextmanager
def listening() -> Iterator[Texts]:
    """Collect what all loggers say at DEBUG for the length of a `with` block."""
    texts = Texts()
    top = logging.getLogger()
    level = top.level
    top.addHandler(texts)
    top.setLevel(logging.DEBUG)
    try:
        yield texts
    finally:
        top.setLevel(level)
        top.removeHandler(texts)

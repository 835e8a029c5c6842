"""JSON log lines, one object each, with the correlation id of the call they belong to.

Secrets of the call at hand are known while it runs and are cut out of every line as a last guard;
the first one is that nothing logs a request it has not sanitised.
"""

import json
import logging
import time
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Final

from typing_extensions import override

CORRELATION: ContextVar[str] = ContextVar("correlation", default="")
SECRETS: ContextVar[tuple[str, ...]] = ContextVar("secrets", default=())

REDACTED: Final = "***"
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


def known_secrets(values: Iterable[str]) -> tuple[str, ...]:
    """Return what `scrub` looks for, longest first; a very short value would shred every line."""
    return tuple(sorted({v for v in values if len(v) >= 4}, key=len, reverse=True))


def scrub(text: str) -> str:
    """Cut the secrets of the call at hand out of a text."""
    for secret in SECRETS.get():
        text = text.replace(secret, REDACTED)
    return text


class JsonFormatter(logging.Formatter):
    """Prints a record, and whatever was passed as `extra`, as one JSON object."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        seconds, millis = divmod(int(record.created * 1000), 1000)
        line: dict[str, object] = {
            "time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{millis:03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": scrub(record.getMessage()),
        }
        if correlation := CORRELATION.get():
            line["correlation"] = correlation
        for key, value in vars(record).items():
            if key not in _STANDARD:
                line[key] = value if isinstance(value, int | float) else scrub(str(value))
        if record.exc_info:
            line["exception"] = scrub(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False)


def configure(level: str) -> None:
    """Send everything to standard error as JSON."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)

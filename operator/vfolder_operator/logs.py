"""JSON logs on standard error: one line per record, with the object that is being worked on.

Secrets are kept out at the source: nothing that holds one is ever given to a logger, and the one
library that prints whole API answers at DEBUG is capped here.
"""

import contextlib
import contextvars
import json
import logging
import secrets
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

_context: contextvars.ContextVar[dict[str, str | int]] = contextvars.ContextVar("log_context")

_OWN_FIELDS = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """Prints time, level, logger, message, the context and what was given as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line of JSON."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_context.get({}),
        }
        line.update({k: v for k, v in record.__dict__.items() if k not in _OWN_FIELDS})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


@contextlib.contextmanager
def context(**fields: str | int) -> Iterator[None]:
    """Add fields, and a correlation id where there is none yet, to all records logged inside."""
    merged = {"correlationID": secrets.token_hex(4), **_context.get({}), **fields}
    token = _context.set(merged)
    try:
        yield
    finally:
        _context.reset(token)


def correlation_id() -> str:
    """The correlation id of what is being done, or an empty text."""
    return str(_context.get({}).get("correlationID", ""))


def set_up(level: str) -> None:
    """Send everything to standard error as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("kubernetes_asyncio").setLevel(logging.WARNING)
    logging.getLogger("kopf").setLevel(logging.WARNING)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    logging.getLogger("asyncio").setLevel(logging.WARNING)

"""Progress on standard error: a bar on a terminal, JSON lines elsewhere."""

import argparse
import json
import shutil
import time
from typing import TextIO

from vfolder_backends.port import Progress
from vfolder_operator.adm.output import printable

_BAR_SECONDS = 0.1
_LINE_SECONDS = 2.0
_BAR_WIDTH = 24


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --progress."""
    parser.add_argument(
        "--progress",
        choices=("auto", "bar", "json", "none"),
        default="auto",
        help="on standard error: a bar, JSON lines, or nothing; auto: a bar on a terminal, else "
        "JSON lines",
    )


class Teller:
    """Shows the newest progress, at most so often that nothing is slowed down by it."""

    def __init__(self, err: TextIO, mode: str) -> None:
        if mode == "auto":
            mode = "bar" if err.isatty() else "json"
        self._err = err
        self._mode = mode
        self._pause = _BAR_SECONDS if mode == "bar" else _LINE_SECONDS
        self._shown_at = -self._pause
        self._started = time.monotonic()
        self._last: Progress | None = None
        self._drawn = False
        self._entries = 0

    def __call__(self, progress: Progress) -> None:
        """Take note of how far it is."""
        self._last = progress
        now = time.monotonic()
        if self._mode != "none" and now - self._shown_at >= self._pause:
            self._shown_at = now
            self._show(progress)

    def entries(self, reason: str, more: int) -> None:
        """Count entries that were looked at."""
        self._entries += more
        self(Progress(reason, "", self._entries))

    def clear(self) -> None:
        """Take the bar away, so that a line can be printed."""
        if self._drawn:
            self._err.write("\r\x1b[K")
            self._err.flush()
            self._drawn = False

    def close(self) -> None:
        """Take the bar away; elsewhere, tell the last state."""
        self.clear()
        if self._mode == "json" and self._last is not None:
            self._show(self._last)

    def _show(self, progress: Progress) -> None:
        seconds = time.monotonic() - self._started
        if self._mode == "json":
            line = {
                "progress": progress.reason,
                "message": progress.message,
                "done": progress.done,
                "total": progress.total,
                "seconds": round(seconds, 1),
            }
            self._err.write(json.dumps({k: v for k, v in line.items() if v is not None}) + "\n")
        else:
            width = shutil.get_terminal_size().columns - 1
            self._err.write("\r\x1b[K" + bar(progress, seconds)[:width])
            self._drawn = True
        self._err.flush()


def bar(progress: Progress, seconds: float) -> str:
    """One line: a bar where the end is known, else a count and a rate."""
    message = printable(progress.message)
    if progress.total:
        full = _BAR_WIDTH * min(progress.done, progress.total) // progress.total
        drawn = "#" * full + "-" * (_BAR_WIDTH - full)
        return f"{progress.reason} [{drawn}] {progress.done}/{progress.total} {message}".rstrip()
    rate = progress.done / seconds if seconds else 0.0
    return f"{progress.reason} {progress.done} ({rate:.0f}/s) {message}".rstrip()

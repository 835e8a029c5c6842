"""Rows as a table for people, as CSV, or as JSON lines; one by one, so that any number will do."""

import argparse
import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from vfolder_operator.adm.world import Format, UsageError
from vfolder_operator.display import human_bytes

Value = str | int | bool | None | Mapping[str, str]
Row = Mapping[str, Value]


def printable(text: str) -> str:
    """The text without what a terminal would act upon, or an encoding cannot hold."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        width: in the table; 0 keeps it out of there. The last one is never cut.
        size: whether it holds bytes.
    """

    name: str
    width: int = 0
    title: str = ""
    size: bool = False


class Rows:
    """Prints rows as they come."""

    def __init__(self, out: TextIO, columns: Sequence[Column], form: Format) -> None:
        self._out = out
        self._columns = columns
        self._form = form
        self._shown = [c for c in columns if c.width]
        self._writer = csv.DictWriter(out, [c.name for c in columns], lineterminator="\n")
        if form is Format.TABLE:
            self._line({c.name: c.title or c.name.upper() for c in columns}, head=True)
        elif form is Format.CSV:
            self._writer.writeheader()

    def write(self, row: Row) -> None:
        """Print one."""
        match self._form:
            case Format.TABLE:
                self._line(row)
            case Format.CSV:
                self._writer.writerow({c.name: _cell(row.get(c.name)) for c in self._columns})
            case Format.JSON:
                known = {k: v for k, v in row.items() if v is not None and v != ""}
                self._out.write(json.dumps(known) + "\n")

    def _line(self, row: Row, *, head: bool = False) -> None:
        cells = []
        for column in self._shown:
            value = row.get(column.name)
            text = _cell(value)
            if column.size and not head:
                text = human_bytes(value) if isinstance(value, int) else text or "-"
            cells.append(printable(text or "-").ljust(column.width))
        self._out.write("  ".join(cells).rstrip() + "\n")


def _cell(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return " ".join(f"{key}={text}" for key, text in value.items())
    return printable(str(value))


def add_output(parser: argparse.ArgumentParser, what: str = "a table, CSV, or JSON lines") -> None:
    """Add --output; `what` is it that has the form."""
    parser.add_argument(
        "--output",
        choices=("auto", *Format),
        default="auto",
        help=f"{what}; auto: a table on a terminal, else CSV",
    )


def report_file(path: str) -> TextIO:
    """Open the file that --report names.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        return Path(path).open("w", newline="")
    except OSError as error:
        raise UsageError(f"--report {path}: cannot be written: {error}") from error


def choose(asked: str, out: TextIO) -> Format:
    """The format asked for; by default a table on a terminal and CSV elsewhere."""
    if asked != "auto":
        return Format(asked)
    return Format.TABLE if out.isatty() else Format.CSV

"""Verdicts for people: a report with all of them, a summary, and what was refused in words."""

import argparse
from collections import Counter
from contextlib import ExitStack
from typing import TextIO

from vfolder_backends.adoption.found import Odd
from vfolder_backends.adoption.verdicts import FolderObject, Outcome, ScopeObject, Verdict
from vfolder_operator.adm.output import Column, Row, Rows, printable, report_file
from vfolder_operator.adm.progress import Teller
from vfolder_operator.adm.world import Format

_MOST_LINES = 50

COLUMNS = (
    Column("result"),
    Column("kind"),
    Column("path"),
    Column("scope"),
    Column("folder"),
    Column("namespace"),
    Column("name"),
    Column("limit_bytes"),
    Column("limit_files"),
    Column("reason"),
    Column("message"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --report."""
    parser.add_argument(
        "--report", default="", metavar="FILE", help="write every decision there, as CSV"
    )


class Verdicts:
    """Counts verdicts and tells of those that need somebody."""

    def __init__(self, err: TextIO, teller: Teller, report: str) -> None:
        self._err = err
        self._teller = teller
        self._report = report
        self._counts: Counter[Outcome] = Counter()
        self._bad = 0
        self._stack = ExitStack()
        self._rows: Rows | None = None
        if report:
            file = self._stack.enter_context(report_file(report))
            self._rows = Rows(file, COLUMNS, Format.CSV)

    def close(self) -> None:
        """Close the report."""
        self._stack.close()

    def add(self, verdict: Verdict) -> None:
        """Take note of one."""
        self._counts[verdict.outcome] += 1
        if self._rows is not None:
            self._rows.write(verdict_row(verdict))
        if is_good(verdict):
            return
        self.refuse(f"{verdict.outcome}: {verdict.path}: {verdict.reason}: {verdict.message}")

    def refuse(self, line: str) -> None:
        """Tell of something that was refused."""
        self._bad += 1
        if self._bad <= _MOST_LINES:
            self._teller.clear()
            self._err.write(printable(line) + "\n")

    def summary(self, what: str) -> bool:
        """Print how many there are of each; whether nothing was refused."""
        self._teller.close()
        if self._bad > _MOST_LINES:
            where = self._report or "name a file with --report FILE to have them all"
            self._err.write(f"... and {self._bad - _MOST_LINES} more: {where}\n")
        counts = ", ".join(f"{n} {outcome}" for outcome, n in sorted(self._counts.items()))
        self._err.write(f"{what}: {counts or 'nothing is there'}\n")
        return not self._bad


def is_good(verdict: Verdict) -> bool:
    """Whether nobody has to do anything about it."""
    return verdict.outcome.good or verdict.reason == Odd.FOREIGN


def verdict_row(verdict: Verdict) -> Row:
    """A verdict as columns."""
    made, scope = verdict.made, verdict.made
    if isinstance(made, FolderObject):
        scope = made.scope
    limits = scope.limits if isinstance(scope, ScopeObject) else None
    kind = "folder" if verdict.folder else "scope" if verdict.scope else "other"
    return {
        "result": verdict.outcome,
        "kind": kind,
        "path": verdict.path,
        "scope": verdict.scope.uuid if verdict.scope else None,
        "folder": verdict.folder.uuid if verdict.folder else None,
        "namespace": scope.namespace if isinstance(scope, ScopeObject) else None,
        "name": made.name if made is not None else None,
        "limit_bytes": limits.bytes if limits else None,
        "limit_files": limits.files if limits else None,
        "reason": verdict.reason,
        "message": verdict.message,
    }

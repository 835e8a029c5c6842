"""Work that an array does after it has answered.

Time is counted in calls served, so that tests need not wait: a job is done some calls after it was
begun, and its record is kept for some calls more. A vendor's simulator gives states its own names.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from vfolder_backends.testing.arrays.faults import Kind

_SHORT: Final = 2
_LONG: Final = 25
_KEPT: Final = 50


class Stage(StrEnum):
    """Where a job is."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(slots=True)
class Job:
    """One piece of work; `error` is what it failed with."""

    number: int
    what: str
    due: int
    action: Callable[[], None] | None = field(repr=False)
    stage: Stage = Stage.QUEUED
    error: str = ""
    kept_until: int = 0


class JobFailed(Exception):
    """Raised by an action: the job ends as failed, with this text."""


class Jobs:
    """All jobs of an array; `fault` is what befalls the next one."""

    def __init__(self, short: int = _SHORT, long: int = _LONG, kept: int = _KEPT) -> None:
        self._short, self._long, self._kept = short, long, kept
        self._now = self._last = 0
        self._jobs: dict[int, Job] = {}
        self._lost: set[int] = set()
        self.fault: Kind | None = None

    @property
    def pending(self) -> bool:
        """Whether any job is not done yet."""
        return any(job.stage in (Stage.QUEUED, Stage.RUNNING) for job in self._jobs.values())

    def submit(self, what: str, action: Callable[[], None]) -> int:
        """Begin a job and return its number."""
        self._last += 1
        fault, self.fault = self.fault, None
        if fault is Kind.LOST_JOB:
            return self._last
        due = self._now + (self._long if fault is Kind.SLOW_JOB else self._short)
        self._jobs[self._last] = Job(self._last, what, due, action)
        if fault is Kind.EXPIRED_JOB:
            self._lost.add(self._last)
        return self._last

    def find(self, number: int) -> Job | None:
        """Return a job whose record is still kept."""
        return None if number in self._lost else self._jobs.get(number)

    def tick(self) -> None:
        """Let the time of one call pass."""
        self._now += 1
        for job in list(self._jobs.values()):
            if job.action is not None:
                job.stage = Stage.RUNNING
                if self._now >= job.due:
                    self._run(job)
            elif self._now > job.kept_until:
                del self._jobs[job.number]

    def finish(self) -> None:
        """Let all jobs end now."""
        for job in self._jobs.values():
            if job.action is not None:
                self._run(job)

    def _run(self, job: Job) -> None:
        action, job.action = job.action, None
        job.kept_until = self._now + self._kept
        job.stage = Stage.DONE
        try:
            if action is not None:
                action()
        except JobFailed as error:
            job.stage, job.error = Stage.FAILED, str(error)

"""A kernel that counts projects, and actors whose steps a test puts in any order.

Directories, marks and claims are real files; what is modelled is what this machine's kernel may not
know: the project of a directory, the counters, the limits, and their lateness. Actors are threads
of which one runs at a time, from one step that asks or changes something to the next.
"""

import asyncio
import os
import sys
import threading
from contextlib import contextmanager

import pytest

from vfolder_backends.projects import claims, syscalls
from vfolder_backends.projects.syscalls import Project, Quota

_CHANGES = {"os.mkdir", "os.rmdir", "os.link", "os.rename", "os.remove"}
_here = threading.local()


class Killed(BaseException):
    """A process that is no more; nothing of ours catches it."""


class Actor:
    """One process with one thing to do; runs only while `advance` waits for it."""

    def __init__(self, job):
        self._job = job
        self._may_run, self._parked = threading.Semaphore(0), threading.Semaphore(0)
        self._killed = False
        self.done, self.error = False, None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        self._may_run.acquire()
        _here.actor = self
        try:
            asyncio.run(self._job())
        except Killed:
            self.error = Killed()
        except Exception as error:  # noqa: BLE001 - told to the test
            self.error = error
        finally:
            self.done = True
            _here.actor = None
            self._parked.release()

    def step(self):
        """Called in the actor's thread before each step."""
        self._parked.release()
        self._may_run.acquire()
        if self._killed:
            _here.actor = None  # what is cleaned up on the way out is no step
            raise Killed

    def advance(self, *, kill=False):
        """Let it take one step, or die before it."""
        self._killed = kill
        self._may_run.release()
        assert self._parked.acquire(timeout=30)

    def finish(self):
        """Let it run to its end."""
        while not self.done:
            self.advance()
        self._thread.join()
        return self.error


def _step():
    actor = getattr(_here, "actor", None)
    if actor is not None:
        actor.step()


def _on_audit(event, _args):
    if event in _CHANGES:
        _step()


sys.addaudithook(_on_audit)


class Kernel:
    """Projects of one file system, whichever root they lie below.

    Args:
        late: how many looks at a counter it takes until a removed directory is not counted.
    """

    def __init__(self, late=0):
        self._late = late
        self._inodes = {}
        self._limits = {}

    def get_project(self, fd):
        _step()
        return self._inodes.get(self._key(fd), (None, Project(0, False)))[1]

    def set_project(self, fd, project):
        _step()
        # Held open, so that no other directory gets the same number.
        handle = os.open(f"/proc/self/fd/{fd}", os.O_PATH)
        self._inodes[self._key(fd)] = [handle, project, self._late]

    def get_quota(self, fd, project):
        _step()
        return self._quota(project)

    def list_quotas(self, fd, first=1):
        _step()
        known = {entry[1].id for entry in self._inodes.values()} | set(self._limits)
        for project in sorted(known - {0}):
            if project >= first and not (quota := self._quota(project)).unused:
                yield quota

    def set_limits(self, fd, project, bytes_limit, inodes_limit):
        _step()
        self._limits[project] = (bytes_limit, inodes_limit)

    @staticmethod
    def _key(fd):
        found = os.fstat(fd)
        return found.st_dev, found.st_ino

    def _quota(self, project):
        count = 0
        for entry in self._inodes.values():
            if entry[1].id == project:
                if os.fstat(entry[0]).st_nlink:
                    count += 1
                elif entry[2]:
                    entry[2] -= 1
                    count += 1
        size, inodes = self._limits.get(project, (0, 0))
        return Quota(project, size, 0, inodes, count)

    def limits(self, project):
        """What was set."""
        return self._limits.get(project, (0, 0))

    @contextmanager
    def in_charge(self):
        """Answer in place of this machine's kernel."""
        with pytest.MonkeyPatch.context() as patch:
            for name in ("get_project", "set_project", "get_quota", "list_quotas", "set_limits"):
                patch.setattr(syscalls, name, getattr(self, name))
            patch.setattr(claims.time, "sleep", lambda _: None)
            try:
                yield self
            finally:
                for handle, *_ in self._inodes.values():
                    os.close(handle)

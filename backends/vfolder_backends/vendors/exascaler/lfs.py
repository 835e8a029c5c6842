"""The program `lfs`, called with exact arguments, and as what knows projects and limits.

Never a shell, never names in place of numbers, never units for people. A file is named by its open
descriptor, so that no path can be changed under us. Calls block, and belong into the pool.
"""

import errno
import os
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final

from vfolder_backends.errors import DeadlineExceeded, Misconfigured, Unavailable
from vfolder_backends.projects import syscalls
from vfolder_backends.projects.syscalls import QUOTA_BLOCK, Project, Quota
from vfolder_backends.vendors.exascaler import output

_GRACE: Final = 1.0  # seconds for a killed process to go; one that waits for a server may stay
_MOST: Final = 4096  # characters of output that a message shows at most
_ERRNOS: Final = {
    os.strerror(number): number
    for number in (
        errno.EPERM,
        errno.EACCES,
        errno.EDQUOT,
        errno.ENOSPC,
        errno.ENOENT,
        errno.ESRCH,
        errno.EOPNOTSUPP,
        errno.ENOTTY,
        errno.EINVAL,
        errno.EROFS,
        errno.EIO,
        errno.ETIMEDOUT,
        errno.ENODEV,
        errno.ERANGE,
    )
}
"""lfs ends its messages with the words of strerror(3)."""


class Lfs:
    """One program.

    Args:
        path: its name or path.
        timeout: seconds that one call may take; it is killed then.
    """

    def __init__(self, path: str, timeout: float) -> None:
        self._path = path
        self._timeout = timeout

    def run(self, *words: str, fds: Sequence[int] = ()) -> str:
        """Call it and return what it prints; `fds` are open in it, too.

        Raises:
            Misconfigured: there is no such program.
            DeadlineExceeded: it did not end in time.
            Unavailable: it was killed by somebody.
            OSError: it failed; with the errno that its message names, EIO where it names none.
        """
        try:
            process = subprocess.Popen(
                [self._path, *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=fds,
                env={"LC_ALL": "C", "PATH": os.environ.get("PATH", os.defpath)},
                start_new_session=True,
                text=True,
                errors="replace",
            )
        except OSError as error:
            raise Misconfigured(
                f"parameters.lfsPath: {self._path!r} cannot be run: {error.strerror}"
            ) from error
        try:
            out, err = process.communicate(timeout=self._timeout)
        except subprocess.TimeoutExpired as expired:
            self._kill(process)
            raise DeadlineExceeded(
                f"lfs {words[0]} did not end within {self._timeout:g} s"
            ) from expired
        if process.returncode < 0:
            raise Unavailable(f"lfs {words[0]} was killed by signal {-process.returncode}")
        if process.returncode:
            text = " ".join(err.split())[:_MOST] or f"exit status {process.returncode}"
            number = next((n for words, n in _ERRNOS.items() if words in text), errno.EIO)
            raise OSError(number, text, f"lfs {words[0]}")
        return out

    def _kill(self, process: subprocess.Popen[str]) -> None:
        process.kill()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


class LfsAccounting:
    """A `projects.accounting.Accounting` of one mounted Lustre.

    Args:
        lfs: the program.
        mount_point: what quotas are asked of.
        by_ioctl: whether ids of files are read and set without the program.
    """

    def __init__(self, lfs: Lfs, mount_point: str, *, by_ioctl: bool) -> None:
        self._lfs = lfs
        self._mount_point = mount_point
        self._by_ioctl = by_ioctl
        self._columns = False

    def learn(self) -> None:
        """Use the form made for machines where lfs has it, and it says what the plain one says."""
        self._columns = False
        if not self._has_columns():
            return
        probe = 0  # what belongs to no project: there always is some
        with suppress(OSError, ValueError, Unavailable):
            before, by_columns, after = self._plain(probe), self._by_columns(probe), self._plain(0)
            self._columns = by_columns in (before, after)

    def _has_columns(self) -> bool:
        try:
            text = self._lfs.run("quota", "--help")
        except OSError as error:  # usage is printed as an error by some
            text = str(error)
        return all(word in text for word in ("--delimiter", *output.COLUMNS))

    def get_project(self, fd: int) -> Project:
        """Read the project of an open file or directory."""
        if self._by_ioctl:
            return syscalls.get_project(fd)
        text = self._lfs.run("project", "-d", _name(fd), fds=(fd,))
        try:
            return output.project(text)
        except output.Unreadable as error:
            raise Unavailable(f"lfs project: {error}") from error

    def set_project(self, fd: int, project: Project) -> None:
        """Charge an open file or directory to another project."""
        if self._by_ioctl:
            syscalls.set_project(fd, project)
            return
        sys.audit(syscalls.QUOTA_CHANGE, project.id)
        inherit = ["-s"] if project.inherits else []
        self._lfs.run("project", "-p", str(project.id), *inherit, _name(fd), fds=(fd,))

    def get_quota(self, fd: int, project: int) -> Quota:
        """Read limits and counters of a project."""
        try:
            return self._by_columns(project) if self._columns else self._plain(project)
        except ValueError as error:
            raise Unavailable(f"lfs quota -p {project}: {error}") from error

    def _plain(self, project: int) -> Quota:
        text = self._lfs.run("quota", "-q", "-p", str(project), self._mount_point)
        return output.plain(text, self._mount_point, project)

    def _by_columns(self, project: int) -> Quota:
        words = ("quota", "-q", "-p", str(project), "--delimiter", output.DELIMITER)
        text = self._lfs.run(*words, *output.COLUMNS, self._mount_point)
        return output.columns(text, project)

    def get_quotas(self, fd: int, projects: Collection[int]) -> Mapping[int, Quota]:
        """Read many, one call each: lfs has no list that all versions print."""
        return {project: self.get_quota(fd, project) for project in projects}

    def list_quotas(self, fd: int, first: int = 1) -> Iterator[Quota]:
        """Nothing: see `get_quotas`."""
        return iter(())

    def set_limits(self, fd: int, project: int, bytes_limit: int, inodes_limit: int) -> None:
        """Set all four limits: what is left out may stay as it was."""
        blocks = -(-bytes_limit // QUOTA_BLOCK)
        sys.audit(syscalls.QUOTA_CHANGE, project)
        hard = ("-b", "0", "-B", str(blocks), "-i", "0", "-I", str(inodes_limit))
        self._lfs.run("setquota", "-p", str(project), *hard, self._mount_point)

    def targets(self) -> tuple[int, int]:
        """How many OSTs and MDTs there are."""
        text = self._lfs.run("df", self._mount_point)
        return text.count("[OST:"), text.count("[MDT:")


def _name(fd: int) -> str:
    return f"/proc/self/fd/{fd}"

"""Who knows the projects of files, and their limits and counters.

Where a file system's own system calls do, it is the kernel (`syscalls`, which is such a thing as a
whole); Lustre's are reached through its program `lfs`. All of it blocks, and raises OSError.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Final, Protocol

from vfolder_backends.projects import syscalls
from vfolder_backends.projects.syscalls import Project, Quota


class Accounting(Protocol):
    """See the functions of the same names in `syscalls`; `fd` is open on the file system."""

    def get_project(self, fd: int) -> Project:
        """Read the project of an open file or directory."""
        ...

    def set_project(self, fd: int, project: Project) -> None:
        """Charge an open file or directory to another project."""
        ...

    def get_quota(self, fd: int, project: int) -> Quota:
        """Read limits and counters of a project; one never seen has nothing."""
        ...

    def get_quotas(self, fd: int, projects: Collection[int]) -> Mapping[int, Quota]:
        """Read many; those never seen may be left out."""
        ...

    def list_quotas(self, fd: int, first: int = 1) -> Iterator[Quota]:
        """Read what is known from `first` upward, in rising order; nothing where there is no list.

        It spares asking for ids that are taken, and is never the only word on one.
        """
        ...

    def set_limits(self, fd: int, project: int, bytes_limit: int, inodes_limit: int) -> None:
        """Set both hard limits, 0 for none, and no soft ones."""
        ...


KERNEL: Final[Accounting] = syscalls

"""Trees on disks with project quotas, and how their tests look at them."""

import errno
import json
import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import uuid4

import pytest

from vfolder_backends.errors import Misconfigured
from vfolder_backends.ids import ScopeHex
from vfolder_backends.layout import (
    CONTROL_DIR,
    LAST_PROJECT,
    PROJECTS_DIR,
    project_mark_name,
)
from vfolder_backends.projects import syscalls
from vfolder_backends.projects.syscalls import Project
from vfolder_backends.testing.storages import TreeUnderTest


def project_of(path):
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return syscalls.get_project(fd)
    finally:
        os.close(fd)


def quota_of(path, project=None):
    fd = os.open(path, os.O_RDONLY)
    try:
        return syscalls.get_quota(fd, project or syscalls.get_project(fd).id)
    finally:
        os.close(fd)


@dataclass
class ProjectsUnderTest(TreeUnderTest):
    """Each on a directory of its own of the disk, so all tests of a module share its ids."""

    kind: str = "xfs"
    options: dict[str, object] = field(default_factory=dict)

    def configured(self):
        return replace(super().configured(), **self.options)

    async def tamper(self, scope, limits):
        place = self.root / scope.value
        fd = os.open(place, os.O_RDONLY)
        try:
            project = syscalls.get_project(fd).id
            syscalls.set_limits(fd, project, limits.bytes or 0, limits.files or 0)
        finally:
            os.close(fd)

    def claims(self):
        """The claims of ids, by id."""
        folder = self.root / CONTROL_DIR / PROJECTS_DIR
        if not folder.exists():
            return {}
        return {
            int(path.name): path.read_text().strip()
            for path in folder.iterdir()
            if path.name.isdecimal()
        }

    def snapshot(self):
        """Without mark and claim of the ids that scopes have, if both are right.

        And without claims that wait for the sweep, their scopes gone, marks and all: XFS counts
        what was removed for a moment longer, and a kill may come between claim and mark.
        """
        folder = Path(CONTROL_DIR, PROJECTS_DIR)
        left_out = {str(folder), str(folder / LAST_PROJECT)}
        found, claims = super().snapshot(), self.claims()
        for place in scopes_in(self.root):
            mark = folder / project_mark_name(ScopeHex(place.name))
            project = project_of(place).id
            if claims.get(project) == place.name and str(mark) in found:
                assert json.loads((self.root / mark).read_text()) == {"projectID": project}
                left_out |= {str(mark), str(folder / str(project))}
        for project, scope in claims.items():
            if not any(scope in path for path in found):
                left_out.add(str(folder / str(project)))
        return [path for path in found if path not in left_out]


def scopes_in(root):
    return [
        place
        for place in root.iterdir()
        if re.fullmatch("[0-9a-f]{32}", place.name) and place.is_dir() and not place.is_symlink()
    ]


async def settled(backend, request):
    """Ask for a scope until nothing is left to do."""
    for _ in range(100):
        state = await backend.ensure_scope(request)
        if state.progress is None:
            return state
        assert state.progress.reason == "Tagging"
    raise AssertionError("never settled")


def write_until_refused(path, most):
    """Append to a file; return how much it took, and the name of the error that ended it."""
    written = 0
    fd = -1
    try:
        # Where bytes are full, XFS does not even make an empty file.
        fd = os.open(path, os.O_CREAT | os.O_WRONLY)
        while written < most:
            written += os.write(fd, b"x" * 65536)
            os.fsync(fd)
    except OSError as error:
        return written, errno.errorcode[error.errno]
    finally:
        if fd >= 0:
            os.close(fd)
    return written, None


def set_project(path, project, inherits=False):
    fd = os.open(path, os.O_RDONLY)
    try:
        syscalls.set_project(fd, Project(project, inherits))
    finally:
        os.close(fd)


async def expect_refusal(disk, kind, *words):
    """An attach to a disk that is not right; each of the words must be said."""
    root = disk.mount_point / uuid4().hex
    root.mkdir()
    with pytest.raises(Misconfigured) as caught:
        await ProjectsUnderTest(root, kind).build().attach(None)
    for word in words:
        assert word in str(caught.value)
    assert list(root.iterdir()) == []

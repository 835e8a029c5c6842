"""Trees that get an id although they hold something, and what escaped from one."""

import asyncio
import errno
import os
import subprocess
import time
from dataclasses import replace
from functools import partial

import pytest

from tests.conformance.guest.projects import (
    project_of,
    quota_of,
    set_project,
    settled,
    write_until_refused,
)
from vfolder_backends.errors import NotOurs
from vfolder_backends.layout import (
    CONTROL_DIR,
    MARKS_DIR,
    PROJECTS_DIR,
    tagging_note_name,
)
from vfolder_backends.port import Adoption
from vfolder_backends.projects import tagging
from vfolder_backends.projects.tagging import Tally
from vfolder_backends.testing.conformance.base import (
    DATASETS,
    LIMITS,
    MIB,
    OTHER_SCOPE,
    SCOPE,
    TEAM,
    scope_request,
)
from vfolder_backends.testing.conformance.operations import MAX_STEPS, Things
from vfolder_backends.testing.crash import run_and_kill

SYSTEM_PYTHON = "/usr/bin/python3"
"""Not the environment's: that may lie where only root may go."""

CHANGE_PROJECTS = """
import fcntl, os, struct, sys
for path, project in zip(sys.argv[1::2], sys.argv[2::2]):
    fd = os.open(path, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, 0x401C5820, struct.pack("=IIIII8x", 0, 0, 0, int(project), 0))
    except OSError as error:
        print(os.path.basename(path), error.errno)
"""


class TaggingRules:
    """For classes that bind `ProjectConformance`."""

    def existing_tree(self, place):
        """A tree that somebody left, with a part that belongs to another project."""
        (place / "f0" / "f1" / "data").mkdir(parents=True)
        (place / "f0" / "f1" / "data" / "file").write_bytes(b"x" * 65536)
        (place / "file").write_text("x")
        (place / "link").symlink_to("file")
        os.mkfifo(place / "pipe")
        foreign = place / "foreign"
        foreign.mkdir()
        set_project(foreign, 4711, inherits=True)
        (foreign / "file").write_text("x")
        return {
            path: 4711 if "foreign" in path.parts else None
            for path in (place, *place.rglob("*"))
            if not path.is_symlink() and not path.is_fifo()
        }

    async def test_an_existing_tree_gets_an_id(self, storage, backend):
        place = storage.root / SCOPE.value
        expected = self.existing_tree(place)
        assert await backend.prepare_scope(SCOPE, {}) == {}
        with pytest.raises(NotOurs):
            await backend.ensure_scope(scope_request())
        assert storage.claims() == {}
        state = await settled(backend, replace(scope_request(), adoption=Adoption()))
        project = state.ref["projectID"]
        for path, other in expected.items():
            found = project_of(path)
            assert found.id == (other or project)
            assert found.inherits == path.is_dir()
        assert quota_of(place).inodes_used == len([p for p in expected.values() if p is None])
        survey = await backend.survey_scope(SCOPE)
        assert (survey.complete, survey.escaped) == (True, 2)
        assert sorted(survey.examples) == [f"{SCOPE}/foreign", f"{SCOPE}/foreign/file"]
        await backend.set_limits(SCOPE, TEAM, LIMITS)
        assert write_until_refused(place / "f0" / "f1" / "big", 16 * MIB)[1] == self.refusal

    async def test_an_immutable_file_does_not_hold_up_the_rest(self, storage, backend):
        place = storage.root / SCOPE.value
        place.mkdir()
        for name in ("fixed", "other"):
            (place / name).write_text("x")
        subprocess.run(["chattr", "+i", place / "fixed"], check=True)
        try:
            state = await settled(backend, replace(scope_request(), adoption=Adoption()))
            assert project_of(place / "other").id == state.ref["projectID"]
            survey = await backend.survey_scope(SCOPE)
            assert survey.escaped == (project_of(place / "fixed").id == 0)
        finally:
            subprocess.run(["chattr", "-i", place / "fixed"], check=True)

    async def test_an_existing_id_is_kept(self, storage, backend):
        place = storage.root / SCOPE.value
        (place / "f0").mkdir(parents=True)
        set_project(place, 4712, inherits=True)
        (place / "new").write_text("x")
        request = replace(scope_request(), adoption=Adoption())
        assert await backend.prepare_scope(SCOPE, {}) == {"projectID": 4712}
        assert (await settled(backend, request)).ref == {"projectID": 4712}
        assert {project_of(path).id for path in place.rglob("*")} == {4712}
        second = storage.root / OTHER_SCOPE.value
        second.mkdir()
        set_project(second, 4712, inherits=True)
        with pytest.raises(NotOurs, match=f"4712.*{SCOPE}"):
            await backend.ensure_scope(
                replace(scope_request(DATASETS, OTHER_SCOPE), adoption=Adoption())
            )
        second.rmdir()

    async def test_killed_while_a_tree_is_tagged(self, storage, backend):
        """Each step on a tree of its own; the operator's next call finishes it."""
        root_id = await backend.attach(None)
        for step in range(1, MAX_STEPS):
            things = Things(root_id, step)
            place = storage.root / things.scope.scope.value
            expected = self.existing_tree(place)
            doomed = partial(adopt, things=things)
            killed = await asyncio.to_thread(run_and_kill, storage, doomed, step)
            state = await settled(backend, replace(things.scope, adoption=Adoption()))
            project = state.ref["projectID"]
            for path, other in expected.items():
                assert project_of(path).id == (other or project)
            marks = storage.root / CONTROL_DIR / MARKS_DIR / place.name
            assert [path.name for path in marks.iterdir()] == ["scope"]
            noted = storage.root / CONTROL_DIR / PROJECTS_DIR
            assert not (noted / tagging_note_name(things.scope.scope)).exists()
            assert storage.claims()[project] == place.name
            if not killed:
                assert step > 8
                return
        raise AssertionError("too many steps")

    async def test_walks_go_on_from_call_to_call(self, storage, backend):
        """With next to no time for each call, as for a tree of millions."""
        place = storage.root / SCOPE.value
        for number in range(3):
            (place / f"{number}").mkdir(parents=True)
            for name in range(1500):
                (place / f"{number}" / f"{name}").touch()
        root, seen = os.open(storage.root, os.O_RDONLY), []
        tagging.begin(root, SCOPE, 4716)
        while progress := tagging.tag(root, SCOPE, 4716, time.monotonic() + 0.01):
            seen.append(progress.done)
        assert seen == sorted(seen)
        assert len(seen) > 1
        assert quota_of(place).inodes_used == 4504
        set_project(place / "1" / "700", 0)
        cursor, tally, calls = None, Tally(), 0
        while calls == 0 or cursor is not None:
            stop_at = time.monotonic() + 0.01
            cursor = tagging.find_escaped(root, SCOPE, cursor, tally, stop_at)
            calls += 1
        os.close(root)
        assert calls > 1
        assert (tally.entries, tally.other, tally.examples) == (4503, 1, ["1/700"])

    async def test_an_owner_who_changes_projects_is_found(self, storage, backend, folder):
        """Uid 1000 clears his file's project and charges another one's; root's folders stay."""
        top = storage.path(SCOPE, folder)
        for name in ("cleared", "charged", "honest"):
            (top / name).write_bytes(b"x" * 65536)
            os.chown(top / name, 1000, 1000)
        (top / "subfolder").mkdir()
        os.chown(top / "subfolder", 1000, 1000)
        words = [top / "cleared", "0", top / "charged", "4713", top / "subfolder", "0"]
        scope_top = [storage.root / SCOPE.value, "0"]
        as_owner = ["setpriv", "--reuid=1000", "--regid=1001", "--clear-groups"]
        in_namespace = [*as_owner, "unshare", "--user", "--map-root-user"]
        python = [SYSTEM_PYTHON, "-I", "-c", CHANGE_PROJECTS]

        def play(prefix):
            command = [*prefix, *python, *words, *scope_top]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            return dict(line.split() for line in done.stdout.splitlines())

        os.chmod(storage.root / SCOPE.value, 0o755)
        refused = play(in_namespace)
        assert set(refused.values()) <= {str(errno.EINVAL), str(errno.EPERM)}
        assert {
            name: refused[name] for name in ("cleared", "charged", "subfolder")
        } == dict.fromkeys(("cleared", "charged", "subfolder"), str(errno.EINVAL))
        assert (await backend.survey_scope(SCOPE)).escaped == 0
        assert play(as_owner) == {SCOPE.value: str(errno.EPERM)}
        survey = await backend.survey_scope(SCOPE)
        assert survey.escaped == 3
        where = f"{SCOPE}/{top.relative_to(storage.root / SCOPE.value)}"
        assert sorted(survey.examples) == [
            f"{where}/{name}" for name in ("charged", "cleared", "subfolder")
        ]
        assert project_of(top / "charged").id == 4713  # found, told, and never changed


async def adopt(backend, things):
    await backend.attach(things.root_id)
    await settled(backend, replace(things.scope, adoption=Adoption()))

"""What XFS and ext4 share: the suite on a real file system, and what only project quotas do."""

import asyncio
import ctypes
import errno
import json
import os
import re
import subprocess
import time
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest

from vfolder_backends.errors import Misconfigured, NotOurs
from vfolder_backends.ids import ScopeHex
from vfolder_backends.layout import (
    CONTROL_DIR,
    LAST_PROJECT,
    MARKS_DIR,
    PROJECTS_DIR,
    project_mark_name,
    tagging_note_name,
)
from vfolder_backends.port import Adoption, Limits
from vfolder_backends.projects import syscalls, tagging
from vfolder_backends.projects.syscalls import Project
from vfolder_backends.projects.tagging import Tally
from vfolder_backends.testing.conformance import TreeConformance
from vfolder_backends.testing.conformance.base import (
    DATASETS,
    LIMITS,
    MIB,
    OTHER_SCOPE,
    SCOPE,
    TEAM,
    purge_all,
    scope_request,
)
from vfolder_backends.testing.conformance.operations import MAX_STEPS, Things
from vfolder_backends.testing.crash import run_and_kill
from vfolder_backends.testing.storages import TreeUnderTest

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


class ProjectConformance(TreeConformance):
    """The suite, bound by `disk` (where it is mounted), `kind` and `refusal` (at a limit)."""

    kind = ""
    refusal = ""
    disk = Path()

    @pytest.fixture
    def storage(self):
        root = self.disk / uuid4().hex
        root.mkdir()
        yield ProjectsUnderTest(root, self.kind)
        if root.is_dir():
            ids = [project_of(place).id for place in scopes_in(root)]
            assert len(set(ids)) == len(ids), "one id for two scopes"

    async def test_capabilities_tell_the_truth(self, storage, capabilities):
        assert capabilities.over_limit_errno == self.refusal
        assert (capabilities.df_shows, capabilities.accounting) == ("Scope", "Allocated")
        level = capabilities.enforcement
        assert (level.bytes, level.files) == ("Cooperative", "Cooperative")
        assert "hostUsers: false" in level.message
        for options in ({"user_namespaces": True}, {"node_fs_type": "nfs4"}):
            other = replace(storage, options=options).build()
            await other.attach(None)
            assert (await other.probe()).capabilities.enforcement.bytes == "Enforced"
            await other.close()

    async def test_limits_hold_and_df_shows_them(self, storage, backend, folder):
        top = storage.path(SCOPE, folder)
        await backend.set_limits(SCOPE, TEAM, Limits(bytes=2 * MIB))
        shown = os.statvfs(top)
        assert shown.f_blocks * shown.f_frsize == 2 * MIB
        written, error = write_until_refused(top / "big", 16 * MIB)
        assert error == self.refusal
        assert 2 * MIB - 128 * 1024 <= written <= 2 * MIB
        assert 2 * MIB - 65536 <= (await backend.describe_scope(SCOPE)).usage.bytes <= 2 * MIB
        await backend.set_limits(SCOPE, TEAM, Limits(bytes=MIB))
        assert write_until_refused(top / "more", MIB)[1] == self.refusal
        await backend.set_limits(SCOPE, TEAM, Limits())
        assert write_until_refused(top / "more", 4 * MIB) == (4 * MIB, None)

    async def test_limits_on_files_count_directories(self, storage, backend, folder):
        here = (await backend.describe_scope(SCOPE)).usage.files
        assert here == 4  # the scope, two levels, the folder
        await backend.set_limits(SCOPE, TEAM, Limits(files=here + 2))
        top = storage.path(SCOPE, folder)
        assert os.statvfs(top).f_files == here + 2
        (top / "file").touch()
        (top / "directory").mkdir()
        with pytest.raises(OSError, match=os.strerror(getattr(errno, self.refusal))):
            (top / "one more").touch()
        await backend.set_limits(SCOPE, TEAM, Limits())
        (top / "one more").touch()

    @pytest.mark.parametrize("full", ["bytes", "files"])
    async def test_a_full_scope_can_be_emptied(self, storage, backend, folder, full):
        (storage.path(SCOPE, folder) / "file").write_bytes(b"x" * MIB)
        (storage.path(SCOPE, folder) / "a" / "b").mkdir(parents=True)
        usage = (await backend.describe_scope(SCOPE)).usage
        limits = Limits(bytes=4096) if full == "bytes" else Limits(files=usage.files)
        await backend.set_limits(SCOPE, TEAM, limits)
        with pytest.raises(OSError, match=os.strerror(getattr(errno, self.refusal))):
            (storage.path(SCOPE, folder) / "directory").mkdir()
        await backend.trash_folder(SCOPE, folder, DATASETS)
        await backend.restore_folder(SCOPE, folder, DATASETS)
        await backend.trash_folder(SCOPE, folder, DATASETS)
        assert (await purge_all(backend)).removed_folders == 1
        await backend.delete_scope(SCOPE, TEAM)

    async def test_ids_are_recorded_shown_and_never_given_again(self, storage, backend):
        seen = []
        for _ in range(3):
            ref = await backend.prepare_scope(SCOPE, {})
            assert await backend.prepare_scope(SCOPE, ref) == ref
            state = await backend.ensure_scope(replace(scope_request(), ref=ref))
            assert state.ref == ref == {"projectID": project_of(storage.root / SCOPE.value).id}
            seen.append(ref["projectID"])
            await backend.delete_scope(SCOPE, TEAM)
            assert quota_of(storage.root, seen[-1]).bytes_limit == 0
        assert len(set(seen)) == 3
        assert min(seen) >= 0x10000000

    async def test_what_was_reserved_and_never_made_is_given_back(self, storage, backend):
        ref = await backend.prepare_scope(SCOPE, {})
        assert list(storage.claims()) == [ref["projectID"]]
        await backend.delete_scope(SCOPE, TEAM)
        assert storage.claims() == {}

    async def test_ids_in_use_are_passed_over(self, storage, backend):
        """By somebody's files, by somebody's limits, by another scope's claim."""
        first = (await backend.prepare_scope(OTHER_SCOPE, {}))["projectID"]
        foreign = storage.root / "foreign"
        foreign.mkdir()
        set_project(foreign, first + 1)
        root = os.open(storage.root, os.O_RDONLY)
        syscalls.set_limits(root, first + 2, MIB, 0)
        os.close(root)
        assert await backend.prepare_scope(SCOPE, {}) == {"projectID": first + 3}
        ledger_gone_back = await backend.prepare_scope(SCOPE, {"projectID": first})
        assert ledger_gone_back == {"projectID": first + 3}
        assert quota_of(storage.root, first + 2).bytes_limit == MIB
        foreign.rmdir()

    async def test_an_id_that_is_taken_after_it_was_claimed_is_left(self, storage, backend):
        ref = await backend.prepare_scope(SCOPE, {})
        foreign = storage.root / "foreign"
        foreign.mkdir()
        set_project(foreign, ref["projectID"])
        state = await backend.ensure_scope(replace(scope_request(), ref=ref))
        assert state.ref != ref
        assert project_of(foreign).id == ref["projectID"]
        assert quota_of(foreign).bytes_limit == 0
        assert set(storage.claims()) == {state.ref["projectID"]}
        foreign.rmdir()

    async def test_two_roots_on_one_file_system(self, storage, backend):
        """Their claims do not see each other, the kernel's table sees both."""
        beside = storage.root / "beside"
        beside.mkdir()
        other = replace(storage, root=beside).build()
        await other.attach(None)
        requests = [
            replace(scope_request(replace(TEAM, name=f"q{n}"), ScopeHex(f"{n:032x}")))
            for n in range(6)
        ]
        states = []
        for request in requests:
            ref = await other.prepare_scope(request.scope, {})
            pairs = ((backend, {}), (other, ref))
            for one, known in pairs:
                states.append(await one.ensure_scope(replace(request, ref=known)))
        ids = [state.ref["projectID"] for state in states]
        assert len(set(ids)) == len(ids)
        await other.close()

    async def test_many_are_read_in_one_pass(self, storage, backend):
        for number in range(20):
            scope = ScopeHex(f"{number:032x}")
            request = scope_request(replace(TEAM, name=f"q{number}"), scope)
            await backend.ensure_scope(replace(request, limits=Limits((number + 1) * MIB)))
        states = [state async for state in backend.list_scopes()]
        assert [state.limits.bytes for state in states] == [(n + 1) * MIB for n in range(20)]
        assert {state.usage.files for state in states} == {1}

    async def test_former_claims_are_swept(self, storage, backend):
        """Of a scope that is gone, its limits included; never of one that is there."""
        kept = (await backend.ensure_scope(scope_request())).ref["projectID"]
        gone, young = kept + 10, kept + 11
        root = os.open(storage.root, os.O_RDONLY)
        folder = storage.root / CONTROL_DIR / PROJECTS_DIR
        for project in (gone, young):
            (folder / str(project)).write_text(f"{OTHER_SCOPE}\n")
            syscalls.set_limits(root, project, MIB, 10)
        for project in (kept, gone):
            os.utime(folder / str(project), (0, 0))
        await backend.probe()
        assert set(storage.claims()) == {kept, young}
        assert syscalls.get_quota(root, gone).unused
        assert syscalls.get_quota(root, kept).bytes_limit == LIMITS.bytes
        syscalls.set_limits(root, young, 0, 0)
        os.close(root)

    async def test_killed_while_an_id_is_reserved(self, storage, backend):
        """One id for each scope, whatever was half done; and given back, all is gone."""
        root_id, ids = await backend.attach(None), set()
        for step in range(1, MAX_STEPS):
            things = Things(root_id, step)
            doomed = partial(prepare, things=things)
            killed = await asyncio.to_thread(run_and_kill, storage, doomed, step)
            if step % 2:
                await backend.delete_scope(things.scope.scope, things.scope.owner)
            ref = await backend.prepare_scope(things.scope.scope, {})
            assert ref["projectID"] not in ids
            ids.add(ref["projectID"])
            assert storage.claims()[ref["projectID"]] == things.scope.scope.value
            state = await backend.ensure_scope(replace(things.scope, ref=ref))
            assert state.ref == ref
            if not killed:
                assert step > 3
                return
        raise AssertionError("too many steps")

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

    async def test_a_root_inside_a_project_is_refused(self, storage):
        inside = storage.root / "inside"
        inside.mkdir()
        set_project(inside, 4714, inherits=True)
        with pytest.raises(Misconfigured, match="4714"):
            await replace(storage, root=inside).build().attach(None)
        assert list(inside.iterdir()) == []

    async def test_the_old_call_by_device_node_tells_the_same(self, storage, backend, scope):
        root = os.open(storage.root, os.O_RDONLY)
        project = project_of(storage.root / scope.value).id
        answers = []
        for call in (syscalls.by_descriptor, syscalls.by_device):
            buffer = ctypes.create_string_buffer(syscalls.DQBLK.size)
            call(root, syscalls.Q_GETQUOTA, project, buffer)
            answers.append(buffer.raw)
        os.close(root)
        assert answers[0] == answers[1] != bytes(syscalls.DQBLK.size)


async def prepare(backend, things):
    await backend.attach(things.root_id)
    await backend.prepare_scope(things.scope.scope, {})


async def adopt(backend, things):
    await backend.attach(things.root_id)
    await settled(backend, replace(things.scope, adoption=Adoption()))


async def expect_refusal(disk, kind, *words):
    """An attach to a disk that is not right; each of the words must be said."""
    root = disk.mount_point / uuid4().hex
    root.mkdir()
    with pytest.raises(Misconfigured) as caught:
        await ProjectsUnderTest(root, kind).build().attach(None)
    for word in words:
        assert word in str(caught.value)
    assert list(root.iterdir()) == []

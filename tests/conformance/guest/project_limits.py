"""Limits by project quotas: that they hold, how they show, and where they are not taken."""

import ctypes
import errno
import os
from dataclasses import replace

import pytest

from tests.conformance.guest.projects import (
    project_of,
    set_project,
    write_until_refused,
)
from vfolder_backends.errors import Misconfigured
from vfolder_backends.ids import ScopeHex
from vfolder_backends.port import Limits
from vfolder_backends.projects import syscalls
from vfolder_backends.testing.conformance.base import (
    DATASETS,
    MIB,
    SCOPE,
    TEAM,
    purge_all,
    scope_request,
)


class LimitRules:
    """For classes that bind `ProjectConformance`."""

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

    async def test_many_are_read_in_one_pass(self, storage, backend):
        for number in range(20):
            scope = ScopeHex(f"{number:032x}")
            request = scope_request(replace(TEAM, name=f"q{number}"), scope)
            await backend.ensure_scope(replace(request, limits=Limits((number + 1) * MIB)))
        states = [state async for state in backend.list_scopes()]
        assert [state.limits.bytes for state in states] == [(n + 1) * MIB for n in range(20)]
        assert {state.usage.files for state in states} == {1}

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

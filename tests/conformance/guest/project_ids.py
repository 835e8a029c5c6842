"""Project ids: each for one scope, whoever else uses some, whatever was half done."""

import asyncio
import itertools
import os
from dataclasses import replace
from functools import partial

from tests.conformance.guest.projects import (
    project_of,
    quota_of,
    set_project,
)
from vfolder_backends.ids import ScopeHex
from vfolder_backends.layout import (
    CONTROL_DIR,
    PROJECTS_DIR,
)
from vfolder_backends.projects import syscalls
from vfolder_backends.testing.conformance.base import (
    LIMITS,
    MIB,
    OTHER_SCOPE,
    SCOPE,
    TEAM,
    scope_request,
)
from vfolder_backends.testing.conformance.operations import MAX_STEPS, Things
from vfolder_backends.testing.crash import run_and_kill


class IdRules:
    """For classes that bind `ProjectConformance`."""

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
        # Other tests on this disk may have left some in use between them.
        free = (n for n in itertools.count(first + 1) if quota_of(storage.root, n).unused)
        charged, limited, next_one = itertools.islice(free, 3)
        foreign = storage.root / "foreign"
        foreign.mkdir()
        set_project(foreign, charged)
        root = os.open(storage.root, os.O_RDONLY)
        syscalls.set_limits(root, limited, MIB, 0)
        assert await backend.prepare_scope(SCOPE, {}) == {"projectID": next_one}
        ledger_gone_back = await backend.prepare_scope(SCOPE, {"projectID": first})
        assert ledger_gone_back == {"projectID": next_one}
        assert quota_of(storage.root, limited).bytes_limit == MIB
        syscalls.set_limits(root, limited, 0, 0)
        os.close(root)
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


async def prepare(backend, things):
    await backend.attach(things.root_id)
    await backend.prepare_scope(things.scope.scope, {})

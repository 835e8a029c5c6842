"""The suite on a simulated FlashBlade over HTTPS, and what only FlashBlade does."""

import errno
import os
from dataclasses import replace

import pytest

from vfolder_backends.errors import (
    BackendError,
    DataMissing,
    Misconfigured,
    NotEmpty,
    PathConflict,
    PermissionDenied,
    Unavailable,
    Unsupported,
)
from vfolder_backends.facts import PerformanceMetrics
from vfolder_backends.port import Limits
from vfolder_backends.registry import Registry
from vfolder_backends.testing.array_storage import ArrayUnderTest
from vfolder_backends.testing.arrays.calls import Call
from vfolder_backends.testing.arrays.disk import Limit
from vfolder_backends.testing.arrays.flashblade.state import EVERYBODY
from vfolder_backends.testing.conformance import (
    ArrayConformance,
    ArrayTests,
    Doubtful,
    FactRules,
    Refused,
)
from vfolder_backends.testing.conformance.base import (
    LIMITS,
    MIB,
    SCOPE,
    TEAM,
    folder_request,
    scope_request,
)
from vfolder_backends.tree import scopes
from vfolder_backends.vendors.flashblade import views

RULES = "10.1.0.7(rw,no_root_squash) 10.1.0.0/16(rw,root_squash) @nodes(rw,root_squash)"
READER = {"apiToken": "T-51e1a7ed-0000-4000-8000-000000000002"}
NOT_CLIENTS = ("", "*", "0.0.0.0/0", "::/0", "*.example.com", "10.0.0.1/33", "a(rw)", "10.0.0.1,b")


class FlashBladeUnderTest(ArrayUnderTest):
    kind = "flashblade"
    account = {"apiToken": "T-51e1a7ed-0000-4000-8000-000000000001"}
    options = {
        "view": "Directories",
        "operatorClients": "10.1.0.7",
        "nodeClients": "10.1.0.0/16 @nodes",
    }

    def parameters(self):
        if self.server is not None:
            self.array.settings.view = self.root_path[1:]
        return self.config.parameters

    def file_system(self, scope=SCOPE):
        """The one of that name."""
        with self.array.lock:
            (found,) = [f for f in self.array.state.file_systems.values() if f.name == scope.value]
        return found

    def built(self, **options):
        """A backend with other options."""
        return Registry().build(self.configured(parameters={**self.parameters(), **options}))


async def destroy(storage, backend):
    client = backend._driver._client
    await client.destroy(await client.find(SCOPE.value))


class TestFlashBlade(ArrayConformance, FactRules):
    under_test = FlashBladeUnderTest
    rates = PerformanceMetrics(120, 60, 3 << 20, 1 << 20, 250e-6, 500e-6)
    aliases = ("purestorage",)
    variants = (
        {"versions": ("2.0",)},
        {"taken": "Name is in use."},
        {"page": 2},
    )
    refusals = {
        "a role that may not change file systems": Refused(
            PermissionDenied, "storage_admin", settings={"forbidden": 403}, credentials=READER
        ),
        "the same, told as a wrong call": Refused(
            PermissionDenied, "storage_admin", settings={"forbidden": 400}, credentials=READER
        ),
        "a wrong token": Refused(
            PermissionDenied,
            "401, Invalid credentials",
            credentials={"apiToken": "T-planted-and-wrong"},
        ),
        "an old array": Refused(
            Unsupported, r"2\.0 or newer", settings={"versions": ("1.8", "1.12")}
        ),
        "a FlashArray": Refused(Unsupported, "Purity//FA", settings={"os": "Purity//FA"}),
    }
    doubts = (
        Doubtful("rebuilt", settings={"parity": 0.9}),
        Doubtful("2 critical alerts", settings={"alerts": 2}),
    )
    wrong_options = tuple(
        (key, clients) for key in ("operatorClients", "nodeClients") for clients in NOT_CLIENTS
    )


class TestOnlyFlashBlade(ArrayTests):
    under_test = FlashBladeUnderTest

    async def test_either_word_for_over_the_limit(self, storage, backend):
        storage.array.disk.over_limit = errno.EDQUOT
        await backend.ensure_scope(scope_request())
        await backend.ensure_folder(folder_request())
        with pytest.raises(OSError, match=os.strerror(errno.EDQUOT)):
            await storage.fill(SCOPE, folder_request().folder, 2 * LIMITS.bytes)

    async def test_a_file_system_is_never_open_to_everybody(self, storage, backend):
        await backend.ensure_scope(scope_request())
        made = storage.file_system()
        assert made.rules == RULES
        assert (made.v3, made.v4, made.snapshots, made.fast_remove) == (False, True, False, False)
        assert (storage.root / SCOPE.value).stat().st_mode & 0o7777 == 0o711
        assert (await backend.probe()).warnings == ()
        made.rules = EVERYBODY
        (warning,) = (await backend.probe()).warnings
        assert EVERYBODY in warning

    async def test_a_deleted_scope_can_be_recovered_and_made_anew(self, storage, backend):
        """Destroyed under another name, which keeps ours free."""
        await backend.ensure_scope(scope_request())
        first = storage.file_system()
        await backend.delete_scope(SCOPE, TEAM)
        assert first.destroyed
        assert first.name.startswith(f"{SCOPE}-")
        assert storage.held() == {}
        await backend.ensure_scope(scope_request())
        assert storage.file_system().id != first.id
        await backend.delete_scope(SCOPE, TEAM)
        assert len(storage.array.state.file_systems) == 2

    async def test_eradication_is_asked_for_by_name(self, storage):
        backend = storage.built(eradicate="true")
        await backend.attach(None)
        await backend.ensure_scope(scope_request())
        await backend.delete_scope(SCOPE, TEAM)
        assert storage.array.state.file_systems == {}
        storage.array.settings.manual_eradication = False
        await backend.ensure_scope(scope_request())
        with pytest.raises(BackendError, match="disabled"):
            await backend.delete_scope(SCOPE, TEAM)
        await backend.delete_scope(SCOPE, TEAM)
        await backend.close()
        assert storage.held() == {}

    async def test_a_destroyed_file_system_is_named_and_not_replaced(self, storage, backend):
        """By an admin, behind our back: it holds data, and keeps its name."""
        await backend.ensure_scope(scope_request())
        await backend.ensure_folder(folder_request())
        await destroy(storage, backend)
        with pytest.raises(DataMissing):
            await backend.describe_scope(SCOPE)
        with pytest.raises(DataMissing):
            await backend.ensure_scope(scope_request())
        with pytest.raises(PathConflict, match="recover it, or eradicate it"):
            await backend.ensure_scope(replace(scope_request(), recreate=True))
        assert [state async for state in backend.list_scopes()] == []

    async def test_what_was_written_after_the_look_brings_it_back(
        self, storage, backend, monkeypatch
    ):
        """Looked at again under the name that no pod knows."""
        await backend.ensure_scope(scope_request())
        looked = views.empty

        def late(root, name, mounted):
            found = looked(root, name, mounted)
            if name == SCOPE.value:
                (storage.root / name / "late").write_text("x")
            return found

        monkeypatch.setattr(views, "empty", late)
        with pytest.raises(NotEmpty):
            await backend.delete_scope(SCOPE, TEAM)
        assert (storage.root / SCOPE.value / "late").exists()
        assert storage.file_system().limit == LIMITS.bytes

    async def test_what_does_not_appear_is_not_used(self, storage):
        """The array made it, the automounter does not show it: nothing is done in its place."""
        backend = Registry().build(storage.configured(call_timeout=2.0))
        await backend.attach(None)
        storage.array.settings.view = "elsewhere"
        (storage.data / "elsewhere").mkdir()
        with pytest.raises(Unavailable, match="does not appear"):
            await backend.ensure_scope(scope_request())
        (storage.data / "elsewhere" / SCOPE.value).rename(storage.root / SCOPE.value)
        await backend.ensure_scope(scope_request())
        await backend.close()
        assert storage.held() == {SCOPE.value: Limit(LIMITS.bytes)}
        assert len(storage.array.state.file_systems) == 1

    async def test_usage_lags(self, storage, backend):
        await backend.ensure_scope(scope_request())
        await backend.ensure_folder(folder_request())
        storage.array.settings.lag_calls = 10
        await backend.describe_scope(SCOPE)
        await storage.fill(SCOPE, folder_request().folder, MIB)
        seen = [(await backend.describe_scope(SCOPE)).usage.bytes for _ in range(30)]
        assert (seen[0], seen[-1]) == (0, MIB)

    async def test_an_idle_session_is_made_anew(self, storage, backend, monkeypatch):
        await backend.probe()
        logins = storage.array.served["POST /api/login"]
        for token in storage.array._used_at:
            storage.array._used_at[token] -= 3600
        await backend.probe()
        assert storage.array.served["POST /api/login"] == logins + 1

    async def test_a_limit_below_usage_needs_a_word(self, storage, backend, monkeypatch):
        """The array refuses it otherwise; whether it is wanted was decided before."""
        await backend.ensure_scope(scope_request())
        await backend.ensure_folder(folder_request())
        await storage.fill(SCOPE, folder_request().folder, 2 * MIB)
        client = backend._driver._client
        found = await client.find(SCOPE.value)
        with pytest.raises(BackendError, match="above the limit"):
            await client._change(found, {"provisioned": MIB, "hard_limit_enabled": True})
        await backend.set_limits(SCOPE, TEAM, Limits(bytes=MIB))
        assert storage.file_system().limit == MIB

    async def test_an_empty_text_is_unlimited(self, storage, backend):
        await backend.ensure_scope(scope_request())
        client = backend._driver._client
        await client._change(await client.find(SCOPE.value), {"provisioned": ""})
        assert (await backend.describe_scope(SCOPE)).limits == Limits()

    def test_rules_left_out_are_everybody(self, storage):
        """What a client must never do; the simulator does as the document says."""
        token = storage.array.tokens.give(storage.array.tokens.accounts["vfolder"], 60)
        route = "POST /api/2.28/file-systems"
        call = Call(route, "", {}, {"names": ["open"]}, {}, {"x-auth-token": token})
        (item,) = storage.array.serve(call).body["items"]
        assert item["nfs"]["rules"] == EVERYBODY

    def test_an_automounted_root_is_an_autofs_map(self, storage, tmp_path):
        """And nothing in it may be a bare directory."""
        root = os.open(tmp_path, os.O_RDONLY)
        try:
            with pytest.raises(Misconfigured, match="autofs map"):
                views.check_automounted(root, str(tmp_path))
            (tmp_path / "bare").mkdir()
            with pytest.raises(PathConflict, match="not mounted"):
                views.dress(root, "bare", mounted=True)
            with pytest.raises(PathConflict, match="not mounted"):
                views.empty(root, "bare", mounted=True)
        finally:
            os.close(root)
        slash = os.open("/", os.O_RDONLY)
        try:
            views.check_own(slash, "proc")
        finally:
            os.close(slash)

    async def test_an_automounted_backend_refuses_a_plain_directory(self, storage):
        backend = storage.built(view="Automount")
        with pytest.raises(Misconfigured, match="operatorPath"):
            await backend.attach(None)
        await backend.close()
        assert list(storage.root.iterdir()) == []

    async def test_scopes_that_an_automounter_does_not_show_are_listed(
        self, storage, backend, monkeypatch
    ):
        await backend.ensure_scope(scope_request())

        class Nothing:
            def __enter__(self):
                return iter(())

            def __exit__(self, *args):
                pass

        root = os.open(storage.root, os.O_RDONLY)
        try:
            monkeypatch.setattr(scopes.os, "scandir", lambda path: Nothing())
            assert scopes.listing(root) == [(SCOPE, TEAM)]
        finally:
            os.close(root)

    async def test_a_wrong_word_of_ours_is_noticed(self, storage, backend):
        await backend.ensure_scope(scope_request())
        client = backend._driver._client
        with pytest.raises(BackendError, match="hard_limit"):
            await client._change(await client.find(SCOPE.value), {"hard_limit": True})
        assert any("hard_limit" in text for text in storage.array.violations)
        storage.array.violations.clear()

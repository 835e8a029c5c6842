"""The suite on a simulated VAST cluster over HTTPS, and what only VAST does."""

import subprocess
import sys
from dataclasses import replace

import pytest

from vfolder_backends.errors import (
    BackendError,
    Misconfigured,
    PermissionDenied,
    Unavailable,
    Unsupported,
)
from vfolder_backends.facts import Level, PerformanceMetrics
from vfolder_backends.registry import Registry
from vfolder_backends.testing.array_storage import ArrayUnderTest
from vfolder_backends.testing.arrays.vast.simulator import API_TOKEN
from vfolder_backends.testing.arrays.vast.state import Quota
from vfolder_backends.testing.conformance import (
    ArrayConformance,
    ArrayTests,
    Doubtful,
    FactRules,
    Refused,
)
from vfolder_backends.testing.conformance.base import SCOPE, scope_request


class VastUnderTest(ArrayUnderTest):
    kind = "vast"
    account = {"username": "vfolder", "password": "simulated-vast"}


class TestVast(ArrayConformance, FactRules):
    under_test = VastUnderTest
    levels = (Level.ENFORCED, Level.ENFORCED)
    rates = PerformanceMetrics(120, 60, 3 << 20, 1 << 20, 250e-6, 500e-6)
    variants = (
        {"paged": False},
        {"page_size": 2},
        {"path_filter": False},
        {"follows_rename": True},
        {"quotas_vanish": True},
        {"null_clears": False},
        {"refused_as": 503},
    )
    refusals = {
        "a role that may not change quotas": Refused(
            PermissionDenied,
            "role needs",
            credentials={"username": "reader", "password": "simulated-reader"},
        ),
        "a wrong password": Refused(
            PermissionDenied,
            "No active account",
            credentials={"username": "vfolder", "password": "planted-and-wrong"},
        ),
        "another directory": Refused(
            Misconfigured, r"parameters\.path", options={"path": "/elsewhere"}
        ),
        "an export for everybody": Refused(
            Misconfigured, "every host", settings={"read_write": ("*",)}
        ),
        "an export to everybody's root": Refused(
            Misconfigured, "every host", settings={"no_squash": ("*",)}
        ),
        "an old version": Refused(Unsupported, r"4\.7 or newer", settings={"version": "4.6.0.1"}),
        "a cluster that is not online": Refused(
            Unavailable, "OFFLINE", settings={"state": "OFFLINE"}
        ),
    }
    doubts = (Doubtful("older than", settings={"version": "5.1.0"}),)
    wrong_options = (("path", "relative"), ("path", "/a/../b"), ("apiVersion", "5"))

    async def test_the_words_of_an_older_document(self, storage, backend, capabilities):
        storage.array.settings.document = "5.3.0"
        storage.array.document = storage.array.published()
        await self.test_arrays_differ(storage, backend, capabilities, {})


class TestOnlyVast(ArrayTests):
    under_test = VastUnderTest

    async def test_an_expired_session_is_told_by_a_403_and_a_text(self, storage, backend):
        served_calls, tokens = storage.array.served, storage.array.tokens
        await backend.ensure_scope(scope_request())
        tokens.end_all()
        await backend.describe_scope(SCOPE)
        assert (served_calls["POST /token/"], served_calls["POST /token/refresh/"]) == (1, 1)
        tokens.end_all()
        tokens.end_all("refresh")
        await backend.describe_scope(SCOPE)
        assert (served_calls["POST /token/"], served_calls["POST /token/refresh/"]) == (2, 2)

    async def test_an_api_token_needs_no_login(self, storage):
        backend = Registry().build(storage.configured(credentials={"token": API_TOKEN}))
        await backend.attach(None)
        await backend.ensure_scope(scope_request())
        await backend.close()
        assert storage.array.served["POST /token/"] == 0

    async def test_a_secret_without_either_is_refused_by_name(self, storage):
        with pytest.raises(Misconfigured, match="'token'"):
            Registry().build(storage.configured(credentials={"username": "vfolder"}))

    async def test_a_quota_that_is_not_in_force_yet_is_waited_for(self, storage, backend):
        storage.array.settings.synchronize_calls = 30
        state = await backend.ensure_scope(scope_request())
        assert state.enforcement.bytes is Level.NONE
        assert state.progress.reason == "Synchronizing"
        storage.array.calm()
        state = await backend.ensure_scope(scope_request())
        assert (state.progress, state.enforcement.bytes) == (None, Level.ENFORCED)

    async def test_usage_is_old_for_a_while(self, storage, backend):
        storage.array.settings.usage_calls = 20
        await backend.ensure_scope(scope_request())
        await backend.describe_scope(SCOPE)
        (storage.root / SCOPE.value / "stray").write_bytes(b"x" * 4096)
        seen = [(await backend.describe_scope(SCOPE)).usage.bytes for _ in range(30)]
        assert seen[0] == 0
        assert seen[-1] == 4096

    async def test_quotas_left_by_a_former_scope_do_not_stay(self, storage, backend):
        """Found by name where the cluster moved them with the directory, by path where not."""
        await backend.ensure_scope(scope_request())
        (storage.root / SCOPE.value).rmdir()
        with storage.array.lock:
            (quota,) = storage.array.state.quotas.values()
            quota.hard = 1
        state = await backend.ensure_scope(replace(scope_request(), recreate=True))
        assert state.limits == scope_request().limits
        (new,) = storage.array.state.quotas.values()
        assert new.id != quota.id

    async def test_quotas_are_nested_so_deep_and_no_deeper(self, storage, backend):
        storage.array.settings.levels = 1
        with storage.array.lock:
            storage.array.state.quotas[99] = Quota(99, "outer", "/root", 1)
        with pytest.raises(BackendError, match="1 levels deep"):
            await backend.ensure_scope(scope_request())

    async def test_a_role_without_hardware_works_and_says_what_is_missing(self, storage):
        tenant = {"username": "tenant", "password": "simulated-tenant"}
        backend = Registry().build(storage.configured(credentials=tenant))
        await backend.attach(None)
        health = await backend.probe()
        assert health.capacity is None
        assert "Hardware" in " ".join(health.warnings)
        assert await backend.metrics() is None
        await backend.close()


ELSEWHERE = """
import os, sys
from vfolder_backends.errors import NotEmpty
from vfolder_backends.ids import ScopeHex
from vfolder_backends.vendors.vast.backend import take_away
root = os.open(sys.argv[1], os.O_DIRECTORY)
try:
    print(take_away(root, ScopeHex(sys.argv[2])))
except NotEmpty:
    print("NotEmpty")
"""


@pytest.mark.parametrize(("stray", "said"), [(False, "False"), (True, "NotEmpty")])
def test_where_a_rename_is_refused_an_empty_directory_is_removed_in_place(tmp_path, stray, said):
    """Made so by another file system at the place where containers are set aside."""
    place, gone = tmp_path / SCOPE.value, tmp_path / ".vfolder" / "gone"
    place.mkdir()
    gone.mkdir(parents=True)
    if stray:
        (place / "stray").touch()
    words = [sys.executable, "-c", ELSEWHERE, str(tmp_path), SCOPE.value]
    script = 'mount -t tmpfs none "$1" && shift && exec "$@"'
    ran = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", str(gone), *words],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert ran.stdout.strip() == said
    assert place.exists() == stray

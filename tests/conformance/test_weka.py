"""The suite on a simulated WEKA cluster over HTTPS, and what only WEKA does."""

from vfolder_backends.errors import Misconfigured, PermissionDenied, Unavailable, Unsupported
from vfolder_backends.facts import Level, PerformanceMetrics
from vfolder_backends.port import Limits
from vfolder_backends.testing.array_storage import ArrayUnderTest
from vfolder_backends.testing.conformance import (
    ArrayConformance,
    ArrayTests,
    Doubtful,
    FactRules,
    Refused,
)
from vfolder_backends.testing.conformance.base import MIB, SCOPE, TEAM, scope_request


class WekaUnderTest(ArrayUnderTest):
    kind = "weka"
    account = {"username": "vfolder", "password": "simulated-weka"}
    options = {"fileSystem": "default"}


class TestWeka(ArrayConformance, FactRules):
    under_test = WekaUnderTest
    rates = PerformanceMetrics(120, 60, 3 << 20, 1 << 20, 250e-6, 500e-6)
    variants = (
        {"missing_as_500": True},
        {"plural_delete": True},
        {"full_paths": True, "page": 2},
    )
    refusals = {
        "a role that may not set quotas": Refused(
            PermissionDenied,
            "role CSI",
            credentials={"username": "reader", "password": "simulated-reader"},
        ),
        "a wrong password": Refused(
            PermissionDenied,
            r"401, Unauthorized$",
            credentials={"username": "vfolder", "password": "planted-and-wrong"},
        ),
        "another directory": Refused(
            Misconfigured, r"parameters\.path", options={"path": "/elsewhere"}
        ),
        "an unknown file system": Refused(
            Misconfigured, "sees: default", options={"fileSystem": "scratch"}
        ),
        "an old version": Refused(Unsupported, "resolvePath", settings={"release": "4.2.9"}),
        "a stopped cluster": Refused(Unavailable, "STOPPED", settings={"io_status": "STOPPED"}),
    }
    doubts = (Doubtful("2 alerts", settings={"alerts": 2}),)
    wrong_options = (("path", "relative"), ("path", "/a/../b"))

    async def test_the_connection_is_told_of(self, backend):
        await backend.probe()
        assert (backend.link.circuit, backend.link.failures) == ("Closed", 0)
        assert backend.link.calls > 0


class TestOnlyWeka(ArrayTests):
    under_test = WekaUnderTest

    async def test_tokens_are_refreshed_while_they_can_be(self, storage, backend):
        served, tokens = storage.array.served, storage.array.tokens
        await backend.ensure_scope(scope_request())
        tokens.end_all()
        await backend.describe_scope(SCOPE)
        assert (served["POST /login"], served["POST /login/refresh"]) == (1, 1)
        tokens.end_all()
        tokens.end_all("refresh")
        await backend.describe_scope(SCOPE)
        assert (served["POST /login"], served["POST /login/refresh"]) == (2, 2)

    async def test_a_list_that_names_no_path_costs_calls_and_no_scope(self, storage, backend):
        """Quotas are looked up one by one where the list cannot be read by path."""
        await backend.ensure_scope(scope_request())
        listed = type(storage.array)._listed

        class Nameless(type(storage.array)):
            def _listed(self, quota):
                return {**listed(self, quota), "path": "", "full_path": ""}

        storage.array.__class__ = Nameless
        (state,) = [state async for state in backend.list_scopes()]
        assert state.limits == Limits(bytes=scope_request().limits.bytes)

    async def test_a_limit_on_what_is_full_already_holds_once_it_is_counted(self, storage, backend):
        await backend.ensure_scope(scope_request())
        (storage.root / SCOPE.value / "aa").mkdir()
        with storage.array.lock:
            storage.array.state.quotas.clear()
        storage.array.settings.adding_calls = 6
        state = await backend.set_limits(SCOPE, TEAM, Limits(bytes=MIB))
        assert state.enforcement.bytes is Level.NONE
        state = await backend.ensure_scope(scope_request())
        assert state.progress.reason == "Counting"
        storage.array.calm()
        state = await backend.ensure_scope(scope_request())
        assert (state.progress, state.enforcement.bytes) == (None, Level.ENFORCED)

"""QuotaScope: limits are set, changed, refused, repaired and told as they are on the storage."""

from operator_rig import Api, condition, eventually, running_operator

from vfolder_backends.facts import Capabilities, Enforcement, Level, Tristate
from vfolder_backends.ids import QuotaScopeID
from vfolder_backends.port import Limits
from vfolder_backends.testing.memory import MemoryStorage
from vfolder_operator.kube import Kinds

GI = 1 << 30


def scope_on(storage: MemoryStorage) -> tuple[QuotaScopeID, Limits]:
    ((scope, held),) = storage.tree.scopes.items()
    return QuotaScopeID.parse(f"project:{scope.uuid}"), held.limits


async def test_limits_are_changed_and_removed(api: Api) -> None:
    storage = MemoryStorage()
    async with running_operator(api, storage):
        await api.backend()
        await api.scope({"limits": {"bytes": "1Gi", "files": 100}})
        await api.until_ready(Kinds.SCOPE, "research")
        assert scope_on(storage)[1] == Limits(GI, 100)
        await api.scope({"limits": {"bytes": "2Gi"}})
        scope = await api.until_ready(Kinds.SCOPE, "research")
        assert scope_on(storage)[1] == Limits(2 * GI, None)
        assert scope["status"]["limits"] == {"bytes": 2 * GI}
        await api.scope({"limits": {"bytes": "Unlimited"}})
        scope = await api.until_ready(Kinds.SCOPE, "research")
        assert scope_on(storage)[1] == Limits(None, None)
        assert scope["status"]["display"]["limit"] == "Unlimited"


async def test_limits_are_rounded_up_to_what_the_storage_keeps_and_that_is_no_drift(
    api: Api,
) -> None:
    storage = MemoryStorage()
    async with running_operator(api, storage):
        await api.backend()
        await api.scope({"limits": {"bytes": "1000001"}})
        scope = await api.until_ready(Kinds.SCOPE, "research")
        assert scope["status"]["limits"]["bytes"] == 1003520
        assert condition(scope, "Drifted")["status"] == "False"
        assert storage.calls["set_limits"] == 0


async def test_a_limit_below_usage_is_refused_until_it_is_allowed(api: Api) -> None:
    storage = MemoryStorage()
    async with running_operator(api, storage):
        await api.backend()
        await api.scope({"limits": {"bytes": "4Gi"}})
        await api.until_ready(Kinds.SCOPE, "research")
        storage.fill(scope_on(storage)[0].hex, size=3 * GI)
        await api.scope({"limits": {"bytes": "2Gi"}})
        told = await api.until_reason(Kinds.SCOPE, "research", "ShrinkRefused")
        assert str(3 * GI) in condition(told, "Ready")["message"]
        assert scope_on(storage)[1] == Limits(4 * GI, None)
        await api.scope({"limits": {"bytes": "2Gi"}, "shrinkPolicy": "Allow"})
        scope = await api.until_ready(Kinds.SCOPE, "research")
        assert scope_on(storage)[1] == Limits(2 * GI, None)
        assert scope["status"]["usage"]["percent"] == 150
        assert condition(scope, "Exceeded")["status"] == "True"


async def test_drift_is_repaired_but_never_below_usage(api: Api) -> None:
    storage = MemoryStorage()
    async with running_operator(api, storage):
        await api.backend()
        await api.scope()
        await api.until_ready(Kinds.SCOPE, "research")
        scope = scope_on(storage)[0].hex
        storage.tamper(scope, Limits(None, None))

        async def repaired() -> bool:
            return scope_on(storage)[1] == Limits(GI, None)

        await eventually(repaired, 10, lambda: str(scope_on(storage)))
        storage.fill(scope, size=2 * GI)
        storage.tamper(scope, Limits(8 * GI, None))
        told = await api.until_reason(Kinds.SCOPE, "research", "LimitDrifted", "Drifted")
        assert "not repaired" in condition(told, "Drifted")["message"]
        assert scope_on(storage)[1] == Limits(8 * GI, None)
        storage.fill(scope, size=0)
        await api.until_reason(Kinds.SCOPE, "research", "InSync", "Drifted")
        assert scope_on(storage)[1] == Limits(GI, None)
        assert "DriftRepaired" in await api.events("research")


async def test_drift_is_only_told_where_the_admin_says_so(api: Api) -> None:
    storage = MemoryStorage()
    async with running_operator(api, storage):
        await api.backend({"drift": {"policy": "Report"}})
        await api.scope()
        await api.until_ready(Kinds.SCOPE, "research")
        storage.tamper(scope_on(storage)[0].hex, Limits(2 * GI, None))
        scope = await api.until_reason(Kinds.SCOPE, "research", "LimitDrifted", "Drifted")
        assert scope["status"]["limits"]["bytes"] == 2 * GI
        assert scope_on(storage)[1] == Limits(2 * GI, None)


async def test_thresholds_warn_once_each(api: Api) -> None:
    storage = MemoryStorage()
    async with running_operator(api, storage):
        await api.backend()
        await api.scope({"thresholds": [50, 90]})
        await api.until_ready(Kinds.SCOPE, "research")
        scope = scope_on(storage)[0].hex
        storage.fill(scope, size=GI * 6 // 10)
        told = await api.until_reason(Kinds.SCOPE, "research", "ThresholdReached", "NearLimit")
        assert "50 %" in condition(told, "NearLimit")["message"]
        storage.fill(scope, size=GI)
        told = await api.until_reason(Kinds.SCOPE, "research", "LimitReached", "Exceeded")
        assert told["status"]["usage"] == {
            "bytes": GI,
            "files": told["status"]["usage"]["files"],
            "trashBytes": 0,
            "percent": 100,
            "observedAt": told["status"]["usage"]["observedAt"],
            "source": "QuotaCounter",
        }
        storage.fill(scope, size=0)
        await api.until_reason(Kinds.SCOPE, "research", "BelowThresholds", "NearLimit")


async def test_a_storage_that_enforces_too_little_is_refused(api: Api) -> None:
    nothing = Capabilities(Enforcement(Level.NONE, Level.NONE, Tristate.UNKNOWN, "nothing"))
    storage = MemoryStorage(nothing)
    async with running_operator(api, storage):
        await api.backend()
        await api.scope({"minEnforcement": "Advisory"})
        told = await api.until_reason(Kinds.SCOPE, "research", "EnforcementTooWeak")
        message = condition(told, "Ready")["message"]
        assert "spec.limits.bytes" in message
        assert "allowed here: None" in message
        assert storage.tree.scopes == {}
        await api.scope({"minEnforcement": "None"})
        scope = await api.until_ready(Kinds.SCOPE, "research")
        assert condition(scope, "QuotaEnforced")["status"] == "False"
        assert scope["status"]["limits"] == {}


async def test_enforcement_that_is_lost_later_stops_new_folders_only(api: Api) -> None:
    storage = MemoryStorage()
    async with running_operator(api, storage):
        await api.backend()
        await api.scope()
        await api.folder()
        await api.until_ready(Kinds.FOLDER, "data")
        storage.capabilities = Capabilities(
            Enforcement(Level.NONE, Level.NONE, Tristate.UNKNOWN, "switched off")
        )
        await api.until_reason(Kinds.SCOPE, "research", "EnforcementTooWeak")
        await api.folder(name="more")
        await api.until_reason(Kinds.FOLDER, "more", "ScopeNotReady")
        assert condition(await api.get(Kinds.FOLDER, "data"), "Ready")["status"] == "True"


async def test_the_admin_bounds_who_may_ask_for_how_much(api: Api) -> None:
    storage = MemoryStorage()
    async with running_operator(api, storage):
        await api.backend(
            {"allowedNamespaces": {"matchLabels": {"team": "no"}}, "maxLimits": {"bytes": "1Gi"}}
        )
        await api.scope({"limits": {"bytes": "2Gi"}})
        told = await api.until_reason(Kinds.SCOPE, "research", "NamespaceNotAllowed")
        assert "'team-a'" in condition(told, "Ready")["message"]
        await api.backend({"maxLimits": {"bytes": "1Gi"}})
        told = await api.until_reason(Kinds.SCOPE, "research", "LimitAboveMaximum")
        assert "1Gi" in condition(told, "Ready")["message"]
        assert storage.tree.scopes == {}
        await api.scope({"limits": {"bytes": "1Gi"}})
        await api.until_ready(Kinds.SCOPE, "research")

"""Decisions as tables."""

import pytest

from vfolder_backends.facts import Capabilities, Enforcement, Level, Tristate
from vfolder_backends.port import Limits, Usage
from vfolder_operator.crds.backend import StorageBackendSpec
from vfolder_operator.crds.scope import QuotaScopeSpec, UsageStatus
from vfolder_operator.reconcile.policies import (
    LimitAction,
    admission,
    crossed,
    decide_limits,
    percent,
    storable,
    wanted_limits,
    worth_telling,
)

GI = 1 << 30


def capabilities(size: Level = Level.ENFORCED, files: Level = Level.ENFORCED) -> Capabilities:
    enforcement = Enforcement(size, files, Tristate.NO, "")
    return Capabilities(enforcement, granularity_bytes=4096)


def spec(**values: object) -> QuotaScopeSpec:
    return QuotaScopeSpec.model_validate({"backend": "b", "limits": {"bytes": "1Gi"}, **values})


def backend(**values: object) -> StorageBackendSpec:
    return StorageBackendSpec.model_validate(
        {"type": "vfs", "hostPath": "/mnt/b", "allowedNamespaces": {}, **values}
    )


@pytest.mark.parametrize(
    ("wanted", "present", "last", "used", "shrink", "repair", "action"),
    [
        (1, 1, 1, 9, False, True, LimitAction.KEEP),
        (2, 1, 1, 0, False, True, LimitAction.SET),  # a wish: raise
        (1, 2, 2, 0, False, True, LimitAction.SET),  # a wish: lower, above usage
        (1, 4, 4, 3, False, True, LimitAction.REFUSE),
        (1, 4, 4, 3, True, True, LimitAction.SET),
        (3, 2, 2, 4, False, True, LimitAction.SET),  # raised, though still below usage
        (None, 2, 2, 9, False, True, LimitAction.SET),
        (1, None, None, 0, False, True, LimitAction.SET),  # adopted without a limit
        (1, None, None, 5, False, True, LimitAction.REFUSE),
        (1, 2, 1, 0, False, True, LimitAction.REPAIR),  # drift
        (1, 2, 1, 0, False, False, LimitAction.REPORT),
        (1, 4, 1, 3, False, True, LimitAction.REPORT),  # repair would go below usage
        (1, 4, 1, 3, True, True, LimitAction.REPORT),  # the shrink policy is about wishes
        (4, 1, 4, 3, False, True, LimitAction.REPAIR),
    ],
)
def test_what_is_done_about_a_limit(
    wanted: int | None,
    present: int | None,
    last: int | None,
    used: int,
    shrink: bool,
    repair: bool,
    action: LimitAction,
) -> None:
    decision = decide_limits(
        Limits(wanted),
        Limits(present),
        None if last is None else Limits(last),
        Usage(used, None, 0.0),
        allow_shrink=shrink,
        repair=repair,
    )
    assert decision.action is action


def test_a_file_limit_below_usage_is_refused_too() -> None:
    decision = decide_limits(
        Limits(None, 5), Limits(None, 50), Limits(None, 50), Usage(None, 7, 0.0),
        allow_shrink=False, repair=True,
    )  # fmt: skip
    assert decision.action is LimitAction.REFUSE
    assert "5 files is below the 7 in use" in decision.message


@pytest.mark.parametrize(
    ("scope", "storage", "offered", "reason", "named"),
    [
        ({}, {}, capabilities(), None, ""),
        ({}, {"allowedNamespaces": None}, capabilities(), "NamespaceNotAllowed", "not set"),
        (
            {},
            {"allowedNamespaces": {"matchLabels": {"a": "b"}}},
            capabilities(),
            "NamespaceNotAllowed",
            "'ns'",
        ),
        (
            {},
            {"allowedNamespaces": {"matchExpressions": [{"key": "k", "operator": "Exists"}]}},
            capabilities(),
            None,
            "",
        ),
        ({}, {"maxLimits": {"bytes": "1Mi"}}, capabilities(), "LimitAboveMaximum", "1Mi"),
        (
            {"limits": {"bytes": "Unlimited"}},
            {"maxLimits": {"bytes": "1Ti"}},
            capabilities(),
            "LimitAboveMaximum",
            "Unlimited",
        ),
        (
            {"limits": {"bytes": "1Gi"}},
            {"maxLimits": {"files": 10}},
            capabilities(),
            "LimitAboveMaximum",
            "spec.limits.files unlimited",
        ),
        ({}, {}, capabilities(Level.ADVISORY), "EnforcementTooWeak", "spec.limits.bytes"),
        ({"minEnforcement": "Advisory"}, {}, capabilities(Level.ADVISORY), None, ""),
        (
            {"limits": {"bytes": "1Gi", "files": 5}},
            {},
            capabilities(files=Level.NONE),
            "EnforcementTooWeak",
            "spec.limits.files",
        ),
        ({"limits": {"bytes": "Unlimited"}}, {}, capabilities(Level.NONE), None, ""),
        ({"minEnforcement": "Enforced"}, {}, capabilities(Level.COOPERATIVE), "EnforcementTooWeak",
         "allowed here: Cooperative, Advisory, None"),
    ],
)  # fmt: skip
def test_who_may_have_what(
    scope: dict[str, object],
    storage: dict[str, object],
    offered: Capabilities,
    reason: str | None,
    named: str,
) -> None:
    violation = admission(spec(**scope), backend(**storage), "ns", {"k": "v"}, offered)
    assert (violation.reason if violation else None) == reason
    assert named in (violation.message if violation else "")


def test_what_the_storage_will_show_is_rounded_and_without_what_it_lacks() -> None:
    asked = wanted_limits(spec(limits={"bytes": 4097, "files": 3}))
    assert storable(asked, capabilities()) == Limits(8192, 3)
    assert storable(asked, capabilities(files=Level.NONE)) == Limits(8192, None)
    assert storable(asked, capabilities(Level.NONE)) == Limits(None, 3)


@pytest.mark.parametrize(
    ("used", "limits", "share"),
    [
        (Usage(50, 9, 0.0), Limits(100, 10), 90),
        (Usage(150, None, 0.0), Limits(100, 10), 150),
        (Usage(None, None, 0.0), Limits(100, 10), None),
        (Usage(5, 5, 0.0), Limits(None, None), None),
        (None, Limits(100), None),
    ],
)
def test_percent_is_the_fuller_limit(used: Usage | None, limits: Limits, share: int | None) -> None:
    assert percent(used, limits) == share


def test_the_highest_threshold_reached_counts() -> None:
    assert [crossed([80, 95], n) for n in (None, 79, 80, 95, 120)] == [None, None, 80, 95, 95]


def shown(size: int | None, share: int | None = None) -> UsageStatus:
    return UsageStatus(bytes=size, percent=share, observed_at="x", source="q")


@pytest.mark.parametrize(
    ("old", "new", "age", "worth"),
    [
        (None, shown(1), 0, True),
        (shown(0), shown(GI // 100 - 1), 0, False),
        (shown(0), shown(GI // 100 + 1), 0, True),
        (shown(5), shown(5), 3599, False),
        (shown(5), shown(5), 3601, True),
        (shown(5, 79), shown(5, 80), 0, True),
        (shown(None), shown(5), 0, True),
        (shown(5), shown(None), 0, True),
    ],
)
def test_usage_is_written_when_it_is_news(
    old: UsageStatus | None, new: UsageStatus, age: float, worth: bool
) -> None:
    assert worth_telling(old, new, Limits(GI), [80], age) is worth

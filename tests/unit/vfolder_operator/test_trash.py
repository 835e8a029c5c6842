"""What is known of the trash, and what a promise of user namespaces needs: as tables."""

import copy
from typing import Any

import pytest

from vfolder_backends.facts import Enforcement, Level, Tristate
from vfolder_backends.ids import FolderHex, ScopeHex
from vfolder_backends.port import FolderPhase, FolderState, Limits, Owner, ScopeState, Usage
from vfolder_operator.crds.scope import MOST_TRASH_SHOWN
from vfolder_operator.kube import Body
from vfolder_operator.reconcile.folder_identity import restore_refused
from vfolder_operator.reconcile.policies import is_full
from vfolder_operator.reconcile.trash import stands_for
from vfolder_operator.reconcile.trash_book import TrashBook, expiry
from vfolder_operator.reconcile.user_namespaces import binding_fault, policy_fault

SCOPE = ScopeHex("5c" * 16)
OURS, THEIRS = Owner("c", "team-a", "data"), Owner("other", "x", "y")
UUID = "6f1c5b1e-90a6-4d0e-9b57-0a3f6f2f3a11"


def scope_state(used: int = 0, limit: int | None = 100) -> ScopeState:
    enforcement = Enforcement(Level.ENFORCED, Level.ENFORCED, Tristate.NO, "")
    return ScopeState(SCOPE, OURS, "s", Limits(limit), Usage(used, 1, 0.0), enforcement)


def trashed(number: int, since: float = 0.0, **values: Any) -> FolderState:
    folder = FolderHex(f"{number:032x}")
    values = {"owner": OURS, "phase": FolderPhase.TRASHED, **values}
    return FolderState(SCOPE, folder, path="p", since=since, **values)


def test_the_last_ones_are_shown_first_and_not_too_many() -> None:
    book = TrashBook()
    assert book.entries("b", SCOPE, 60) is None
    assert book.status("b") is None
    doomed = trashed(999, since=0, phase=FolderPhase.PURGING)
    book.seen("b", scope_state(), [doomed, *(trashed(n, since=n) for n in range(50, 0, -1))])
    entries = book.entries("b", SCOPE, 60)
    assert entries is not None
    assert len(entries) == MOST_TRASH_SHOWN
    assert entries[0].folder_id == FolderHex(f"{50:032x}").uuid
    assert entries[0].expires == "1970-01-01T00:01:50Z"
    status = book.status("b")
    assert status is not None
    assert (status.folders, status.removing, status.bytes) == (51, 1, None)


def test_what_is_noted_and_what_comes_back() -> None:
    book = TrashBook()
    book.seen("b", scope_state(), [])
    for _ in range(2):
        book.note("b", trashed(1, usage=Usage(7, 1, 0.0)))
    status = book.status("b")
    assert status is not None
    assert (status.folders, status.bytes) == (1, 7)
    book.drop("b", SCOPE, FolderHex(f"{1:032x}"))
    assert book.entries("b", SCOPE, 60) == []
    book.note("b", trashed(2, owner=THEIRS))
    (said,) = book.foreign("b", "c")
    assert "x/y of cluster other" in said
    book.keep_only("b", set())
    assert list(book.scopes("b")) == []


def test_a_time_of_its_own_comes_before_the_storage_s() -> None:
    assert expiry(trashed(1, since=100), 60) == 160
    assert expiry(trashed(1, since=100, expires=5000), 60) == 5000


def test_how_full_a_scope_is() -> None:
    assert is_full(scope_state(90), 90)
    assert not is_full(scope_state(89), 90)
    assert not is_full(scope_state(10**9, limit=None), 90)


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ({"status": {"scopeID": f"project:{UUID}"}}, True),
        ({"status": {"scopeID": "project:" + "0" * 8 + UUID[8:]}}, False),
        ({"annotations": {"vfolder.dev/id": f"user:{UUID}"}}, True),
        ({"annotations": {"vfolder.dev/id": "rubbish"}}, False),
        ({"spec": {"scopeID": f"user:{UUID}"}}, True),
        ({"uid": UUID}, True),
        ({}, False),
    ],
)
def test_which_object_is_about_a_scope(body: Body, wanted: bool) -> None:
    scope = ScopeHex(UUID.replace("-", ""))
    meta = {
        "uid": body.get("uid", "11111111-1111-4111-8111-111111111111"),
        "annotations": body.get("annotations"),
    }
    whole = {"metadata": meta, "spec": body.get("spec", {}), "status": body.get("status")}
    assert stands_for(whole, scope) is wanted


@pytest.mark.parametrize(
    ("restore", "noted", "has", "refused"),
    [
        (None, None, None, False),
        (UUID, None, None, False),
        (UUID, UUID, None, False),
        (UUID, UUID, UUID, False),
        (UUID, "other", None, True),
        (UUID, None, "other", True),
    ],
)
def test_a_wish_to_restore_costs_no_folder(
    restore: str | None, noted: str | None, has: str | None, refused: bool
) -> None:
    pairs = (("vfolder.dev/restore", restore), ("vfolder.dev/id", noted))
    annotations = {key: value for key, value in pairs if value}
    body = {"metadata": {"annotations": annotations}, "status": {"folderID": has} if has else {}}
    assert bool(restore_refused(body)) is refused


POLICY: Body = {
    "spec": {
        "failurePolicy": "Fail",
        "matchConstraints": {
            "resourceRules": [{"resources": ["pods"], "operations": ["CREATE"]}],
            "namespaceSelector": {},
            "objectSelector": {},
        },
        "validations": [{"expression": "object.spec.hostUsers == false"}],
    }
}
BINDING: Body = {
    "spec": {
        "policyName": "p",
        "validationActions": ["Deny"],
        "paramRef": {"selector": {"matchLabels": {"vfolder.dev/managed": "true"}}},
        "matchResources": {"namespaceSelector": {}},
    }
}


def changed(body: Body, path: str, value: Any) -> Body:
    body = copy.deepcopy(body)
    *parts, last = path.split(".")
    inner = body["spec"]
    for part in parts:
        inner = inner[part]
    inner[last] = value
    return body


def test_a_policy_that_denies_is_believed() -> None:
    assert policy_fault(POLICY) == ""
    assert binding_fault(BINDING, "p") == ""
    assert policy_fault(None)
    assert binding_fault(None, "p")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("failurePolicy", "Ignore"),
        ("matchConditions", [{"name": "x", "expression": "false"}]),
        ("matchConstraints.resourceRules", []),
        ("matchConstraints.resourceRules", [{"resources": ["pods"], "operations": ["DELETE"]}]),
        ("matchConstraints.namespaceSelector", {"matchLabels": {"a": "b"}}),
        ("matchConstraints.objectSelector", {"matchLabels": {"a": "b"}}),
        ("matchConstraints.excludeResourceRules", [{"resources": ["pods"]}]),
        ("validations", [{"expression": "true"}]),
    ],
)
def test_a_policy_that_lets_some_pass_is_not(path: str, value: Any) -> None:
    assert policy_fault(changed(POLICY, path, value))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("policyName", "another"),
        ("validationActions", ["Warn", "Audit"]),
        ("matchResources", {"namespaceSelector": {"matchLabels": {"a": "b"}}}),
        ("paramRef", {"name": "one"}),
        ("paramRef.selector.matchLabels", {"vfolder.dev/managed": "true", "x": "y"}),
    ],
)
def test_a_binding_that_lets_some_pass_is_not(path: str, value: Any) -> None:
    assert binding_fault(changed(BINDING, path, value), "p")

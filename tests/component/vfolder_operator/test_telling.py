"""Who writes a status: what a sweep saw never covers what a reconciler has found out since."""

import copy

import pytest
from operator_rig import Api, condition

from vfolder_backends.ledger import DiskLedger
from vfolder_backends.registry import Registry
from vfolder_operator.crds.scope import QuotaScopeStatus
from vfolder_operator.fleet import Fleet
from vfolder_operator.kube import Body, Conflict, Kinds
from vfolder_operator.metrics import Metrics
from vfolder_operator.reconcile.audit_book import AuditBook
from vfolder_operator.reconcile.context import Context
from vfolder_operator.reconcile.trash_book import TrashBook
from vfolder_operator.recorder import Recorder
from vfolder_operator.settings import Settings
from vfolder_operator.store import Store, key_of


@pytest.fixture
def context(api: Api) -> Context:
    return Context(
        settings=Settings(),
        kube=api.kube,
        store=Store(),
        fleet=Fleet(Registry({})),
        recorder=Recorder(api.kube, "test"),
        metrics=Metrics(),
        cluster="c",
        ids=DiskLedger(),
        enqueue=lambda key: None,
        chore=lambda chore: None,
        trash=TrashBook(),
        audits=AuditBook(),
    )


def status(reason: str, holds: str = "True") -> QuotaScopeStatus:
    ready = {
        "type": "Ready",
        "status": holds,
        "reason": reason,
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    return QuotaScopeStatus.model_validate({"conditions": [ready]})


async def test_what_a_sweep_saw_does_not_cover_what_was_told_since(
    api: Api, context: Context
) -> None:
    seen: Body = await api.scope()
    key = key_of(Kinds.SCOPE, seen)
    await context.tell(key, copy.deepcopy(seen), status("EnforcementTooWeak", "False"))
    await context.tell(key, seen, status("Ready"), aside=True)
    now = await api.get(Kinds.SCOPE, "research")
    assert condition(now, "Ready")["reason"] == "EnforcementTooWeak"
    await context.tell(key, now, status("Ready"), aside=True)
    now = await api.get(Kinds.SCOPE, "research")
    assert condition(now, "Ready")["reason"] == "Ready"


async def test_a_status_never_lands_on_another_object_of_that_name(
    api: Api, context: Context
) -> None:
    former: Body = await api.scope()
    await api.delete(Kinds.SCOPE, "research")
    await api.until_gone(Kinds.SCOPE, "research")
    await api.scope()
    with pytest.raises(Conflict):
        await context.tell(key_of(Kinds.SCOPE, former), former, status("Ready"))
    assert "status" not in await api.get(Kinds.SCOPE, "research")

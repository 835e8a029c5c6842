"""Looks at all files, where nothing less finds what escaped its limits, or what is used.

A storage that keeps entries to their scope by itself, and counts them, has nothing to find; it is
asked once. The others are walked over once in a while, a piece at a time and one scope after
another. What was found last stays in the scope's status, so a restart begins no walk before its
time.
"""

import asyncio
import logging
import time

from vfolder_backends.errors import BackendError, RootLost
from vfolder_backends.ids import QuotaScopeID, ScopeHex
from vfolder_operator.conditions import is_true, parse_timestamp
from vfolder_operator.crds.common import parse_duration
from vfolder_operator.fleet import Attached
from vfolder_operator.reconcile.audit_book import survey_condition
from vfolder_operator.reconcile.context import Context
from vfolder_operator.reconcile.reconciler import CONTINUE_SECONDS
from vfolder_operator.store import Key

log = logging.getLogger(__name__)

AGAIN_SECONDS = 300.0
"""How long a scope is left alone after an error."""


class Auditor:
    """The work of `chores.Work.AUDIT`."""

    def __init__(self, context: Context) -> None:
        self._ctx = context
        self._book = context.audits
        self._later: dict[Key, float] = {}

    async def work(self, name: str) -> float | None:
        """Do one piece; returns the seconds after which there is more to do."""
        attached = self._ctx.fleet.get(name)
        if attached is None or not attached.usable or name in self._book.needless:
            return None  # the sweep comes back to it
        now, loop = time.time(), asyncio.get_running_loop().time()
        interval = parse_duration(attached.spec.drift.audit_interval)
        for key in self._ctx.store.scopes_of(name):
            scope = self._due(key, name, now - interval)
            if scope is None or self._later.get(key, 0.0) > loop:
                continue
            try:
                await self._survey(attached, key, scope)
            except RootLost:
                raise
            except BackendError as error:
                self._later[key] = loop + AGAIN_SECONDS
                extra = {"backend": name, "object": str(key), "error": str(error)}
                log.warning("audit failed, trying again later", extra=extra)
            return CONTINUE_SECONDS
        return None

    def _due(self, key: Key, backend: str, before: float) -> ScopeHex | None:
        """The scope to walk over, None if its time has not come."""
        body = self._ctx.store.get(key)
        if body is None or not is_true(body, "Ready"):
            return None
        status = body["status"]
        if not status.get("scopeID"):
            return None
        scope = QuotaScopeID.parse(status["scopeID"]).hex
        survey, shown = self._book.get(backend, scope), status.get("audit")
        last = survey.observed_at if survey is not None else 0.0
        if shown is not None:
            last = max(last, parse_timestamp(shown["observedAt"]))
        return scope if last <= before else None

    async def _survey(self, attached: Attached, key: Key, scope: ScopeHex) -> None:
        survey = await attached.port.survey_scope(scope)
        if survey is None:
            self._book.needless.add(attached.name)  # told with the next sweep
            return
        if not survey.complete:
            return  # the next call goes on
        self._book.put(attached.name, scope, survey)
        self._ctx.metrics.audited(attached.name, key, survey.escaped)
        body = self._ctx.store.get(key)
        if survey.escaped and body is not None:
            told = survey_condition(survey)
            self._ctx.recorder.warning(body, told.reason, told.message, "Audit")
        self._ctx.enqueue(key)
        if survey.usage:
            for folder in self._ctx.store.folders_of(key):
                self._ctx.enqueue(folder)

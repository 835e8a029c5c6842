"""Removes trash for good: in the background, a piece at a time, wherever the last one stopped.

What is due goes: by the folder's own time, or by the storage's retention. A scope that is nearly
full loses more, oldest first. Scopes whose object was deleted with `reclaimPolicy: Delete` go once
their trash is gone. All of it may be killed at any point, and two may do it at once.
"""

import asyncio
import logging
import time
from dataclasses import replace

from vfolder_backends.errors import BackendError, RootLost
from vfolder_backends.ids import QuotaScopeID, ScopeHex
from vfolder_backends.port import FolderPhase, Owner, PurgePolicy
from vfolder_operator.crds.common import parse_duration
from vfolder_operator.fleet import Attached
from vfolder_operator.kube import Body, Kinds
from vfolder_operator.names import ANNOTATION_ID
from vfolder_operator.reconcile import policies
from vfolder_operator.reconcile.context import Context
from vfolder_operator.reconcile.reconciler import CONTINUE_SECONDS
from vfolder_operator.reconcile.trash_book import ScopeTrash, expiry
from vfolder_operator.store import Key

log = logging.getLogger(__name__)

AGAIN_SECONDS = 60.0
"""How long a scope is left alone after an error: others get their turn."""


class TrashKeeper:
    """The work of `chores.Work.TRASH`.

    Attributes:
        problems: per storage, what resists, by scope.
    """

    def __init__(self, context: Context) -> None:
        self._ctx = context
        self._book = context.trash
        self.problems: dict[str, dict[ScopeHex, str]] = {}

    def told(self, backend: str) -> list[str]:
        """What an admin should look at, in words."""
        resists = (self.problems.get(backend) or {}).values()
        return [*resists, *self._book.foreign(backend, self._ctx.cluster)]

    def gone(self, backend: str) -> None:
        """Forget a storage whose object is gone."""
        self._book.forget(backend)
        self.problems.pop(backend, None)

    async def work(self, name: str) -> float | None:
        """Do one piece; returns the seconds after which there is more to do."""
        attached = self._ctx.fleet.get(name)
        if attached is None or not attached.usable:
            return None  # the sweep comes back to it
        now = asyncio.get_running_loop().time()
        for scope, held in self._book.scopes(name):
            policy = self._policy(attached, held) if held.not_before <= now else None
            if policy is None:
                continue
            held.not_before = now + await self._turn(attached, scope, held, policy)
            self._measure(name)
            return CONTINUE_SECONDS
        self._book.idle(name)
        await self._remove_retired(attached)
        self._measure(name)
        return self._next(attached)

    def _policy(self, attached: Attached, held: ScopeTrash) -> PurgePolicy | None:
        """What to remove in a scope now, None for nothing."""
        trash, now = attached.spec.trash, time.time()
        retention = parse_duration(trash.retention)
        policy = PurgePolicy(
            before=now - retention,
            now=now,
            cluster=self._ctx.cluster,
            per_second=trash.max_entries_per_second,
        )
        ours = held.of_cluster(self._ctx.cluster)
        for folder in ours:
            if folder.phase is FolderPhase.PURGING or expiry(folder, retention) <= now:
                return policy
        full = held.state is not None and policies.is_full(held.state, trash.purge_above_percent)
        if not ours or not full:
            return None
        oldest = ours[0]
        return replace(policy, before=(oldest.since or now) + 1, now=0.0, only=oldest.folder)

    async def _turn(
        self, attached: Attached, scope: ScopeHex, held: ScopeTrash, policy: PurgePolicy
    ) -> float:
        """Give one scope its turn; returns the seconds for which it then has to wait."""
        problems, before = self.problems.setdefault(attached.name, {}), len(held.folders)
        try:
            try:
                wait = await self._purge(attached, scope, held, policy)
            finally:
                await self._look(attached, scope)
        except RootLost:
            raise
        except BackendError as error:
            problems[scope] = f"trash of scope {scope}: {error.reason}: {error}"
            log.warning("trash resists", extra={"backend": attached.name, "error": str(error)})
            return 0.0 if len(held.folders) < before else AGAIN_SECONDS
        problems.pop(scope, None)
        return wait

    async def _purge(
        self, attached: Attached, scope: ScopeHex, held: ScopeTrash, policy: PurgePolicy
    ) -> float:
        name, wait = attached.name, 0.0
        if policy.only is not None:
            # How full it was is old news: what was freed meanwhile must not cost anybody's trash.
            held.state = await attached.port.describe_scope(scope)
            if not policies.is_full(held.state, attached.spec.trash.purge_above_percent):
                return wait
        result = await attached.port.purge(scope, policy)
        self._book.removing(name, result.removed_entries)
        self._ctx.metrics.purged(name, result.removed_folders, result.removed_entries)
        if result.removed_folders:
            self._tell_removed(attached, held, result.removed_folders, policy)
            if policy.only is not None and attached.health is not None:
                wait = float(attached.health.capabilities.usage_lag_seconds)
        return wait

    async def _look(self, attached: Attached, scope: ScopeHex) -> None:
        """See what is left."""
        state = await attached.port.describe_scope(scope)
        trash = [
            folder
            async for folder in attached.port.list_folders(scope)
            if folder.phase in (FolderPhase.TRASHED, FolderPhase.PURGING)
        ]
        self._book.seen(attached.name, state, trash)

    def _tell_removed(
        self, attached: Attached, held: ScopeTrash, folders: int, policy: PurgePolicy
    ) -> None:
        owner = held.state.owner if held.state is not None else None
        about = self._ctx.store.get(Key(Kinds.BACKEND, "", attached.name))
        if owner is not None and owner.cluster == self._ctx.cluster:
            scope = self._ctx.store.get(Key(Kinds.SCOPE, owner.namespace, owner.name))
            about = scope or about
        if about is None:
            return
        if policy.only is None:
            message = f"{folders} deleted folders were removed for good: their time was over"
            self._ctx.recorder.normal(about, "TrashPurged", message, "Purge")
        else:
            self._ctx.recorder.warning(
                about,
                "TrashPurgedEarly",
                f"folder {policy.only.uuid} was removed for good before its time: the scope is "
                f"above {attached.spec.trash.purge_above_percent} % of its limits",
                "Purge",
            )

    async def _remove_retired(self, attached: Attached) -> None:
        """Remove scopes whose object is gone, and whose trash is, too."""
        name, problems = attached.name, self.problems.setdefault(attached.name, {})
        for scope, owner in (await attached.port.list_retired()).items():
            held = self._book.of(name, scope)
            if owner.cluster != self._ctx.cluster or (held is not None and held.folders):
                continue
            if await self._is_had(name, scope, owner):
                continue
            try:
                removed = await attached.port.delete_retired(scope, owner)
            except RootLost:
                raise
            except BackendError as error:
                problems[scope] = f"retired scope {scope}: {error.reason}: {error}"
                continue
            problems.pop(scope, None)
            if removed:
                log.info("retired scope removed", extra={"backend": name, "scope": str(scope)})

    async def _is_had(self, backend: str, scope: ScopeHex, owner: Owner) -> bool:
        """Whether an object stands for a scope that somebody retired; its reconciler takes it."""
        body = await self._ctx.kube.find(Kinds.SCOPE, owner.name, owner.namespace)
        if body is None or body["spec"]["backend"] != backend or not stands_for(body, scope):
            return False
        self._ctx.enqueue(Key(Kinds.SCOPE, owner.namespace, owner.name))
        return True

    def _next(self, attached: Attached) -> float | None:
        """Seconds until the next one is due."""
        loop, now = asyncio.get_running_loop().time(), time.time()
        retention = parse_duration(attached.spec.trash.retention)
        waits = [
            max(
                0.0 if folder.phase is FolderPhase.PURGING else expiry(folder, retention) - now,
                held.not_before - loop,
                CONTINUE_SECONDS,
            )
            for _, held in self._book.scopes(attached.name)
            for folder in held.of_cluster(self._ctx.cluster)
        ]
        return min(waits, default=None)

    def _measure(self, backend: str) -> None:
        self._ctx.metrics.trash(backend, self._book.status(backend))


def stands_for(body: Body, scope: ScopeHex) -> bool:
    """Whether an object is, or is becoming, about this very scope."""
    meta = body["metadata"]
    named = (
        (body.get("status") or {}).get("scopeID"),
        (meta.get("annotations") or {}).get(ANNOTATION_ID),
        body["spec"].get("scopeID"),
        f"project:{meta['uid']}",
    )
    for text in named:
        if text:
            try:
                return QuotaScopeID.parse(text).hex == scope
            except ValueError:
                continue
    return False

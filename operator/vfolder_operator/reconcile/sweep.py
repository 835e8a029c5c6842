"""The regular look over a whole storage: usage, drift, missing folders, trash, orphans.

One bulk read per storage serves all its scopes; what it finds goes to the scope's and the folder's
own reconciler. Trash whose time has come is removed here, also that of objects that are long gone.
"""

import asyncio
import logging
import time

from vfolder_backends.errors import BackendError
from vfolder_backends.port import FolderPhase, FolderState, PurgePolicy, ScopeState
from vfolder_operator.crds.common import parse_duration
from vfolder_operator.fleet import Attached
from vfolder_operator.kube import Kinds
from vfolder_operator.reconcile.context import Context
from vfolder_operator.reconcile.folder import FolderReconciler
from vfolder_operator.reconcile.scope import ScopeReconciler
from vfolder_operator.store import Key

log = logging.getLogger(__name__)


class Sweep:
    """Compares storages with objects.

    Attributes:
        orphans: per backend, how many marked scopes and folders no object stands for.
    """

    def __init__(
        self, context: Context, scopes: ScopeReconciler, folders: FolderReconciler
    ) -> None:
        self._ctx = context
        self._scopes = scopes
        self._folders = folders
        self._folders_seen: dict[str, float] = {}
        self.orphans: dict[str, int] = {}

    async def run(self, attached: Attached) -> None:
        """Look over one storage once.

        Folders are looked at as often as the drift interval says, or with each refresh where the
        storage counts their usage.
        """
        now = asyncio.get_running_loop().time()
        interval = float(parse_duration(attached.spec.drift.interval))
        if attached.health is not None and attached.health.capabilities.folder_usage:
            interval = min(interval, self._ctx.settings.refresh_seconds)
        due = now - self._folders_seen.get(attached.name, -interval) >= interval
        orphans = 0
        async for state in attached.port.list_scopes():
            if state.owner is None or state.owner.cluster != self._ctx.cluster:
                continue
            key = Key(Kinds.SCOPE, state.owner.namespace, state.owner.name)
            body = self._ctx.store.get(key)
            known = body is not None and body["spec"]["backend"] == attached.name
            orphans += not known
            if known:
                self._ctx.metrics.scope(attached.name, key, state)
                await self._scopes.observe(key, state)
            if due:
                orphans += await self._look_into(attached, state, known=known)
        if due:
            self._folders_seen[attached.name] = now
            self.orphans[attached.name] = orphans

    async def _look_into(self, attached: Attached, state: ScopeState, *, known: bool) -> int:
        """Look at all folders of a scope; returns the orphans among them."""
        orphans, trash, folders = 0, [], 0
        async for folder in attached.port.list_folders(state.scope):
            folders += 1
            if folder.phase in (FolderPhase.TRASHED, FolderPhase.PURGING):
                trash.append(folder)
            elif folder.owner is not None and folder.owner.cluster == self._ctx.cluster:
                key = Key(Kinds.FOLDER, folder.owner.namespace, folder.owner.name)
                if self._ctx.store.get(key) is None:
                    orphans += 1
                else:
                    await self._folders.observe(key, folder)
        if trash:
            await self._purge(attached, state, trash)
        elif folders == 0 and not known:
            await self._finish(attached, state)
        return orphans

    async def _purge(self, attached: Attached, state: ScopeState, trash: list[FolderState]) -> None:
        """Remove the trash whose retention is over; all of it where the scope is nearly full."""
        spec, now = attached.spec.trash, time.time()
        before = now - parse_duration(spec.retention)
        usage, limit = state.usage, state.limits.bytes
        if (
            usage is not None
            and usage.bytes is not None
            and limit is not None
            and 100 * usage.bytes >= spec.purge_above_percent * limit
        ):
            before = now
        if not any(f.phase is FolderPhase.PURGING or (f.since or now) <= before for f in trash):
            return
        result = await attached.port.purge(state.scope, PurgePolicy(before=before))
        log.info(
            "trash purged",
            extra={
                "backend": attached.name,
                "scope": str(state.scope),
                "folders": result.removed_folders,
                "entries": result.removed_entries,
            },
        )

    async def _finish(self, attached: Attached, state: ScopeState) -> None:
        """Remove an empty scope whose object is gone: it holds nothing that could be lost."""
        owner = state.owner
        if owner is None or await self._ctx.kube.find(Kinds.SCOPE, owner.name, owner.namespace):
            return
        try:
            await attached.port.delete_scope(state.scope, owner)
        except BackendError as error:
            log.warning("empty scope not removed", extra={"error": str(error)})

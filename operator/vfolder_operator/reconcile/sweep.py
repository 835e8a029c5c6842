"""The regular look over a whole storage: usage, drift, missing folders, trash, orphans.

One bulk read per storage serves all its scopes; what it finds goes to the scope's and the folder's
own reconciler, and to the chores that remove trash and walk over files. Nothing is removed here.
"""

import asyncio

from vfolder_backends.errors import BackendError, RootLost
from vfolder_backends.ids import ScopeHex, VolumeHandle
from vfolder_backends.port import FolderPhase, ScopeState
from vfolder_operator.crds.common import parse_duration
from vfolder_operator.fleet import Attached
from vfolder_operator.kube import Kinds, KubeError
from vfolder_operator.reconcile.chores import Chore, Work
from vfolder_operator.reconcile.context import Context
from vfolder_operator.reconcile.folder import FolderReconciler
from vfolder_operator.reconcile.hold import Hold
from vfolder_operator.reconcile.scope import ScopeReconciler
from vfolder_operator.reconcile.trash import stands_for
from vfolder_operator.store import Key


class Sweep:
    """Compares storages with objects.

    Attributes:
        orphans: per backend, how many marked scopes and folders no object stands for.
        problems: per backend, what went wrong with single scopes in the last sweep.
    """

    def __init__(
        self, context: Context, scopes: ScopeReconciler, folders: FolderReconciler
    ) -> None:
        self._ctx = context
        self._scopes = scopes
        self._folders = folders
        self._folders_seen: dict[str, float] = {}
        self.orphans: dict[str, int] = {}
        self.problems: dict[str, list[str]] = {}

    async def run(self, attached: Attached) -> None:
        """Look over one storage once.

        Folders are looked at as often as the drift interval says, or with each refresh where the
        storage counts their usage. What goes wrong with one scope does not keep the others from
        being looked at.

        Raises:
            BackendError: the storage cannot be listed, or its root is lost.
        """
        now = asyncio.get_running_loop().time()
        interval = float(parse_duration(attached.spec.drift.interval))
        if attached.health is not None and attached.health.capabilities.folder_usage:
            interval = min(interval, self._ctx.settings.refresh_seconds)
        due = now - self._folders_seen.get(attached.name, -interval) >= interval
        retired = await attached.port.list_retired() if due else {}
        orphans, problems, seen = 0, [], set()
        there: set[ScopeHex] = set()
        async for state in attached.port.list_scopes():
            there.add(state.scope)
            if state.owner is None or state.owner.cluster != self._ctx.cluster:
                continue
            key = Key(Kinds.SCOPE, state.owner.namespace, state.owner.name)
            known = self._stands_for(key, attached, state.scope)
            try:
                if due:
                    orphans += await self._look_into(attached, state)
                if known:
                    seen.add(key)
                    self._ctx.metrics.scope(attached.name, key, state)
                    await self._scopes.observe(key, state)
                elif state.scope not in retired:
                    orphans += 1
            except RootLost:
                raise
            except (BackendError, KubeError, Hold) as error:
                problems.append(f"scope {state.scope}: {error}")
        for key in self._ctx.store.scopes_of(attached.name):
            if key not in seen:
                self._ctx.enqueue(key)  # not there, or not made yet: its reconciler finds out
        self.problems[attached.name] = problems
        if due:
            self._folders_seen[attached.name] = now
            self.orphans[attached.name] = orphans
            self._ctx.trash.keep_only(attached.name, there)
        for work in Work:
            self._ctx.chore(Chore(work, attached.name))

    def _stands_for(self, key: Key, attached: Attached, scope: ScopeHex) -> bool:
        """Whether the object of that name is about this very scope, and not only named so."""
        body = self._ctx.store.get(key)
        if body is None or body["spec"]["backend"] != attached.name:
            return False
        return stands_for(body, scope)

    async def _look_into(self, attached: Attached, state: ScopeState) -> int:
        """Look at all folders of a scope; returns the orphans among them."""
        orphans, trash = 0, []
        async for folder in attached.port.list_folders(state.scope):
            if folder.phase in (FolderPhase.TRASHED, FolderPhase.PURGING):
                trash.append(folder)
            elif folder.owner is not None and folder.owner.cluster == self._ctx.cluster:
                key = Key(Kinds.FOLDER, folder.owner.namespace, folder.owner.name)
                handle = VolumeHandle(attached.name, state.scope, folder.folder)
                body = self._ctx.store.get(key)
                status = (body or {}).get("status") or {}
                if status.get("volumeHandle") == str(handle):
                    await self._folders.observe(key, folder)
                elif body is None or status.get("volumeHandle"):
                    orphans += 1  # else it is just being made
        self._ctx.trash.seen(attached.name, state, trash)
        return orphans

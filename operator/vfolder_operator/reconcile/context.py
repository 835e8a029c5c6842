"""What every reconciler works with."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from vfolder_backends.errors import RootLost
from vfolder_backends.ledger import IdLedger
from vfolder_backends.port import Owner
from vfolder_operator.conditions import flips
from vfolder_operator.crds.common import StatusModel
from vfolder_operator.fleet import Attached, Fleet
from vfolder_operator.kube import Body, Conflict, Kinds, Kube, merge_patch
from vfolder_operator.metrics import Metrics
from vfolder_operator.names import FINALIZER
from vfolder_operator.reconcile.audit_book import AuditBook
from vfolder_operator.reconcile.chores import Chore
from vfolder_operator.reconcile.hold import Hold
from vfolder_operator.reconcile.trash_book import TrashBook
from vfolder_operator.recorder import Recorder
from vfolder_operator.settings import Settings
from vfolder_operator.store import Key, Store


@dataclass(slots=True)
class Context:
    """The operator's parts, as reconcilers see them.

    Attributes:
        cluster: uid of the kube-system namespace; names this cluster in owner marks.
        ids: where project ids come from.
        enqueue: has a key looked at now.
        chore: has a chore done now, in the background.
        trash: what lies in the trash of all storages.
        audits: what walks over all files found.
    """

    settings: Settings
    kube: Kube
    store: Store
    fleet: Fleet
    recorder: Recorder
    metrics: Metrics
    cluster: str
    ids: IdLedger
    enqueue: Callable[[Key], None]
    chore: Callable[[Chore], None]
    trash: TrashBook
    audits: AuditBook
    _untold: dict[Key, float] = field(default_factory=dict)

    def owner(self, key: Key) -> Owner:
        """The owner mark of an object."""
        return Owner(self.cluster, key.namespace, key.name)

    def backend(self, name: str) -> Attached:
        """The storage of that name, usable now (`Hold`)."""
        if self.store.get(Key(Kinds.BACKEND, "", name)) is None:
            raise Hold(
                "BackendNotFound", f"StorageBackend {name!r} does not exist", quiet=1.0, warn=False
            )
        attached = self.fleet.get(name)
        if attached is None or (attached.health is None and attached.problem is None):
            # Not looked at yet: after a start that passes by itself, and is no news.
            raise Hold(
                "BackendNotReady", f"StorageBackend {name!r} was not looked at yet", quiet=10.0
            )
        if not attached.usable:
            why = attached.problem
            lost = isinstance(why, RootLost)
            detail = f": {why.reason}: {why}" if why else ""
            raise Hold(
                RootLost.reason if lost else "BackendNotReady",
                f"StorageBackend {name!r} is not ready{detail}",
                quiet=1.0,
                warn=False,
            )
        return attached

    async def namespace_labels(self, name: str) -> dict[str, str]:
        """The labels of a namespace."""
        body = self.store.get(Key(Kinds.NAMESPACE, "", name))
        if body is None:
            body = await self.kube.get(Kinds.NAMESPACE, name)
        labels: dict[str, str] = body["metadata"].get("labels") or {}
        return labels

    async def protect(self, key: Key, body: Body, annotations: dict[str, str]) -> Body:
        """Put our finalizer and annotations on an object, in one write, if they are not there.

        The write carries the resourceVersion, so two leaders cannot both decide.
        """
        meta = body["metadata"]
        finalizers = list(meta.get("finalizers") or [])
        present = meta.get("annotations") or {}
        missing = {k: v for k, v in annotations.items() if present.get(k) != v}
        if FINALIZER in finalizers and not missing:
            return body
        patch: Body = {"resourceVersion": meta["resourceVersion"]}
        if missing:
            patch["annotations"] = missing
        if FINALIZER not in finalizers:
            patch["finalizers"] = [*finalizers, FINALIZER]
        return await self._patch_meta(key, patch)

    async def annotate(self, key: Key, body: Body, annotations: dict[str, str | None]) -> Body:
        """Set or remove (None) annotations."""
        patch = {
            "resourceVersion": body["metadata"]["resourceVersion"],
            "annotations": annotations,
        }
        return await self._patch_meta(key, patch)

    async def release(self, key: Key, body: Body) -> None:
        """Take our finalizer off, which lets the object go."""
        meta = body["metadata"]
        left = [f for f in meta.get("finalizers") or [] if f != FINALIZER]
        patch = {"resourceVersion": meta["resourceVersion"], "finalizers": left}
        await self._patch_meta(key, patch)
        self.store.remove(key)
        self._untold.pop(key, None)

    async def _patch_meta(self, key: Key, patch: Body) -> Body:
        body = await self.kube.patch(key.kind, key.name, key.namespace, {"metadata": patch})
        self.store.put(key.kind, body)
        return body

    async def tell(
        self,
        key: Key,
        body: Body,
        status: StatusModel,
        *,
        quiet: float = 0.0,
        warn: bool = True,
        aside: bool = False,
    ) -> float:
        """Write a status if it changed, and post an event for each condition that turned bad.

        Args:
            key: whose.
            body: the object as it was when the status was made.
            status: the whole status.
            quiet: seconds for which a change is kept back.
            warn: whether to post events.
            aside: told by a sweep, beside the object's own reconciler: what that one wrote since
                `body` was read is newer, and stays.

        Returns:
            Seconds after which to come again because something is not told yet; 0 when all is.
        """
        new, old = status.dump(), body.get("status") or {}
        patch = merge_patch(old, new)
        if not patch:
            self._untold.pop(key, None)
            return 0.0
        now = asyncio.get_running_loop().time()
        waited = now - self._untold.setdefault(key, now)
        if waited < quiet:
            return quiet - waited
        self._untold.pop(key, None)
        # A status must not end up on another object of that name, and the API server does not
        # compare uids in a patch of the status; versions it does.
        version = body["metadata"]["resourceVersion"]
        whole = {"metadata": {"resourceVersion": version}, "status": patch}
        try:
            written = await self.kube.patch(
                key.kind, key.name, key.namespace, whole, subresource="status"
            )
        except Conflict:
            if not aside:
                raise
            return 0.0  # the next sweep tells it
        self.store.put(key.kind, written)
        for condition in flips(old.get("conditions") or [], new.get("conditions") or []):
            if warn and condition["type"] in _GOOD_WHEN_TRUE and condition["status"] == "False":
                self.recorder.warning(body, condition["reason"], condition["message"])
        return 0.0


_GOOD_WHEN_TRUE = frozenset({"Ready", "Healthy", "QuotaEnforced", "TLSVerified"})

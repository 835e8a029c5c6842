"""Watch handlers: each event updates the store and puts the right keys into the queue."""

from collections.abc import Callable
from typing import Any

import kopf

from vfolder_operator.kube import Body, Kinds
from vfolder_operator.store import Key, Store, folder_key, key_of, scope_key


class Feed:
    """Turns watched objects into keys.

    What we wrote ourselves comes back as an event, too; an event that changes nothing that a
    reconciler looks at enqueues nothing.
    """

    def __init__(
        self, store: Store, enqueue: Callable[[Key], None], hurry: Callable[[Key], None]
    ) -> None:
        """`hurry` enqueues ahead of others: what is nearly done comes before what is new."""
        self._store = store
        self._enqueue = enqueue
        self._hurry = hurry

    def seen(self, kind: Kinds, body: Body) -> None:
        """An object is there."""
        key = key_of(kind, body)
        before = self._store.get(key)
        self._store.put(kind, body)
        after = self._store.get(key)
        if before is None or after is None or _essence(kind, before) != _essence(kind, after):
            self._wake(key, body)

    def gone(self, kind: Kinds, body: Body) -> None:
        """An object is gone."""
        key = key_of(kind, body)
        known = self._store.get(key)
        if known is not None and known["metadata"].get("uid") != body["metadata"].get("uid"):
            return  # a new object of that name is there already
        self._store.remove(key)
        self._wake(key, body)

    def _wake(self, key: Key, body: Body) -> None:
        match key.kind:
            case Kinds.BACKEND:
                self._enqueue(key)
                for scope in self._store.scopes_of(key.name):
                    self._enqueue(scope)
            case Kinds.SCOPE:
                self._enqueue(key)
                for folder in self._store.folders_of(key):
                    self._enqueue(folder)
            case Kinds.NAMESPACE:
                for scope in self._store.keys(Kinds.SCOPE):
                    if scope.namespace == key.name:
                        self._enqueue(scope)
            case Kinds.FOLDER:
                self._enqueue(key)
                if self._store.get(key) is None:
                    self._enqueue(scope_key(body))
            case _:
                owner = folder_key(body)
                if owner is not None:
                    self._hurry(owner)


def _essence(kind: Kinds, body: Body) -> tuple[Any, ...]:
    """What a reconciler looks at."""
    meta, status = body["metadata"], body.get("status") or {}
    common = (
        meta.get("uid"),
        meta.get("generation"),
        meta.get("deletionTimestamp"),
        meta.get("annotations"),
        meta.get("finalizers"),
    )
    match kind:
        case Kinds.NAMESPACE:
            return (meta.get("uid"), meta.get("labels"))
        case Kinds.SCOPE:
            ready = [c["status"] for c in status.get("conditions", []) if c["type"] == "Ready"]
            return (*common, ready, status.get("scopeID"))
        case Kinds.CLAIM:
            return (*common, status.get("phase"), body["spec"].get("volumeName"))
        case Kinds.VOLUME:
            return (*common, status.get("phase"), body["spec"].get("claimRef", {}).get("uid"))
        case _:
            return common


WATCHED = (
    Kinds.NAMESPACE,
    Kinds.BACKEND,
    Kinds.SCOPE,
    Kinds.FOLDER,
    Kinds.CLAIM,
    Kinds.VOLUME,
)


def register(registry: kopf.OperatorRegistry, feed: Feed) -> None:
    """Put one event handler per kind into kopf's registry."""
    for kind in WATCHED:
        resource = kind.value

        async def handler(
            event: kopf.RawEvent, body: kopf.Body, *, _kind: Kinds = kind, **_: object
        ) -> None:
            raw: Body = dict(event["object"])
            if event["type"] == "DELETED":
                feed.gone(_kind, raw)
            else:
                feed.seen(_kind, raw)

        kopf.on.event(
            resource.group,
            resource.version,
            resource.plural,
            id=f"watch-{resource.plural}",
            registry=registry,
        )(handler)

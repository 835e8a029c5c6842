"""What the cluster looked like when last seen: the objects we watch, by key, with two indexes.

It is a cache, filled by a list at start and by kopf's watch events. Nothing is destroyed because an
object is not in it: decisions that lose something read the API server.
"""

from collections import defaultdict
from dataclasses import dataclass

from vfolder_operator.kube import Body, Kinds
from vfolder_operator.names import ANNOTATION_OBJECT


@dataclass(frozen=True, slots=True)
class Key:
    """Names one object; what the queue works on."""

    kind: Kinds
    namespace: str
    name: str

    def __str__(self) -> str:
        where = f"{self.namespace}/" if self.namespace else ""
        return f"{self.kind.value.kind} {where}{self.name}"


def key_of(kind: Kinds, body: Body) -> Key:
    """The key of an object."""
    meta = body["metadata"]
    return Key(kind, meta.get("namespace", ""), meta["name"])


class Store:
    """The watched objects."""

    def __init__(self) -> None:
        self._objects: dict[Key, Body] = {}
        self._scopes_by_backend: defaultdict[str, set[Key]] = defaultdict(set)
        self._folders_by_scope: defaultdict[Key, set[Key]] = defaultdict(set)

    def put(self, kind: Kinds, body: Body) -> Key:
        """Remember an object, unless a newer version of it is known."""
        key = key_of(kind, body)
        known = self._objects.get(key)
        if known is not None and _is_older(body, known):
            return key
        self._drop_indexes(key)
        self._objects[key] = _slim(body)
        if kind is Kinds.SCOPE:
            self._scopes_by_backend[body["spec"]["backend"]].add(key)
        elif kind is Kinds.FOLDER:
            self._folders_by_scope[scope_key(body)].add(key)
        return key

    def remove(self, key: Key) -> None:
        """Forget an object."""
        self._drop_indexes(key)
        self._objects.pop(key, None)

    def get(self, key: Key) -> Body | None:
        """The object as last seen; not to be changed."""
        return self._objects.get(key)

    def keys(self, kind: Kinds) -> list[Key]:
        """All keys of one kind."""
        return [key for key in self._objects if key.kind is kind]

    def scopes_of(self, backend: str) -> list[Key]:
        """The scopes on a backend."""
        return sorted(self._scopes_by_backend.get(backend, ()), key=str)

    def folders_of(self, scope: Key) -> list[Key]:
        """The folders in a scope."""
        return sorted(self._folders_by_scope.get(scope, ()), key=str)

    def _drop_indexes(self, key: Key) -> None:
        body = self._objects.get(key)
        if body is None:
            return
        if key.kind is Kinds.SCOPE:
            self._scopes_by_backend[body["spec"]["backend"]].discard(key)
        elif key.kind is Kinds.FOLDER:
            self._folders_by_scope[scope_key(body)].discard(key)


def scope_key(folder: Body) -> Key:
    """The scope that a VFolder names."""
    return Key(Kinds.SCOPE, folder["metadata"]["namespace"], folder["spec"]["quotaScope"])


def folder_key(child: Body) -> Key | None:
    """The VFolder that a claim or volume of ours belongs to."""
    text = (child["metadata"].get("annotations") or {}).get(ANNOTATION_OBJECT, "")
    namespace, slash, name = text.partition("/")
    return Key(Kinds.FOLDER, namespace, name) if slash else None


def _is_older(body: Body, known: Body) -> bool:
    """Whether `body` precedes `known`; resource versions are comparable integers in practice."""
    if body["metadata"].get("uid") != known["metadata"].get("uid"):
        return False
    new, old = (str(b["metadata"].get("resourceVersion", "")) for b in (body, known))
    return new.isdigit() and old.isdigit() and int(new) < int(old)


def _slim(body: Body) -> Body:
    """Leave out what nobody reads here and what would fill the memory."""
    meta = {k: v for k, v in body["metadata"].items() if k != "managedFields"}
    return {**body, "metadata": meta}

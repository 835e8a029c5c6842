"""Objects for what was found: QuotaScope, VFolder, and the entries a StorageBackend needs."""

from collections.abc import Iterable
from typing import Final

import yaml

from vfolder_backends.adoption.mapping import MappedScope
from vfolder_backends.adoption.verdicts import FolderObject, ScopeObject
from vfolder_backends.facts import Enforcement, Level
from vfolder_backends.port import Limits
from vfolder_backends.sizes import UNLIMITED, format_bytes
from vfolder_operator.kube import Body, Kinds
from vfolder_operator.names import ANNOTATION_ID

ANNOTATION_GIVEN_NAME: Final = "vfolder.dev/given-name"
"""On an adopted VFolder: what the folder was called, where that cannot be an object's name."""

_USUAL: Final = Level.COOPERATIVE  # what a QuotaScope asks for unless it says otherwise


def scope_spec(backend: str, limits: Limits, enforcement: Enforcement) -> Body:
    """A QuotaScope's spec with the limits that are there now."""
    shown: Body = {"bytes": UNLIMITED if limits.bytes is None else format_bytes(limits.bytes)}
    if limits.files is not None:
        shown["files"] = limits.files
    spec: Body = {"backend": backend, "limits": shown, "reclaimPolicy": "Retain"}
    levels = [enforcement.bytes]
    if limits.files is not None:
        levels.append(enforcement.files)
    weakest = max(levels, key=list(Level).index)
    if not weakest.at_least(_USUAL):
        spec["minEnforcement"] = str(weakest)
    return spec


def expected_spec(
    backend: str, said: MappedScope, limits: Limits, enforcement: Enforcement
) -> Body:
    """The spec that a scope will get, for checks before there is an object."""
    return {"scopeID": str(said.id), **scope_spec(backend, limits, enforcement)}


def scope_manifest(made: ScopeObject, backend: str, *, rebuilt: bool) -> Body:
    """A QuotaScope; a rebuilt one finds its scope by annotation, as a restored backup does."""
    spec = scope_spec(backend, made.limits, made.enforcement)
    meta: Body = {"name": made.name, "namespace": made.namespace}
    if rebuilt:
        meta["annotations"] = {ANNOTATION_ID: str(made.id)}
    else:
        spec = {"scopeID": str(made.id), **spec}
    return _typed(Kinds.SCOPE, meta, spec)


def folder_manifest(made: FolderObject, *, rebuilt: bool) -> Body:
    """A VFolder; owner and mode are left out, so they stay as they are."""
    spec: Body = {"quotaScope": made.scope.name, "reclaimPolicy": "Retain"}
    meta: Body = {"name": made.name, "namespace": made.scope.namespace}
    if rebuilt:
        meta["annotations"] = {ANNOTATION_ID: made.folder.uuid}
    else:
        spec["folderID"] = made.folder.uuid
        if made.given_name not in ("", made.name, made.folder.uuid):
            meta["annotations"] = {ANNOTATION_GIVEN_NAME: made.given_name}
    return _typed(Kinds.FOLDER, meta, spec)


def adoption_entry(made: ScopeObject, *, rebuilt: bool) -> Body:
    """Leave for this very object to take that scope.

    A rebuilt scope is taken only from the object of the same name in the lost cluster, and its
    folders likewise.
    """
    entry: Body = {"scopeID": str(made.id), "namespace": made.namespace, "name": made.name}
    if rebuilt and made.previous is not None:
        entry["previousCluster"] = made.previous.cluster
    return entry


def namespace_manifest(name: str) -> Body:
    """A Namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def only_namespaces(names: Iterable[str]) -> Body:
    """A selector of just these namespaces."""
    expression = {
        "key": "kubernetes.io/metadata.name",
        "operator": "In",
        "values": sorted(names),
    }
    return {"matchExpressions": [expression]}


def bare_backend(body: Body) -> Body:
    """A StorageBackend as people write it: without status and what the API server adds."""
    meta = body["metadata"]
    kept: Body = {"name": meta["name"]}
    for key in ("labels", "annotations"):
        values = {
            k: v
            for k, v in (meta.get(key) or {}).items()
            if k != "kubectl.kubernetes.io/last-applied-configuration"
        }
        if values:
            kept[key] = values
    return _typed(Kinds.BACKEND, kept, body.get("spec") or {})


def _typed(kind: Kinds, meta: Body, spec: Body) -> Body:
    resource = kind.value
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": meta,
        "spec": spec,
    }


def to_yaml(manifest: Body) -> str:
    """One YAML document, with its separator before it."""
    return "---\n" + yaml.safe_dump(manifest, sort_keys=False, allow_unicode=True)

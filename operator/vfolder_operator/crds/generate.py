"""Prints the CRDs from the models: `python -m vfolder_operator.crds.generate DIRECTORY`.

The models are the source; the YAML in `crds/` and in the chart is written from them by `make crds`
and compared in the tests, so the three cannot drift apart.
"""

import json
import pathlib
import sys
from dataclasses import dataclass
from typing import Final

from vfolder_operator.crds.backend import StorageBackendSpec, StorageBackendStatus
from vfolder_operator.crds.common import JsonObject, Model, StatusModel, rules
from vfolder_operator.crds.folder import VFolderSpec, VFolderStatus
from vfolder_operator.crds.scope import QuotaScopeSpec, QuotaScopeStatus
from vfolder_operator.names import GROUP, VERSION


@dataclass(frozen=True, slots=True)
class Column:
    """One column of `kubectl get`."""

    name: str
    path: str
    type: str = "string"
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind, as far as its schema does not say it."""

    kind: str
    plural: str
    short: str
    namespaced: bool
    description: str
    spec: type[Model]
    status: type[StatusModel]
    columns: tuple[Column, ...]
    rules: tuple[tuple[str, str], ...] = ()


def _ready(name: str = "Ready") -> Column:
    return Column(name.upper(), f'.status.conditions[?(@.type=="{name}")].status')


_AGE = Column("AGE", ".metadata.creationTimestamp", "date")
_REASON = Column("REASON", '.status.conditions[?(@.type=="Ready")].reason', wide=True)

KINDS: Final = (
    Kind(
        "StorageBackend",
        "storagebackends",
        "sb",
        False,
        "A storage that the site owns, and who may have quota scopes on it.",
        StorageBackendSpec,
        StorageBackendStatus,
        (
            Column("TYPE", ".spec.type"),
            Column("ENFORCEMENT", ".status.capabilities.enforcement"),
            Column("USED", ".status.display.used"),
            Column("TOTAL", ".status.display.total"),
            _ready(),
            _AGE,
            _REASON,
        ),
        (
            (
                "size(self.metadata.name) <= 40 && !self.metadata.name.contains('.')",
                "the name stands in volume handles: at most 40 characters, no dots",
            ),
        ),
    ),
    Kind(
        "QuotaScope",
        "quotascopes",
        "qs",
        True,
        "A budget of bytes and files on one storage, shared by many folders.",
        QuotaScopeSpec,
        QuotaScopeStatus,
        (
            Column("BACKEND", ".spec.backend"),
            Column("USED", ".status.display.used"),
            Column("LIMIT", ".status.display.limit"),
            Column("%", ".status.usage.percent", "integer"),
            Column("FILES", ".status.usage.files", "integer"),
            Column("ENFORCEMENT", ".status.enforcement.bytes"),
            _ready(),
            _AGE,
            _REASON,
        ),
    ),
    Kind(
        "VFolder",
        "vfolders",
        "vf",
        True,
        "A folder in a quota scope, and the claim by which pods mount it.",
        VFolderSpec,
        VFolderStatus,
        (
            Column("SCOPE", ".spec.quotaScope"),
            Column("CLAIM", ".status.claim"),
            Column("PHASE", ".status.phase"),
            Column("USED", ".status.used"),
            _AGE,
            _REASON,
        ),
        (
            (
                "!has(self.spec.source) || self.spec.source.vfolder != self.metadata.name",
                "source names the VFolder itself",
            ),
        ),
    ),
)

_DROPPED = {"title", "$defs", "additionalProperties"}


def structural(schema: JsonObject, definitions: JsonObject) -> JsonObject:
    """Turn pydantic's JSON schema into a Kubernetes structural schema.

    References are resolved, `X or null` becomes an optional X, and closed objects stay open: the
    API server prunes or refuses unknown fields by itself.
    """
    if "$ref" in schema:
        target = definitions[schema["$ref"].rsplit("/", 1)[1]]
        schema = {**target, **{k: v for k, v in schema.items() if k != "$ref"}}
    if "anyOf" in schema:
        (only,) = [s for s in schema["anyOf"] if s.get("type") != "null"]
        rest = {k: v for k, v in schema.items() if k != "anyOf"}
        return structural({**only, **rest}, definitions)
    result = {k: v for k, v in schema.items() if k not in _DROPPED}
    if "const" in result:
        result["enum"] = [result.pop("const")]
    if result.get("default") is None or result.get("default") in ({}, [], ""):
        result.pop("default", None)
    if "properties" in schema:
        result["properties"] = {
            name: structural(sub, definitions) for name, sub in schema["properties"].items()
        }
        # The API server fills in the defaults of fields, so all an object needs is to be there.
        if result.pop("default", None) is not None and any(
            "default" in sub for sub in result["properties"].values()
        ):
            result["default"] = {}
    extra = schema.get("additionalProperties")
    if isinstance(extra, dict):
        result["additionalProperties"] = structural(extra, definitions)
    if "items" in schema:
        result["items"] = structural(schema["items"], definitions)
    return result


def model_schema(model: type[Model] | type[StatusModel]) -> JsonObject:
    """The structural schema of one model."""
    mode = "validation" if issubclass(model, Model) else "serialization"
    schema = model.model_json_schema(mode=mode)  # type: ignore[arg-type]
    return structural(schema, schema.get("$defs", {}))


def crd(kind: Kind) -> JsonObject:
    """The CustomResourceDefinition of one kind."""
    columns = [
        {"name": c.name, "type": c.type, "jsonPath": c.path, **({"priority": 1} if c.wide else {})}
        for c in kind.columns
    ]
    schema: JsonObject = {
        "type": "object",
        "description": kind.description,
        "required": ["spec"],
        "properties": {
            "spec": model_schema(kind.spec),
            "status": model_schema(kind.status),
        },
        **(rules(*kind.rules) if kind.rules else {}),
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.kind.lower(),
                "shortNames": [kind.short],
            },
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": columns,
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


def to_yaml(value: object, indent: int = 0) -> str:
    """Print plain data as YAML: block style, every scalar as JSON (which YAML contains).

    The operator's image carries no YAML library, and needs none for this.
    """
    pad = "  " * indent
    if isinstance(value, dict) and value:
        return "".join(f"{pad}{_key(k)}:{_after_key(v, indent)}" for k, v in value.items())
    if isinstance(value, list) and value:
        parts = []
        for item in value:
            text = to_yaml(item, indent + 1)
            parts.append(f"{pad}- {text.lstrip()}")
        return "".join(parts)
    return f"{pad}{json.dumps(value, ensure_ascii=False)}\n"


def _key(key: str) -> str:
    return key if key.replace("-", "").replace("_", "").isalnum() else json.dumps(key)


def _after_key(value: object, indent: int) -> str:
    if isinstance(value, (dict, list)) and value:
        return "\n" + to_yaml(value, indent + 1)
    return f" {json.dumps(value, ensure_ascii=False)}\n"


def main() -> None:
    """Write one file per kind into the directory that is named."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m vfolder_operator.crds.generate DIRECTORY")
    directory = pathlib.Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for kind in KINDS:
        path = directory / f"{kind.plural}.yaml"
        path.write_text("# Generated by `make crds`; edit the models.\n" + to_yaml(crd(kind)))


if __name__ == "__main__":
    main()

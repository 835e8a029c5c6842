"""The calls of ONTAP that are simulated, from the tables of names and types in its Python library.

The tables have no calls in them; those are in the library's texts, and in the REST reference.
"""

from collections.abc import Mapping
from typing import Any, Final

from vfolder_backends.testing.arrays import fieldtables
from vfolder_backends.testing.arrays.documents import Document, Operation, Parameter, Schema

_TEXT: Final = Parameter({"type": "string"})
_COMMON: Final = ("fields", "max_records", "order_by", "return_records", "return_timeout", "start")
_COLLECTIONS: Final = {
    "/storage/volumes": "Volume",
    "/storage/qtrees": "Qtree",
    "/storage/quota/rules": "QuotaRule",
    "/storage/quota/reports": "QuotaReport",
    "/protocols/nfs/export-policies": "ExportPolicy",
}
_ITEMS: Final = {
    "/storage/volumes/{uuid}": "Volume",
    "/storage/qtrees/{volume.uuid}/{id}": "Qtree",
    "/storage/quota/rules/{uuid}": "QuotaRule",
    "/cluster/jobs/{uuid}": "Job",
    "/cluster": "Cluster",
}
_CHANGES: Final = (
    "POST /storage/qtrees",
    "PATCH /storage/qtrees/{volume.uuid}/{id}",
    "DELETE /storage/qtrees/{volume.uuid}/{id}",
    "POST /storage/quota/rules",
    "PATCH /storage/quota/rules/{uuid}",
    "DELETE /storage/quota/rules/{uuid}",
    "PATCH /storage/volumes/{uuid}",
)
_LINKS: Final[Schema] = {"type": "object"}


def tables() -> Mapping[str, Mapping[str, Any]]:
    """Return the tables, by resource."""
    found: Mapping[str, Mapping[str, Any]] = fieldtables.read_file("ontap.fields.json")["resources"]
    return found


def document() -> Document:
    """Return the document."""
    return Document(_operations(tables()))


def _operations(known: Mapping[str, Mapping[str, Any]]) -> list[Operation]:
    made = []
    for path, name in _COLLECTIONS.items():
        filters = dict.fromkeys((*_COMMON, *(f.replace("[]", "") for f in known[name])), _TEXT)
        made.append(Operation("GET", path, filters, None, False, {200: _listing(known[name])}))
    for path, name in _ITEMS.items():
        query = dict.fromkeys(_COMMON, _TEXT)
        made.append(Operation("GET", path, query, None, False, {200: _record(known[name])}))
    made.append(
        Operation(
            "GET",
            "/storage/volumes/{uuid}/files/{path}",
            dict.fromkeys((*_COMMON, "return_metadata"), _TEXT),
            None,
            False,
            {200: _listing(known["FileInfo"])},
        )
    )
    for route in _CHANGES:
        method, _, path = route.partition(" ")
        name = {**_COLLECTIONS, **_ITEMS}[path]
        body = None if method == "DELETE" else fieldtables.model(known[name], settable=method)
        made.append(
            Operation(
                method,
                path,
                dict.fromkeys(("return_timeout", "return_records"), _TEXT),
                body,
                body is not None,
                {200: _listing(known[name]), 201: _listing(known[name]), 202: _JOB},
            )
        )
    return made


def _record(table: Mapping[str, Any]) -> Schema:
    """Return one record; every one may have links."""
    schema = dict(fieldtables.model(table))
    schema["properties"] = {**schema["properties"], "_links": _LINKS}
    return schema


def _listing(table: Mapping[str, Any]) -> Schema:
    return {
        "type": "object",
        "properties": {
            "records": {"type": "array", "items": _record(table)},
            "num_records": {"type": "integer"},
            "_links": _LINKS,
        },
        "additionalProperties": False,
    }


_JOB: Final[Schema] = {
    "type": "object",
    "required": ["job"],
    "properties": {
        "job": {
            "type": "object",
            "required": ["uuid"],
            "properties": {"uuid": {"type": "string"}, "_links": _LINKS},
            "additionalProperties": False,
        },
        "_links": _LINKS,
    },
    "additionalProperties": False,
}

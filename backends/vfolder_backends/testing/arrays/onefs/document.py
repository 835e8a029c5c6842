"""What OneFS's calls look like: its own schema of 8.0.1.2, and what other sources add to it."""

from typing import Final

from vfolder_backends.testing.arrays import fieldtables, papi
from vfolder_backends.testing.arrays.documents import Document, Parameter, Schema

NAMESPACE: Final = "/namespace/{path}"
SESSION: Final = "/session/1/session"

_TEXT: Final[Schema] = {"type": "string"}
_FLAG: Final[Schema] = {"type": "boolean"}


def _record(**fields: Schema) -> Schema:
    return {"type": "object", "properties": fields, "required": list(fields)}


def load() -> Document:
    """Return the document."""
    made = papi.load("onefs-8.0.1.2.papi.json")
    # PowerScale OneFS API Reference: "Latest version", since 8.1.
    made = made.amended("GET /platform/latest", replies={200: _record(latest=_TEXT)})
    # isilon-sdk 0.7.0, model QuotaLicense of OneFS 9.12.
    licence = fieldtables.read_file("onefs-9.12.license.json")["QuotaLicense"]
    made = made.amended("GET /platform/5/quota/license", replies={200: fieldtables.model(licence)})
    # PowerScale OneFS API Reference: "Create a session".
    services: Schema = {"type": "array", "items": {"enum": ["platform", "namespace"]}}
    seconds: Schema = {"type": "integer"}
    made = made.amended(
        f"POST {SESSION}",
        request=_record(username=_TEXT, password=_TEXT, services=services),
        request_required=True,
        replies={
            201: _record(
                services=services,
                timeout_absolute=seconds,
                timeout_inactive=seconds,
                username=_TEXT,
            )
        },
    )
    # Isilon/isilon_sdk papi_schemas/namespace.json: getDirectoryMetadata, deleteDirectory.
    attribute = {"type": "object", "properties": {"name": _TEXT, "value": {}}}
    made = made.amended(
        f"GET {NAMESPACE}",
        query={"metadata": Parameter(_TEXT, required=True)},
        replies={200: _record(attrs={"type": "array", "items": attribute})},
    )
    return made.amended(
        f"DELETE {NAMESPACE}", query={"recursive": Parameter(_FLAG)}, replies={204: None}
    )

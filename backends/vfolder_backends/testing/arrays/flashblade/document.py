"""FlashBlade's OpenAPI document 2.28, and what it says in words only."""

from typing import Any, Final

from vfolder_backends.testing.arrays import fieldtables, openapi
from vfolder_backends.testing.arrays.documents import Document

VERSION: Final = "2.28"
BASE: Final = f"/api/{VERSION}"


def load() -> Document:
    """Return the document."""
    source = fieldtables.read_file("flashblade-2.28.openapi.json")
    schemas: dict[str, Any] = source["components"]["schemas"]
    for name in ("FileSystem", "FileSystemPatch", "FileSystemPost"):
        parts = schemas[name].get("allOf", [schemas[name]])
        for part in parts:
            # "If set to an empty string, the file system is unlimited in size": typed as integer.
            if "provisioned" in part.get("properties", {}):
                part["properties"]["provisioned"] = {"anyOf": [{"type": "integer"}, {"enum": [""]}]}
            # "null if not destroyed".
            if "time_remaining" in part.get("properties", {}):
                part["properties"]["time_remaining"]["nullable"] = True
    return openapi.read(source)

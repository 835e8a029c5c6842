"""Reads the schema by which OneFS describes itself (`?describe`), a flavour of JSON Schema draft 3.

Keys are URL templates (`/1/quota/quotas/<QID>`), values hold `GET_args`, `GET_output_schema`,
`POST_input_schema` and so on. Which status a call answers with is not in it.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from vfolder_backends.testing.arrays.documents import Document, Operation, Parameter, Schema
from vfolder_backends.testing.arrays.fieldtables import read_file

_STATUS: Final = {"GET": 200, "POST": 201, "PUT": 204, "DELETE": 204}


def load(name: str, prefix: str = "/platform") -> Document:
    """Return the document in the file `name` of `specs/`; `prefix` goes before every URL."""
    return Document(_operations(read_file(name), prefix))


def _operations(source: Mapping[str, Any], prefix: str) -> Iterator[Operation]:
    for template, entry in source.items():
        if not isinstance(entry, Mapping):
            continue
        path = prefix + re.sub(r"<([^>]+)>", r"{\1}", template)
        for method, status in _STATUS.items():
            if f"{method}_args" not in entry:
                continue
            args = entry[f"{method}_args"].get("properties", {})
            request = entry.get(f"{method}_input_schema")
            reply = entry.get(f"{method}_output_schema")
            yield Operation(
                method,
                path,
                {
                    name: Parameter(translated(arg), arg.get("required") is True)
                    for name, arg in args.items()
                },
                translated(request) if request else None,
                request is not None,
                {status: translated(reply) if reply else None},
            )


def translated(schema: Mapping[str, Any]) -> Schema:
    """Return a draft 3 schema in the words of draft 4."""
    made = {k: v for k, v in schema.items() if k not in ("required", "description", "type")}
    kinds = schema.get("type")
    if isinstance(kinds, list) and any(isinstance(kind, Mapping) for kind in kinds):
        made["anyOf"] = [
            translated(kind) if isinstance(kind, Mapping) else {"type": kind} for kind in kinds
        ]
    elif kinds not in (None, "any"):
        made["type"] = kinds
    properties = schema.get("properties")
    if isinstance(properties, Mapping):
        made["properties"] = {name: translated(below) for name, below in properties.items()}
        required = [name for name, below in properties.items() if below.get("required") is True]
        if required:
            made["required"] = required
    if isinstance(schema.get("items"), Mapping):
        made["items"] = translated(schema["items"])
    return made

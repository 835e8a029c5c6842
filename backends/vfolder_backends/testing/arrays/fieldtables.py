"""Reads field tables: names and types, one line a field, where a vendor's document cannot be kept.

    "data[].inode_id": "number"            a field of the objects of a list
    "hard_limit_bytes": "integer required"
    "soft_limit_bytes": "integer nullable"
    "status": "string enum ADDING|ACTIVE"
    "tags": "list of string"
    "(value)": "string"                    the body itself

Three kinds of file: calls with their fields (`load`), and tables of a vendor's models with types in
words (`schema`) or as small objects (`model`), from which a simulator makes its own calls.
"""

import json
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any, Final

from vfolder_backends.testing.arrays.documents import Document, Operation, Parameter, Schema

_TYPES: Final[Mapping[str, Schema]] = {
    "string": {"type": "string"},
    "str": {"type": "string"},
    "integer": {"type": "integer"},
    "int": {"type": "integer"},
    "number": {"type": "number"},
    "float": {"type": "number"},
    "boolean": {"type": "boolean"},
    "bool": {"type": "boolean"},
    "datetime": {"type": "string"},
    "object": {"type": "object"},
    "array": {"type": "array"},
    "?": {},
}


def read_file(name: str) -> Any:
    """Return the parsed file `name` of `specs/`."""
    place = resources.files("vfolder_backends.testing.arrays") / "specs" / name
    return json.loads(place.read_text())


def load(name: str) -> Document:
    """Return the document in a file of calls: `paths` -> method -> parameters, request, replies."""
    return Document(
        _operation(method, path, call)
        for path, methods in read_file(name)["paths"].items()
        for method, call in methods.items()
    )


def _operation(method: str, path: str, call: Mapping[str, Any]) -> Operation:
    query = {
        name.removeprefix("query:"): Parameter(_type(words)[0], _type(words)[1])
        for name, words in call.get("parameters", {}).items()
        if name.startswith("query:")
    }
    request = call.get("request application/json")
    replies: dict[int, Schema | None] = {
        int(status): schema(fields) if fields else None
        for status, fields in call.get("responses", {}).items()
    }
    return Operation(
        method,
        path,
        query,
        schema(request) if request is not None else None,
        request is not None and not call.get("request optional", False),
        replies,
    )


def schema(fields: Mapping[str, str]) -> Schema:
    """Return the schema of an object whose fields are given as paths with types in words."""
    return _tree({name: _type(words) for name, words in fields.items()})


def model(
    fields: Mapping[str, Mapping[str, Any]],
    models: Callable[[str], Schema | None] = lambda name: None,
    settable: str = "",
) -> Schema:
    """Return the schema of a vendor's model given as a table of small objects.

    Args:
        fields: by name or path: `type`, and `enum`, `range`, `nullable`, `required`, `set_in`.
        models: finds what a type that is no basic one stands for.
        settable: keep only the fields that may be set by this method.
    """
    chosen = {
        name: facts
        for name, facts in fields.items()
        if not settable or settable in facts.get("set_in", ())
    }
    return _tree({name: _facts(facts, models) for name, facts in chosen.items()})


def _facts(facts: Mapping[str, Any], models: Callable[[str], Schema | None]) -> tuple[Schema, bool]:
    words = str(facts.get("type", "?"))
    listed = words.startswith("list")
    inner = words.removeprefix("list").strip("[] ").removeprefix("of ") if listed else words
    known = _TYPES.get(inner)
    found: dict[str, Any] = dict(known if known is not None else models(inner) or {})
    if "enum" in facts:
        found["enum"] = [*facts["enum"], *([None] if facts.get("nullable") else [])]
    if "range" in facts:
        low, high = facts["range"]
        found |= {k: v for k, v in (("minimum", low), ("maximum", high)) if v is not None}
    found |= {k: facts[k] for k in ("minLength", "maxLength", "minimum", "maximum") if k in facts}
    if facts.get("nullable") and isinstance(found.get("type"), str):
        found["type"] = [found["type"], "null"]
    return ({"type": "array", "items": found} if listed else found), bool(facts.get("required"))


def _type(words: str) -> tuple[Schema, bool]:
    parts = words.split()
    required, nullable = "required" in parts, "nullable" in parts
    listed = parts[:2] == ["list", "of"]
    found: dict[str, Any] = dict(_TYPES[parts[2] if listed else parts[0]])
    if "enum" in parts:
        found["enum"] = parts[parts.index("enum") + 1].split("|")
    if listed:
        found = {"type": "array", "items": found}
    if nullable and "type" in found:
        found["type"] = [found["type"], "null"]
    return found, required


def _tree(fields: Mapping[str, tuple[Schema, bool]]) -> Schema:
    """Return the closed schema of what the paths describe."""
    if "(value)" in fields:
        return fields["(value)"][0]
    groups: dict[str, dict[str, tuple[Schema, bool]]] = {}
    properties: dict[str, Any] = {}
    required = []
    for path, (found, must) in fields.items():
        name, dot, below = path.partition(".")
        if dot:
            groups.setdefault(name, {})[below] = (found, must)
        elif name not in groups:
            listed = name.endswith("[]")
            properties[name.removesuffix("[]")] = (
                {"type": "array", "items": found} if listed else found
            )
            if must:
                required.append(name.removesuffix("[]"))
    for name, inner in groups.items():
        tree = _tree(inner)
        properties[name.removesuffix("[]")] = (
            {"type": "array", "items": tree} if name.endswith("[]") else tree
        )
    made: dict[str, Any] = {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }
    if required:  # draft 4 knows no empty list here
        made["required"] = required
    return made

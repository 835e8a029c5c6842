"""Reads OpenAPI 3.0 documents, as VAST and Pure Storage publish them."""

import copy
import json
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from typing import Any, Final

from vfolder_backends.testing.arrays.documents import ROOT, Document, Operation, Parameter, Schema

_METHODS: Final = ("get", "post", "put", "patch", "delete")


def load(name: str, nullable: Iterable[str] = ()) -> Document:
    """Return the document in the file `name` of `specs/`; see `read`."""
    place = resources.files("vfolder_backends.testing.arrays") / "specs" / name
    return read(json.loads(place.read_text()), nullable)


def read(source: Mapping[str, Any], nullable: Iterable[str] = ()) -> Document:
    """Return the document in a parsed OpenAPI file.

    Args:
        source: the file.
        nullable: fields of component schemas, such as `Quota.hard_limit`, that may be null though
            the document does not say so; the caller names the source of that.
    """
    whole = copy.deepcopy(dict(source))
    for field in nullable:
        schema, _, name = field.partition(".")
        whole["components"]["schemas"][schema]["properties"][name]["nullable"] = True
    _translate(whole)
    return Document(_operations(whole), whole)


def _operations(whole: Mapping[str, Any]) -> Iterator[Operation]:
    for path, item in whole["paths"].items():
        for method in _METHODS:
            if method not in item:
                continue
            call, here = item[method], f"#/paths/{_escaped(path)}/{method}"
            shared = [_resolved(whole, x) for x in item.get("parameters", ())]
            own = [_resolved(whole, x) for x in call.get("parameters", ())]
            body = call.get("requestBody")
            body_at = f"{here}/requestBody"
            if body is not None and "$ref" in body:
                body_at = body["$ref"]
                body = _resolved(whole, body)
            yield Operation(
                method.upper(),
                path,
                {
                    x["name"]: Parameter(_based(x.get("schema", {})), x.get("required", False))
                    for x in (*shared, *own)
                    if x["in"] == "query"
                },
                _content(body, body_at),
                bool(body and body.get("required")),
                dict(_replies(whole, call, here)),
            )


def _replies(
    whole: Mapping[str, Any], call: Mapping[str, Any], here: str
) -> Iterator[tuple[int, Schema | None]]:
    for status, reply in call["responses"].items():
        if not str(status).isdigit():
            continue
        at = reply.get("$ref", f"{here}/responses/{status}")
        yield int(status), _content(_resolved(whole, reply), at)


def _content(holder: Mapping[str, Any] | None, at: str) -> Schema | None:
    for kind, content in (holder or {}).get("content", {}).items():
        if "schema" in content:
            return {"$ref": f"{ROOT}{at}/content/{_escaped(kind)}/schema"}
    return None


def _based(schema: Mapping[str, Any]) -> Schema:
    """Return a schema whose own reference is one into the document."""
    reference = schema.get("$ref")
    return {"$ref": ROOT + reference} if reference else schema


def _resolved(whole: Mapping[str, Any], item: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" not in item:
        return item
    found: Any = whole
    for step in item["$ref"].partition("#")[2].strip("/").split("/"):
        found = found[step.replace("~1", "/").replace("~0", "~")]
    return _resolved(whole, found)


def _escaped(text: str) -> str:
    return text.replace("~", "~0").replace("/", "~1").replace("{", "%7B").replace("}", "%7D")


def _translate(item: Any) -> None:
    """Turn what OpenAPI 3.0 says in words of its own into JSON Schema: a value may be null."""
    if isinstance(item, dict):
        for value in item.values():
            _translate(value)
        if item.get("nullable") is True and isinstance(item.get("type"), str):
            item["type"] = [item["type"], "null"]
            if isinstance(item.get("enum"), list) and None not in item["enum"]:
                item["enum"].append(None)
    elif isinstance(item, list):
        for value in item:
            _translate(value)

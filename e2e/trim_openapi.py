"""Cuts an OpenAPI document down to some paths and what they refer to; texts are left out.

python -m e2e.trim_openapi SOURCE TARGET PATH [PATH ...]
"""

import json
import sys
from pathlib import Path
from typing import Any

_TEXTS = {"description", "summary", "example", "examples", "externalDocs", "tags", "title"}


def trim(source: dict[str, Any], paths: list[str]) -> dict[str, Any]:
    """Return the smaller document; `KeyError` for a path that is not there."""
    made: dict[str, Any] = {
        "openapi": source["openapi"],
        "info": {"title": source["info"]["title"], "version": source["info"]["version"]},
        "paths": {path: without_texts(source["paths"][path]) for path in paths},
        "components": {},
    }
    open_ends = references(made["paths"])
    seen: set[str] = set()
    while open_ends:
        reference = open_ends.pop()
        if reference in seen:
            continue
        seen.add(reference)
        _, _, kind, name = reference.split("/")
        found = without_texts(source["components"][kind][name])
        made["components"].setdefault(kind, {})[name] = found
        open_ends |= references(found)
    return made


def references(item: Any) -> set[str]:
    """Return every `$ref` below an item."""
    if isinstance(item, list):
        return {found for part in item for found in references(part)}
    if not isinstance(item, dict):
        return set()
    here = {item["$ref"]} if isinstance(item.get("$ref"), str) else set()
    return here | {found for part in item.values() for found in references(part)}


def without_texts(item: Any, names: bool = False) -> Any:
    """Return a copy without what is for people; `names`: the keys are fields, not words."""
    if isinstance(item, list):
        return [without_texts(part) for part in item]
    if not isinstance(item, dict):
        return item
    return {
        key: without_texts(value, key == "properties" and not names)
        for key, value in item.items()
        if names or key not in _TEXTS
    }


if __name__ == "__main__":
    source, target, *paths = sys.argv[1:]
    small = trim(json.loads(Path(source).read_text()), paths)
    Path(target).write_text(json.dumps(small, separators=(",", ":"), sort_keys=True) + "\n")

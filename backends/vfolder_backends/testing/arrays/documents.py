"""What a vendor published about its calls, and the check of a call against it.

Types are checked by a JSON Schema library. Names are checked here, because schemas let unknown
fields pass: a name that the document does not have is an error, in a request and in a reply.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import unquote

import jsonschema
import referencing
import referencing.jsonschema

from vfolder_backends.testing.arrays.calls import Call, Reply

Schema = Mapping[str, Any]

ROOT: Final = "urn:document"
"""Where the whole document is found by `$ref` from a schema."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query or path parameter."""

    schema: Schema = field(default_factory=dict)
    required: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """One call of the document.

    Attributes:
        path: template with names in braces.
        request: schema of the body, None where there is none.
        replies: schema by status; None says that the body may be anything or absent.
    """

    method: str
    path: str
    query: Mapping[str, Parameter] = field(default_factory=dict)
    request: Schema | None = None
    request_required: bool = False
    replies: Mapping[int, Schema | None] = field(default_factory=dict)

    @property
    def route(self) -> str:
        """How handlers and faults name it."""
        return f"{self.method} {self.path}"


class Document:
    """All calls of one vendor's document.

    Args:
        operations: the calls.
        whole: what `$ref` in their schemas points into.
    """

    def __init__(self, operations: Iterable[Operation], whole: Schema | None = None) -> None:
        self._operations = {operation.route: operation for operation in operations}
        self._whole: Schema = whole or {}
        self._registry: referencing.Registry[Any] = referencing.Registry().with_resource(
            ROOT, referencing.jsonschema.DRAFT4.create_resource(self._whole)
        )
        self._patterns = [(_pattern(x.path), x) for x in self._operations.values()]
        # A fixed path goes before a template that it matches, too.
        self._patterns.sort(key=lambda item: item[1].path.count("{"))

    @property
    def routes(self) -> frozenset[str]:
        """All calls."""
        return frozenset(self._operations)

    def amended(self, route: str, **changes: Any) -> "Document":
        """Return a copy in which one call differs, or is new: facts from other sources.

        The caller names the source beside the call.
        """
        method, _, path = route.partition(" ")
        old = self._operations.get(route, Operation(method, path))
        return Document([*self._operations.values(), replace(old, **changes)], self._whole)

    def find(self, method: str, path: str) -> tuple[Operation, dict[str, str]] | None:
        """Return the call that a request means, and its path parameters."""
        for pattern, operation in self._patterns:
            match = pattern.fullmatch(path) if operation.method == method else None
            if match is not None:
                return operation, {k: unquote(v) for k, v in match.groupdict().items()}
        return None

    def check_request(self, call: Call) -> list[str]:
        """Return everything in a request that the document does not allow."""
        operation = self._operations[call.route]
        found = [
            f"query parameter {name!r} does not exist"
            for name in call.query
            if name not in operation.query
        ]
        for name, parameter in operation.query.items():
            values = call.query.get(name)
            if values is None:
                if parameter.required:
                    found.append(f"query parameter {name!r} is missing")
                continue
            listed = parameter.schema.get("type") == "array"
            schema = parameter.schema.get("items", {}) if listed else parameter.schema
            for value in values:
                found += self._check(schema, _typed(value, schema), f"query parameter {name!r}")
        if call.body is None:
            if operation.request_required:
                found.append("the body is missing")
        elif operation.request is None:
            found.append("a body is not foreseen")
        else:
            found += self._check(operation.request, call.body, "request")
        return [f"{call.route}: {text}" for text in found]

    def check_reply(self, call: Call, reply: Reply) -> list[str]:
        """Return everything in a reply that the document does not allow."""
        replies = self._operations[call.route].replies
        if reply.status not in replies:
            if reply.status >= 400:
                return []  # documents name few of the errors; their bodies are the vendor's own
            return [f"{call.route}: status {reply.status} is not foreseen"]
        schema = replies[reply.status]
        if schema is None:
            return []
        return [f"{call.route}: {text}" for text in self._check(schema, reply.body, "reply")]

    def _check(self, schema: Schema, value: object, what: str) -> list[str]:
        checker = jsonschema.Draft4Validator(schema, registry=self._registry)
        found = [
            f"{what}: {'.'.join(map(str, error.absolute_path)) or 'value'}: {error.message[:200]}"
            for error in checker.iter_errors(value)
        ]
        return found + [f"{what}: {text}" for text in self._unknown(schema, value, "")]

    def _unknown(self, schema: Schema, value: object, where: str) -> list[str]:
        """Return the fields of `value` that the schema does not name."""
        parts = list(self._parts(schema))
        if isinstance(value, list):
            items = [part["items"] for part in parts if isinstance(part.get("items"), Mapping)]
            return [
                text
                for number, item in enumerate(value)
                for text in self._unknown({"allOf": items}, item, f"{where}[{number}]")
            ]
        if not isinstance(value, Mapping):
            return []
        known: dict[str, list[Schema]] = {}
        for part in parts:
            for name, below in part.get("properties", {}).items():
                known.setdefault(name, []).append(below)
        free = not known or any(part.get("additionalProperties") for part in parts)
        found = []
        for name, below_value in value.items():
            if name in known:
                below = {"allOf": known[name]}
                found += self._unknown(below, below_value, f"{where}.{name}")
            elif not free:
                found.append(f"field {f'{where}.{name}'.lstrip('.')!r} does not exist")
        return found

    def _parts(self, schema: Schema) -> Iterable[Schema]:
        """Yield the schema and all that it is composed of."""
        reference = schema.get("$ref")
        if reference is not None:
            yield from self._parts(self._look_up(reference))
            return
        yield schema
        for word in ("allOf", "anyOf", "oneOf"):
            for part in schema.get(word, ()):
                yield from self._parts(part)

    def _look_up(self, reference: str) -> Schema:
        found: Any = self._whole
        for step in reference.partition("#")[2].strip("/").split("/"):
            found = found[unquote(step).replace("~1", "/").replace("~0", "~")]
        schema: Schema = found
        return schema


def _pattern(template: str) -> re.Pattern[str]:
    parts = re.split(r"\{([^}]+)\}", template)
    # Odd ones are names; "volume.uuid" is no name for a group.
    text = "".join(
        f"(?P<{re.sub(r'[^A-Za-z0-9_]', '_', part)}>[^/]+)" if number % 2 else re.escape(part)
        for number, part in enumerate(parts)
    )
    return re.compile(text)


def _typed(value: str, schema: Schema) -> object:
    """Return a query value as what the schema wants, or as it is when it is none."""
    kinds = schema.get("type", "string")
    for kind in [kinds] if isinstance(kinds, str) else kinds:
        if kind == "boolean" and value in ("true", "false"):
            return value == "true"
        if kind in ("integer", "number"):
            try:
                return int(value) if kind == "integer" else float(value)
            except ValueError:
                continue
    return value

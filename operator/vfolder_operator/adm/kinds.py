"""`vfolder-adm backend`: which kinds of storage there are, and what they take; `check` is apart."""

import argparse
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from vfolder_backends.config import BackendFactory
from vfolder_backends.errors import Misconfigured
from vfolder_operator.adm import check
from vfolder_operator.adm.output import Column, Rows, add_output, choose
from vfolder_operator.adm.world import DONE, FAILED, World

_KINDS = (
    Column("type", 14),
    Column("package", 18),
    Column("state", 7),
    Column("summary", 1),
)
_OPTIONS = (
    Column("option", 18),
    Column("type", 22),
    Column("default", 12),
    Column("meaning", 1),
)


def add(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command and those below it."""
    parser = commands.add_parser(
        "backend",
        help="tell which kinds of storage there are, and try one",
        description="Tells which kinds of storage there are, what they take, and tries one.",
    )
    below = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    listing = below.add_parser("list", help="every kind that is installed, and whether it loads")
    add_output(listing)
    listing.set_defaults(run=run_list)
    describing = below.add_parser("describe", help="every option of a kind")
    describing.add_argument("type", metavar="TYPE", help="as in spec.type")
    add_output(describing)
    describing.set_defaults(run=run_describe)
    check.add(below)


async def run_list(args: argparse.Namespace, world: World) -> int:
    """Print all kinds; FAILED when one does not load."""
    rows = Rows(world.out, _KINDS, choose(args.output, world.out))
    code = DONE
    for kind in world.registry.types:
        row = {"type": kind, "package": world.registry.origin(kind), "state": "ok"}
        try:
            row["summary"] = _summary(world.registry.factory(kind))
        except Misconfigured as error:
            row |= {"state": "broken", "summary": str(error)}
            code = FAILED
        rows.write(row)
    return code


async def run_describe(args: argparse.Namespace, world: World) -> int:
    """Print what `parameters` and the Secret of a kind may hold."""
    factory = world.registry.factory(args.type)
    world.err.write(f"{args.type}: {_summary(factory)}\n")
    keys = ", ".join(factory.required_credentials) or "none that are always needed"
    world.err.write(f"keys of the Secret: {keys}\n")
    rows = Rows(world.out, _OPTIONS, choose(args.output, world.out))
    for row in _options(factory):
        rows.write(row)
    return DONE


def _summary(factory: BackendFactory) -> str:
    """The first line of what its module says of itself."""
    text = sys.modules[type(factory).__module__].__doc__ or ""
    return text.strip().partition("\n")[0]


def _options(factory: BackendFactory) -> Iterator[dict[str, str]]:
    schema = factory.options.model_json_schema(by_alias=True)
    required = schema.get("required", [])
    for name, field in schema["properties"].items():
        default = "(required)" if name in required else _text(field.get("default"))
        yield {
            "option": name,
            "type": _type(field, schema.get("$defs", {})),
            "default": default,
            "meaning": field.get("description", ""),
        }


def _type(field: Mapping[str, Any], shared: Mapping[str, Any]) -> str:
    """A JSON schema's type in a few words, with what is allowed."""
    if "$ref" in field:
        return _type(shared[field["$ref"].rpartition("/")[2]], shared)
    if "anyOf" in field:
        return " or ".join(_type(one, shared) for one in field["anyOf"])
    if "enum" in field:
        return " | ".join(map(str, field["enum"]))
    words = [str(field.get("type", "any"))]
    if "minimum" in field or "maximum" in field:
        words.append(f"{field.get('minimum', '')}..{field.get('maximum', '')}")
    if "pattern" in field:
        words.append(str(field["pattern"]))
    return " ".join(words)


def _text(value: object) -> str:
    """A default as it is written in `parameters`, where all values are texts."""
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)

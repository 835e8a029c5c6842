"""Records as ONTAP shows them: only the fields that were asked for, filtered, in pages."""

import fnmatch
from collections.abc import Mapping, Sequence
from typing import Any

from vfolder_backends.testing.arrays.calls import Call, Reply

_PLAIN = {"fields", "max_records", "order_by", "return_records", "return_timeout", "start"}


def listing(
    call: Call, found: Sequence[Mapping[str, Any]], keys: Sequence[str], page: int
) -> Reply:
    """Return one page of the records that the call's filters let through.

    Args:
        call: its query holds filters, `fields`, `max_records`.
        found: whole records.
        keys: the fields that are shown without asking.
        page: the most records of a page.
    """
    kept = [record for record in found if _matches(record, call)]
    start, size = int(call.asked("start", "0")), min(int(call.asked("max_records", "10000")), page)
    shown = [projected(record, call.asked("fields"), keys) for record in kept[start : start + size]]
    path = call.route.partition(" ")[2]
    links: dict[str, Any] = {"self": {"href": f"/api{path}"}}
    if start + size < len(kept):
        query = "&".join(f"{k}={v[-1]}" for k, v in call.query.items() if k != "start")
        links["next"] = {"href": f"/api{path}?start={start + size}{query and '&' + query}"}
    return Reply(body={"records": shown, "num_records": len(shown), "_links": links})


def projected(record: Mapping[str, Any], fields: str, keys: Sequence[str]) -> dict[str, Any]:
    """Return the part of a record that was asked for; `**` asks for all."""
    if fields in ("*", "**"):
        return dict(record)
    made: dict[str, Any] = {}
    for path in (*keys, *(part for part in fields.split(",") if part)):
        path = _up_to_list(record, path)
        value = _value(record, path)
        if value is None:
            continue
        place = made
        *above, last = path.split(".")
        for step in above:
            place = place.setdefault(step, {})
        known = place.get(last)
        if isinstance(known, dict) and isinstance(value, dict):
            value = {**known, **value}
        place[last] = value
    return made


def _up_to_list(record: Mapping[str, Any], path: str) -> str:
    """Return the path of the list that a path leads into; fields of its items are all shown."""
    steps = path.split(".")
    for number in range(1, len(steps)):
        above = ".".join(steps[:number])
        if isinstance(_value(record, above), list):
            return above
    return path


def _value(record: Mapping[str, Any], path: str) -> Any:
    found: Any = record
    for step in path.split("."):
        if not isinstance(found, Mapping) or step not in found:
            return None
        found = found[step]
    return found


def _matches(record: Mapping[str, Any], call: Call) -> bool:
    """Whether a record has each value that is asked for; `|` is or, `*` any text."""
    for name, values in call.query.items():
        if name in _PLAIN:
            continue
        value = str(_value(record, name) or "")
        if not any(fnmatch.fnmatchcase(value, one) for one in values[-1].split("|")):
            return False
    return True

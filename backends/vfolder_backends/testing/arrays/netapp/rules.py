"""Tree quota rules and reports: a rule is what is wanted, the report what is in force."""

from typing import TYPE_CHECKING, Any, Final

from vfolder_backends.testing.arrays.calls import Call, Reply
from vfolder_backends.testing.arrays.disk import Limit
from vfolder_backends.testing.arrays.jobs import JobFailed
from vfolder_backends.testing.arrays.netapp import records
from vfolder_backends.testing.arrays.netapp.state import (
    SVM,
    SVM_UUID,
    Rule,
    State,
    Volume,
    uuid_of,
)
from vfolder_backends.testing.arrays.simulated import Handler

if TYPE_CHECKING:
    from vfolder_backends.testing.arrays.netapp.simulator import SimulatedNetapp

_LEAST: Final = 1024  # bytes
_ITEM: Final = "/storage/quota/rules/{uuid}"
_NOT_ENFORCED: Final = "5308571 the rule is not enforced until quotas are turned off and on"
_STILL_ENFORCED: Final = "5308572 the rule is enforced until quotas are turned off and on"


def add(volume: Volume, qtree: str, limit: Limit) -> Rule:
    """Put a rule into a volume, in force or not."""
    made = Rule(uuid_of("rule", volume.uuid, qtree, str(len(volume.rules))), qtree, limit)
    while made.uuid in volume.rules:
        made.uuid = uuid_of(made.uuid)
    volume.rules[made.uuid] = made
    return made


def routes(array: "SimulatedNetapp") -> dict[str, Handler[State]]:
    """The calls on rules and reports."""
    made = Rules(array)
    return {
        "GET /storage/quota/rules": made.listed,
        "POST /storage/quota/rules": made.create,
        f"PATCH {_ITEM}": made.change,
        f"DELETE {_ITEM}": made.remove,
        "GET /storage/quota/reports": made.report,
    }


class Rules:
    """The handlers."""

    def __init__(self, array: "SimulatedNetapp") -> None:
        self._array = array

    def listed(self, state: State, call: Call) -> Reply:
        """Rules of all volumes."""
        found = [
            {
                "uuid": rule.uuid,
                **_where(volume),
                "type": "tree",
                "qtree": _qtree(volume, rule.qtree),
                "space": _hard(rule.limit.bytes),
                "files": _hard(rule.limit.files),
            }
            for volume in state.volumes.values()
            for rule in volume.rules.values()
        ]
        return records.listing(call, found, ("uuid", "volume", "svm"), self._array.settings.page)

    def create(self, state: State, call: Call) -> Reply:
        """Make a rule; a resize puts it in force where its qtree has a quota already."""
        fields: dict[str, Any] = call.fields()
        volume = state.volumes.get(fields.get("volume", {}).get("uuid", ""))
        if volume is None:
            return self._array.refused(404, "918235", "volume uuid is unknown")
        if fields.get("type") != "tree":
            return self._array.refused(400, "2", "only tree rules are simulated")
        name = fields.get("qtree", {}).get("name", "")
        if name and volume.named(name) is None:
            return self._array.refused(404, "5308552", "the qtree does not exist")
        if volume.rule_of(name) is not None:
            return self._array.refused(409, "1", "entry already exists")
        if volume.quota == "initializing":
            return self._array.refused(409, "5308561", "the quota state does not allow it")
        limit = _changed(Limit(), fields)

        def make() -> None:
            if volume.rule_of(name) is not None:
                raise JobFailed("1 entry already exists")
            rule = add(volume, name, limit)
            if volume.quota != "on":
                return
            if self._lost():
                raise JobFailed("5308568 created, but the resize failed")
            if not name or not volume.resize(rule):
                raise JobFailed(_NOT_ENFORCED)

        return self._array.begin(call, f"create rule of {name!r}", make, 201)

    def _find(self, state: State, call: Call) -> tuple[Volume, Rule] | Reply:
        for volume in state.volumes.values():
            if call.params["uuid"] in volume.rules:
                return volume, volume.rules[call.params["uuid"]]
        return self._array.refused(404, "5308545", "the rule does not exist")

    def change(self, state: State, call: Call) -> Reply:
        """Set what is given; -1 removes a limit."""
        found = self._find(state, call)
        if isinstance(found, Reply):
            return found
        volume, rule = found
        if volume.quota == "initializing":
            return self._array.refused(409, "5308561", "the quota state does not allow it")
        limit = _changed(rule.limit, call.fields())

        def set_limit() -> None:
            rule.limit = limit
            if volume.quota == "on" and self._lost():
                raise JobFailed("5308567 modified, but the resize failed")
            volume.resize(rule)

        return self._array.begin(call, f"change rule of {rule.qtree!r}", set_limit)

    def remove(self, state: State, call: Call) -> Reply:
        """Remove a rule; what the default rule gives is in force then, if it is in force."""
        found = self._find(state, call)
        if isinstance(found, Reply):
            return found
        volume, rule = found

        def drop() -> None:
            volume.rules.pop(rule.uuid, None)
            qtree = volume.named(rule.qtree)
            if volume.quota != "on" or qtree is None or rule.lost:
                return
            if not volume.default_active:
                raise JobFailed(_STILL_ENFORCED)
            volume.active[qtree.id] = volume.derived()

        return self._array.begin(call, f"delete rule of {rule.qtree!r}", drop)

    def _lost(self) -> bool:
        settings = self._array.settings
        settings.lost_resizes -= 1
        if settings.lost_resizes < 0:
            settings.lost_resizes = 0
            return False
        return True

    def report(self, state: State, call: Call) -> Reply:
        """What is in force and what is used; nothing at all while quotas are off."""
        found = [
            shown
            for volume in state.volumes.values()
            if volume.quota in ("on", "resizing")
            for shown in self._reported(volume)
        ]
        keys = ("volume", "svm", "index")
        return records.listing(call, found, keys, self._array.settings.page)

    def _reported(self, volume: Volume) -> list[dict[str, Any]]:
        lines: list[dict[str, Any]] = []
        if volume.default_active:
            lines.append(_line(volume, "", None, volume.derived(), 0, 0))
        for number, limit in volume.active.items():
            qtree = volume.qtrees.get(number)
            if qtree is not None:
                place = self._array.disk.place(f"{volume.path}/{qtree.name}")
                used = self._array.disk.used(place)
                lines.append(_line(volume, qtree.name, number, limit, used.bytes, used.files))
        return [{**line, "index": number << 48} for number, line in enumerate(lines)]


def _line(
    volume: Volume, name: str, number: int | None, limit: Limit, size: int, files: int
) -> dict[str, Any]:
    return {
        **_where(volume),
        "type": "tree",
        "qtree": {"name": name} if number is None else {"name": name, "id": number},
        "space": _counted(limit.bytes, size),
        "files": _counted(limit.files, files),
    }


def _counted(limit: int | None, used: int) -> dict[str, Any]:
    """A limit that there is not is absent, and so is its share."""
    if limit is None:
        return {"used": {"total": used}}
    return {"hard_limit": limit, "used": {"total": used, "hard_limit_percent": used * 100 // limit}}


def _hard(limit: int | None) -> dict[str, int]:
    return {} if limit is None else {"hard_limit": limit}


def _where(volume: Volume) -> dict[str, Any]:
    return {
        "volume": {"name": volume.name, "uuid": volume.uuid},
        "svm": {"name": SVM, "uuid": SVM_UUID},
    }


def _qtree(volume: Volume, name: str) -> dict[str, Any]:
    qtree = volume.named(name)
    return {"name": name} if qtree is None else {"name": name, "id": qtree.id}


def _changed(old: Limit, fields: dict[str, Any]) -> Limit:
    size = _limit(old.bytes, fields.get("space", {}))
    if size is not None:
        size = max(size, _LEAST)
    return Limit(size, _limit(old.files, fields.get("files", {})))


def _limit(old: int | None, given: dict[str, Any]) -> int | None:
    wanted: int | None = given.get("hard_limit", old)
    return None if wanted == -1 else wanted

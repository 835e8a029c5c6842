"""Qtrees: made, renamed and deleted by jobs; deleting takes everything in one with it."""

import os
import shutil
from typing import TYPE_CHECKING, Any, Final

from vfolder_backends.testing.arrays.calls import Call, Reply
from vfolder_backends.testing.arrays.jobs import JobFailed
from vfolder_backends.testing.arrays.netapp import records
from vfolder_backends.testing.arrays.netapp.state import SVM, SVM_UUID, Qtree, State, Volume
from vfolder_backends.testing.arrays.simulated import Handler

if TYPE_CHECKING:
    from vfolder_backends.testing.arrays.netapp.simulator import SimulatedNetapp

_LONGEST: Final = 64
_ITEM: Final = "/storage/qtrees/{volume.uuid}/{id}"


def routes(array: "SimulatedNetapp") -> dict[str, Handler[State]]:
    """The calls on qtrees."""
    made = Qtrees(array)
    return {
        "GET /storage/qtrees": made.listed,
        "POST /storage/qtrees": made.create,
        f"GET {_ITEM}": made.read,
        f"PATCH {_ITEM}": made.rename,
        f"DELETE {_ITEM}": made.delete,
    }


class Qtrees:
    """The handlers."""

    def __init__(self, array: "SimulatedNetapp") -> None:
        self._array = array

    def listed(self, state: State, call: Call) -> Reply:
        """Qtrees of all volumes; number 0 is the volume itself."""
        found = [
            self._shown(volume, qtree)
            for volume in state.volumes.values()
            for qtree in (Qtree(0, "", 0), *volume.qtrees.values())
        ]
        keys = ("volume", "svm", "id", "name")
        return records.listing(call, found, keys, self._array.settings.page)

    def _shown(self, volume: Volume, qtree: Qtree) -> dict[str, Any]:
        return {
            "volume": {"name": volume.name, "uuid": volume.uuid},
            "svm": {"name": SVM, "uuid": SVM_UUID},
            "id": qtree.id,
            "name": qtree.name,
            "path": f"/{volume.name}/{qtree.name}".rstrip("/"),
            "security_style": "unix",
            "export_policy": {"name": qtree.export_policy or "default"},
        }

    def _find(self, state: State, call: Call) -> tuple[Volume, Qtree] | Reply:
        # The name of the parameter in a pattern has no dot.
        volume = state.volumes.get(call.params["volume_uuid"])
        number = call.params["id"]
        qtree = volume.qtrees.get(int(number)) if volume and number.isdigit() else None
        if volume is None or qtree is None:
            return self._array.missing()
        return volume, qtree

    def read(self, state: State, call: Call) -> Reply:
        """One qtree."""
        found = self._find(state, call)
        if isinstance(found, Reply):
            return found
        keys = ("volume", "svm", "id", "name")
        return Reply(body=records.projected(self._shown(*found), call.asked("fields"), keys))

    def create(self, state: State, call: Call) -> Reply:
        """Make a qtree at the root of a volume; with a default rule it has a quota at once."""
        fields: dict[str, Any] = call.fields()
        volume = state.volumes.get(fields.get("volume", {}).get("uuid", ""))
        name = str(fields.get("name", ""))
        if volume is None:
            return self._array.refused(404, "918235", "volume uuid is unknown")
        if not name or len(name) > _LONGEST or "/" in name:
            return self._array.refused(400, "2", "the name is not valid")
        if volume.named(name) is not None:
            return self._array.refused(409, "1", "entry already exists")
        if volume.free_number() is None:
            return self._array.refused(400, "7", "no more qtrees in this volume")
        place = self._array.disk.place(f"{volume.path}/{name}")
        mode = int(str(fields.get("unix_permissions", 755)), 8)
        policy = fields.get("export_policy", {}).get("name", "")

        def make() -> None:
            number = volume.free_number()
            if number is None or volume.named(name) is not None:
                raise JobFailed("1 entry already exists")
            try:
                place.mkdir()
            except FileExistsError as error:
                raise JobFailed("1 a file or directory of that name exists") from error
            place.chmod(mode)
            volume.qtrees[number] = Qtree(number, name, os.lstat(place).st_ino, policy)
            if volume.default_active:
                volume.active[number] = volume.derived()

        return self._array.begin(call, f"create qtree {name}", make, 201)

    def rename(self, state: State, call: Call) -> Reply:
        """Give it another name; its rule follows, and what is in force stays."""
        found = self._find(state, call)
        if isinstance(found, Reply):
            return found
        volume, qtree = found
        name = str(call.fields().get("name", qtree.name))
        if name == qtree.name:
            return Reply(200, {"records": [], "num_records": 0})
        top = self._array.disk.place(volume.path)
        if volume.named(name) is not None or (top / name).exists():
            return self._array.refused(409, "1", "entry already exists")

        def move() -> None:
            if (top / name).exists() or not (top / qtree.name).is_dir():
                raise JobFailed("1 entry already exists, or the qtree is gone")
            (top / qtree.name).rename(top / name)
            rule = volume.rule_of(qtree.name)
            if rule is not None:
                rule.qtree = name
            qtree.name = name

        return self._array.begin(call, f"rename qtree {qtree.name}", move)

    def delete(self, state: State, call: Call) -> Reply:
        """Remove it with all that is in it, and its rule."""
        found = self._find(state, call)
        if isinstance(found, Reply):
            return found
        volume, qtree = found
        place = self._array.disk.place(f"{volume.path}/{qtree.name}")

        def remove() -> None:
            shutil.rmtree(place, ignore_errors=True)
            volume.qtrees.pop(qtree.id, None)
            volume.active.pop(qtree.id, None)
            rule = volume.rule_of(qtree.name)
            if rule is not None:
                del volume.rules[rule.uuid]

        return self._array.begin(call, f"delete qtree {qtree.name}", remove)

"""Volumes, what lies in them, and who may mount them."""

from typing import TYPE_CHECKING, Any, Final

from vfolder_backends.testing.arrays.calls import Call, Reply
from vfolder_backends.testing.arrays.netapp import records
from vfolder_backends.testing.arrays.netapp.state import SVM, SVM_UUID, State, Volume
from vfolder_backends.testing.arrays.simulated import Handler

if TYPE_CHECKING:
    from vfolder_backends.testing.arrays.netapp.simulator import SimulatedNetapp

_POLICIES: Final = {1: "default", 2: "nodes"}


def routes(array: "SimulatedNetapp") -> dict[str, Handler[State]]:
    """The calls on volumes and export policies."""
    made = Volumes(array)
    return {
        "GET /storage/volumes": made.listed,
        "PATCH /storage/volumes/{uuid}": made.change,
        "GET /storage/volumes/{uuid}/files/{path}": made.file,
        "GET /protocols/nfs/export-policies": made.policies,
    }


class Volumes:
    """The handlers."""

    def __init__(self, array: "SimulatedNetapp") -> None:
        self._array = array

    def listed(self, state: State, call: Call) -> Reply:
        """Volumes, as far as they are asked for."""
        found = [self._shown(volume) for volume in state.volumes.values()]
        return records.listing(call, found, ("uuid", "name"), self._array.settings.page)

    def _shown(self, volume: Volume) -> dict[str, Any]:
        settings = self._array.settings
        used = self._array.disk.used(self._array.disk.place(volume.path))
        return {
            "uuid": volume.uuid,
            "name": volume.name,
            "svm": {"name": SVM, "uuid": SVM_UUID},
            "state": settings.volume_state,
            "type": settings.volume_type,
            "style": "flexvol",
            "nas": {
                "path": f"/{volume.name}",
                "security_style": "unix",
                "export_policy": {"name": "default", "id": 1},
            },
            "space": {
                "size": settings.total_bytes,
                "used": used.bytes,
                "available": settings.total_bytes - used.bytes,
            },
            "files": {"maximum": 1 << 20, "used": used.files},
            "quota": {"state": volume.quota},
            "metric": {
                "duration": "PT15S",
                "status": "ok",
                "iops": {"read": 120, "write": 60, "other": 20, "total": 200},
                "throughput": {"read": 3 << 20, "write": 1 << 20, "other": 0, "total": 4 << 20},
                "latency": {"read": 250, "write": 500, "other": 100, "total": 300},
            },
        }

    def change(self, state: State, call: Call) -> Reply:
        """Turn quotas on or off; turning them on scans the volume first."""
        volume = state.volumes.get(call.params["uuid"])
        if volume is None:
            return self._array.refused(404, "918235", "volume uuid is unknown")
        wanted = call.fields().get("quota")
        enabled = wanted.get("enabled") if isinstance(wanted, dict) else None
        if enabled is None:
            return Reply(200, {"records": [], "num_records": 0})
        if enabled and volume.quota != "off":
            return self._array.refused(400, "5308507", "quotas are already on")

        def turn() -> None:
            if not enabled:
                volume.turn_off()
            elif self._array.settings.initializing_calls:
                volume.quota = "initializing"
                volume.initializing = self._array.settings.initializing_calls
            else:
                volume.initialise()

        return self._array.begin(call, "quota on" if enabled else "quota off", turn)

    def file(self, state: State, call: Call) -> Reply:
        """What lies at a path; with `return_metadata`, of a directory itself, not its content."""
        volume = state.volumes.get(call.params["uuid"])
        if volume is None:
            return self._array.refused(404, "918235", "volume uuid is unknown")
        place = self._array.disk.place(f"{volume.path}/{call.params['path']}")
        if not place.exists():
            return self._array.missing()
        shown = {
            "name": place.name,
            "path": call.params["path"],
            "type": "directory" if place.is_dir() else "file",
            "inode_number": place.stat().st_ino,
        }
        return records.listing(call, [shown], ("name", "path", "type"), 1)

    def policies(self, state: State, call: Call) -> Reply:
        """Two export policies with the same rule."""
        clients = [{"match": match} for match in self._array.settings.export_clients]
        rule = {"index": 1, "clients": clients, "rw_rule": ["sys"], "superuser": ["none"]}
        found = [
            {
                "id": number,
                "name": name,
                "svm": {"name": SVM, "uuid": SVM_UUID},
                "rules": [rule],
            }
            for number, name in _POLICIES.items()
        ]
        return records.listing(call, found, ("id", "name"), self._array.settings.page)

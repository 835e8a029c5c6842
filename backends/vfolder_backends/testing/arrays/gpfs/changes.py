"""What a simulated Storage Scale cluster does once a job runs; what goes wrong is in the job."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vfolder_backends.testing.arrays.calls import Call, Reply
from vfolder_backends.testing.arrays.gpfs.state import Fileset, State
from vfolder_backends.testing.arrays.jobs import JobFailed

if TYPE_CHECKING:
    from vfolder_backends.testing.arrays.gpfs.simulator import SimulatedGpfs

_ALLOWED: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
_LONGEST: Final = 255
_INODES: Final = 100_000
_HIDDEN: Final = ".unlinked"
_UNITS: Final = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40, "P": 1 << 50}


class Changes:
    """The calls that change something, each answered with a job."""

    def __init__(self, array: "SimulatedGpfs") -> None:
        self._array = array

    def make(self, state: State, call: Call) -> Reply:
        """A fileset, linked if it has a path."""
        fields = {key: str(value) for key, value in call.fields().items()}
        name = fields["filesetName"]
        if len(name) > _LONGEST or set(name) - _ALLOWED:
            return self._array.refusal(400, "Invalid value in 'filesetName'")

        def act() -> None:
            if name in state.filesets:
                raise JobFailed(f"EFSSP1102C Fileset {name} already exists.")
            place = self._junction(fields["path"]) if "path" in fields else self._hidden(name)
            if place.exists() or not place.parent.is_dir():
                raise JobFailed(f"EFSSG0264C The path {place} cannot be a junction.")
            place.mkdir(mode=int(fields.get("permissions", "700"), 8))
            place.chmod(int(fields.get("permissions", "700"), 8))
            independent = fields.get("inodeSpace", "root") == "new"
            state.last += 1
            state.filesets[name] = Fileset(
                name,
                state.last,
                os.lstat(place).st_ino,
                "path" in fields,
                fields.get("comment", ""),
                independent,
                int(fields.get("maxNumInodes", _INODES)) if independent else 0,
                hint=self._array.disk.path(place),
                seen=not self._array.settings.cached,
            )

        return self._array.unknown(call) or self._array.begin(call, act)

    def change(self, state: State, call: Call) -> Reply:
        """Inodes and comment."""
        fields = call.fields()

        def act() -> None:
            fileset = self._find(state, call)
            fileset.max_inodes = int(str(fields.get("maxNumInodes", fileset.max_inodes)))
            fileset.comment = str(fields.get("comment", fileset.comment))

        return self._begin(state, call, act)

    def remove(self, state: State, call: Call) -> Reply:
        """An unlinked, empty fileset."""

        def act() -> None:
            fileset = self._find(state, call)
            if fileset.linked:
                raise JobFailed(f"EFSSG0632C Fileset {fileset.name} must be unlinked first.")
            place = self._array.place(fileset)
            if place is not None:
                if any(place.iterdir()):
                    raise JobFailed(f"EFSSG0632C Fileset {fileset.name} is not empty.")
                place.rmdir()
            del state.filesets[fileset.name]

        return self._begin(state, call, act)

    def link(self, state: State, call: Call) -> Reply:
        """Show it in the tree."""
        target = str(call.fields()["path"])

        def act() -> None:
            fileset, place = self._find(state, call), self._junction(target)
            old = self._array.place(fileset)
            if fileset.linked or place.exists() or old is None:
                raise JobFailed(f"EFSSG0632C Fileset {fileset.name} cannot be linked there.")
            old.rename(place)
            fileset.linked, fileset.hint = True, self._array.disk.path(place)

        return self._begin(state, call, act)

    def unlink(self, state: State, call: Call) -> Reply:
        """Take it out of the tree, data and all."""

        def act() -> None:
            fileset = self._find(state, call)
            if not fileset.linked:
                raise JobFailed(f"EFSSG0632C Fileset {fileset.name} is not linked.")
            place = self._array.place(fileset)
            hidden = self._hidden(fileset.name)
            if place is not None:
                place.rename(hidden)
            fileset.linked, fileset.hint = False, self._array.disk.path(hidden)

        return self._begin(state, call, act)

    def set_quota(self, state: State, call: Call) -> Reply:
        """Both hard limits; a number without a unit is the site's to read."""
        fields = {key: str(value) for key, value in call.fields().items()}
        own = call.route.endswith("/{filesetName}/quotas")
        if self._array.settings.fileset_quotas and not own:
            return self._array.refusal(400, "Quotas of this file system are per fileset.")
        name = fields.get("objectName", "")
        if fields["quotaType"].upper() != "FILESET" or name not in state.filesets:
            return self._array.refusal(400, "Invalid value in 'objectName'")
        size = self._kib(fields.get("blockHardLimit", ""))
        if size is None:
            return self._array.refusal(400, "Invalid value in 'blockHardLimit'")

        def act() -> None:
            fileset = state.filesets.get(name)
            if fileset is None:
                raise JobFailed(f"EFSSG0072C Fileset {name} was not found.")
            fileset.limit, fileset.files_limit = size, int(fields["filesHardLimit"])

        return self._array.unknown(call) or self._array.begin(call, act)

    def _kib(self, text: str) -> int | None:
        unit = _UNITS.get(text[-1:].upper(), 0)
        number = text[:-1] if unit else text
        if not number.isdigit():
            return None
        return -(-int(number) * (unit or self._array.settings.bare_number) // 1024)

    def refresh(self, state: State, call: Call) -> Reply:
        """Let the cache know all there is."""

        def act() -> None:
            for fileset in state.filesets.values():
                fileset.seen = True

        return self._array.begin(call, act)

    def _begin(self, state: State, call: Call, act: Callable[[], None]) -> Reply:
        if call.params["filesetName"] not in state.filesets:
            return self._array.refusal(400, "Invalid value in 'filesetName'")
        return self._array.unknown(call) or self._array.begin(call, act)

    def _find(self, state: State, call: Call) -> Fileset:
        fileset = state.filesets.get(call.params["filesetName"])
        if fileset is None:
            raise JobFailed(f"EFSSG0072C Fileset {call.params['filesetName']} was not found.")
        return fileset

    def _junction(self, path: str) -> Path:
        top = self._array.settings.mount_point
        if not path.startswith(f"{top}/"):
            raise JobFailed(f"EFSSG0264C The path {path} is not in the file system.")
        return self._array.disk.place(path.removeprefix(top))

    def _hidden(self, name: str) -> Path:
        top = self._array.disk.root / _HIDDEN
        top.mkdir(exist_ok=True)
        return top / name

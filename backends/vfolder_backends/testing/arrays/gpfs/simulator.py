"""A Storage Scale cluster: HTTP Basic, one file system, filesets with junctions, jobs for changes.

Facts from IBM's CSI driver and its pages on the endpoints; see `specs/gpfs.fields.json`. Beyond
the scopes' filesets there are quotas of a user and a group of the same names, as nothing keeps
them apart but their type.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

from vfolder_backends.testing.arrays import fieldtables
from vfolder_backends.testing.arrays.calls import Call, Reply
from vfolder_backends.testing.arrays.disk import Disk, Limit
from vfolder_backends.testing.arrays.documents import Document
from vfolder_backends.testing.arrays.faults import Kind
from vfolder_backends.testing.arrays.gpfs import shown
from vfolder_backends.testing.arrays.gpfs.changes import Changes
from vfolder_backends.testing.arrays.gpfs.state import Fileset, Settings, State
from vfolder_backends.testing.arrays.jobs import Stage
from vfolder_backends.testing.arrays.simulated import Handler, SimulatedArray
from vfolder_backends.testing.arrays.tokens import Account, Tokens

_FS: Final = "/filesystems/{filesystemName}"
_FILESETS: Final = f"{_FS}/filesets"
_FILESET: Final = f"{_FILESETS}/{{filesetName}}"
_ROLE: Final = "CsiAdmin"
_STAGES: Final = {
    Stage.QUEUED: "RUNNING",
    Stage.RUNNING: "RUNNING",
    Stage.DONE: "COMPLETED",
    Stage.FAILED: "FAILED",
}


class SimulatedGpfs(SimulatedArray[State]):
    """One cluster; `settings` may be changed while it runs."""

    kind: ClassVar[str] = "gpfs"
    base: ClassVar[str] = "/scalemgmt/v2"
    fault_kinds: ClassVar[frozenset[Kind]] = frozenset(Kind)

    def __init__(self, disk: Disk, tokens: Tokens, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self._changes = Changes(self)
        super().__init__(disk, State(), tokens)
        disk.limits = self._in_force

    def published(self) -> Document:
        """Names and types, from several sources."""
        return fieldtables.load("gpfs.fields.json")

    def routes(self) -> Mapping[str, Handler[State]]:
        """The calls that are simulated."""
        changes = self._changes
        return {
            "GET /info": self._info,
            "GET /config": self._config,
            f"GET {_FS}": self._file_system,
            f"GET {_FS}/pools": self._pools,
            f"GET {_FS}/owner/{{path}}": self._owner,
            f"GET {_FILESETS}": self._list,
            f"GET {_FILESET}": self._read,
            f"GET {_FS}/quotas": self._quotas,
            "GET /jobs/{jobId}": self._job,
            f"POST {_FILESETS}": changes.make,
            f"PUT {_FILESET}": changes.change,
            f"DELETE {_FILESET}": changes.remove,
            f"POST {_FILESET}/link": changes.link,
            f"DELETE {_FILESET}/link": changes.unlink,
            f"POST {_FS}/quotas": changes.set_quota,
            f"POST {_FILESET}/quotas": changes.set_quota,
            "POST /refreshTask/enqueue": changes.refresh,
        }

    def refusal(self, status: int, text: str) -> Reply:
        """Every answer has a status of its own."""
        return Reply(status, {"status": {"code": status, "message": text}})

    def answer(self, **content: Any) -> Reply:
        """A good one."""
        good = {"code": 200, "message": "The request finished successfully."}
        return Reply(body={"status": good, **content})

    def begin(self, call: Call, action: Callable[[], None]) -> Reply:
        """Answer a change with its job."""
        number = self.jobs.submit(call.route, action)
        job = {
            "jobId": number,
            "status": "RUNNING",
            "submitted": "2026-11-02 09:00:00,000",
            "completed": "N/A",
            "result": {},
            "request": {"type": call.method, "url": call.path},
        }
        accepted = {"code": 202, "message": "The request was accepted for processing"}
        return Reply(202, {"status": accepted, "jobs": [job]})

    def authenticate(self, call: Call) -> Reply | None:
        """HTTP Basic with every call; changes need the group."""
        account = self.tokens.basic(call.headers.get("authorization", ""))
        if account is None:
            return self.unauthorized()
        if call.method != "GET" and account.role != _ROLE:
            return self.refusal(403, "Forbidden")
        return None

    def limits(self) -> Mapping[str, Limit]:
        """Every fileset by the scope in its name, with its limits."""
        return {
            f"/{fileset.name.rpartition('-')[2]}": _limit(fileset)
            for fileset in self.state.filesets.values()
        }

    def tamper(self, name: str, limit: Limit) -> None:
        """See `SimulatedArray`."""
        found = {f.name.rpartition("-")[2]: f for f in self.state.filesets.values()}[name]
        found.limit, found.files_limit = (limit.bytes or 0) // 1024, limit.files or 0

    def _in_force(self) -> dict[Path, Limit]:
        found = {}
        for fileset in self.state.filesets.values():
            place = self.place(fileset)
            if place is not None and _limit(fileset) != Limit():
                found[place] = _limit(fileset)
        return found

    def apply(self) -> None:
        """Put what is in force on the disk."""
        if self.disk.real:
            for fileset in self.state.filesets.values():
                place = self.place(fileset)
                if place is not None:
                    self.disk.enforce(place, _limit(fileset))

    def place(self, fileset: Fileset) -> Path | None:
        """Where the fileset's root directory is, None where somebody removed it."""
        hint = self.disk.place(fileset.hint) if fileset.hint else None
        place = self.disk.find(fileset.inode, hint)
        fileset.hint = self.disk.path(place) if place else ""
        return place

    def _info(self, state: State, call: Call) -> Reply:
        paths = {path: [method] for method, _, path in (r.partition(" ") for r in self.routes())}
        info = {
            "name": "Spectrum Scale REST Management",
            "restApiVersion": "2.2.0",
            "serverVersion": self.settings.version,
            "paths": paths,
        }
        return self.answer(info=info)

    def _config(self, state: State, call: Call) -> Reply:
        if self.settings.config_refused:
            return self.refusal(403, "Forbidden")
        cluster: dict[str, Any] = {"clusterName": "simulated", "autoload": "yes"}
        if self.settings.on_root:
            cluster["enforceFilesetQuotaOnRoot"] = self.settings.on_root
        return self.answer(config={"clusterConfig": cluster})

    def unknown(self, call: Call) -> Reply | None:
        """The refusal of another file system than ours."""
        if call.params["filesystemName"] == self.settings.name:
            return None
        return self.refusal(400, "Invalid value in 'filesystemName'")

    def _file_system(self, state: State, call: Call) -> Reply:
        return self.unknown(call) or self.answer(filesystems=[shown.file_system(self.settings)])

    def _pools(self, state: State, call: Call) -> Reply:
        used = -(-self.disk.used(self.disk.root).bytes // 1024)
        return self.unknown(call) or self.answer(storagePool=shown.pools(self.settings, used))

    def _owner(self, state: State, call: Call) -> Reply:
        path = call.params["path"]
        if not self.disk.place(path).is_dir():
            return self.refusal(400, f"EFSSG0264C The path {path} does not exist.")
        owner = {"path": path, "user": "root", "uid": 0, "group": "root", "gid": 0}
        return self.unknown(call) or self.answer(owner=owner)

    def _seen(self, state: State) -> list[Fileset]:
        known = (f for f in state.filesets.values() if f.seen)
        return sorted(known, key=lambda fileset: fileset.number)

    def _paged(self, call: Call, lines: list[tuple[int, dict[str, Any]]], name: str) -> Reply:
        start = int(call.asked("lastId", "0"))
        rest = [(number, line) for number, line in lines if number > start]
        page = rest[: self.settings.page]
        content: dict[str, Any] = {name: [line for _, line in page]}
        if len(rest) > len(page):
            last = page[-1][0]
            url = f"https://gui.example:443{call.path}"
            content["paging"] = {"baseUrl": url, "lastId": last, "next": f"{url}?lastId={last}"}
        return self.answer(**content)

    def _list(self, state: State, call: Call) -> Reply:
        lines = [(f.number, self._shown(f)) for f in self._seen(state)]
        return self.unknown(call) or self._paged(call, lines, "filesets")

    def _shown(self, fileset: Fileset) -> dict[str, Any]:
        place = self.place(fileset)
        path = f"{self.settings.mount_point}{self.disk.path(place)}" if place else "--"
        return shown.fileset(fileset, path, self.settings)

    def _read(self, state: State, call: Call) -> Reply:
        fileset = state.filesets.get(call.params["filesetName"])
        if fileset is None or not fileset.seen:
            return self.refusal(400, "Invalid value in 'filesetName'")
        return self.unknown(call) or self.answer(filesets=[self._shown(fileset)])

    def _quotas(self, state: State, call: Call) -> Reply:
        wanted = dict(part.split("=", 1) for part in call.asked("filter").split(",") if part)
        lines: list[dict[str, Any]] = []
        for fileset in sorted(state.filesets.values(), key=lambda f: f.number):
            lines += [shown.other_quota(kind, fileset, self.settings) for kind in ("USR", "GRP")]
            if self.settings.zero_hidden and _limit(fileset) == Limit():
                continue
            place = self.place(fileset)
            used = self.disk.used(place) if place else None
            lines.append(shown.quota(fileset, used, self.settings))
        numbered = list(enumerate(lines, 1))
        chosen = [
            (number, line)
            for number, line in numbered
            if all(str(line.get(key)) == value for key, value in wanted.items())
        ]
        return self.unknown(call) or self._paged(call, chosen, "quotas")

    def _job(self, state: State, call: Call) -> Reply:
        number = call.params["jobId"]
        job = self.jobs.find(int(number)) if number.isdigit() else None
        if job is None:
            return self.refusal(self.settings.job_missing, "Invalid value in 'jobId'")
        failed = job.stage is Stage.FAILED
        result = {
            "commands": [job.what],
            "progress": [],
            "exitCode": int(failed),
            "stdout": [],
            "stderr": [job.error] if failed else [],
        }
        line = {"jobId": job.number, "status": _STAGES[job.stage], "result": result}
        return self.answer(jobs=[line])


def _limit(fileset: Fileset) -> Limit:
    return Limit(fileset.limit * 1024 or None, fileset.files_limit or None)


def make(data: Path, settings: Settings | None = None) -> SimulatedGpfs:
    """Return a cluster over a directory, with an account of each kind."""
    accounts = {
        "vfolder": Account("vfolder", "simulated-gpfs", _ROLE),
        "monitor": Account("monitor", "simulated-monitor", "Monitor"),
    }
    os.makedirs(data, exist_ok=True)
    return SimulatedGpfs(Disk(data), Tokens(accounts), settings)

"""A Hammerspace system: cookies, shares with size limits, tasks for changes.

Facts from HammerSDK and the CSI plugin; see `specs/hammerspace.fields.json`. A removal that does
not say what is to become of the path takes it with it: the worst that a client could meet.
"""

import errno
import shutil
from collections.abc import Callable, Mapping
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any, ClassVar, Final

from vfolder_backends.testing.arrays import fieldtables
from vfolder_backends.testing.arrays.calls import Call, Reply
from vfolder_backends.testing.arrays.disk import Disk, Limit
from vfolder_backends.testing.arrays.documents import Document
from vfolder_backends.testing.arrays.faults import Kind
from vfolder_backends.testing.arrays.hammerspace.state import Settings, Share, State
from vfolder_backends.testing.arrays.jobs import JobFailed, Stage
from vfolder_backends.testing.arrays.simulated import Handler, SimulatedArray
from vfolder_backends.testing.arrays.tokens import Account, Tokens

_COOKIE: Final = "JSESSIONID"
_TASK: Final = "5a000000-0000-4000-8000-"
_SHARE: Final = "5b000000-0000-4000-8000-"
_LONGEST: Final = 80
_ROLE: Final = "ADMIN"
_STAGES: Final = {
    Stage.QUEUED: "NONE",
    Stage.RUNNING: "EXECUTING",
    Stage.DONE: "COMPLETED",
    Stage.FAILED: "FAILED",
}


class SimulatedHammerspace(SimulatedArray[State]):
    """One system; `settings` may be changed while it runs."""

    kind: ClassVar[str] = "hammerspace"
    base: ClassVar[str] = "/mgmt/v1.2/rest"
    open_routes: ClassVar[frozenset[str]] = frozenset({"POST /login"})
    fault_kinds: ClassVar[frozenset[Kind]] = frozenset(Kind)

    def __init__(self, disk: Disk, tokens: Tokens, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        super().__init__(disk, State(), tokens)
        disk.limits = self._in_force

    def published(self) -> Document:
        """Names and types, from several sources; the list is of what one share is read as."""
        table = fieldtables.load("hammerspace.fields.json")
        one = fieldtables.schema(
            fieldtables.read_file("hammerspace.fields.json")["paths"]["/shares/{name}"]["GET"][
                "responses"
            ]["200"]
        )
        return table.amended("GET /shares", replies={200: {"type": "array", "items": one}})

    def routes(self) -> Mapping[str, Handler[State]]:
        """The calls that are simulated."""
        return {
            "POST /login": self._login,
            "GET /cntl/state": self._system,
            "GET /shares": self._list,
            "POST /shares": self._make,
            "GET /shares/{name}": self._read,
            "PUT /shares/{name}": self._change,
            "DELETE /shares/{name}": self._remove,
            "GET /tasks/{uuid}": self._task,
        }

    def refusal(self, status: int, text: str) -> Reply:
        """A list of errors."""
        return Reply(status, [{"code": status, "message": text}])

    def authenticate(self, call: Call) -> Reply | None:
        """A session's cookie, or HTTP Basic where that is taken; changes need a role."""
        jar: SimpleCookie = SimpleCookie(call.headers.get("cookie", ""))
        account = self.tokens.check(jar[_COOKIE].value) if _COOKIE in jar else None
        if account is None and self.settings.basic:
            account = self.tokens.basic(call.headers.get("authorization", ""))
        if account is None:
            return self.unauthorized()
        if call.method != "GET" and account.role != _ROLE:
            return self.refusal(403, "Access is denied")
        return None

    def passed(self, calls: int = 1) -> None:
        """A share follows its directory, where this system's do."""
        super().passed(calls)
        for share in self.state.shares.values() if self.settings.follows else ():
            place = self.disk.find(share.inode, self.disk.place(share.path))
            if place is not None:
                share.path = self.disk.path(place)

    def limits(self) -> Mapping[str, Limit]:
        """Size limits by path."""
        return {share.path: Limit(share.limit or None) for share in self.state.shares.values()}

    def tamper(self, name: str, limit: Limit) -> None:
        """See `SimulatedArray`."""
        shares = {share.path.rpartition("/")[2]: share for share in self.state.shares.values()}
        shares[name].limit = limit.bytes or 0

    def _in_force(self) -> dict[Path, Limit]:
        return {
            self.disk.place(share.path): Limit(share.limit)
            for share in self.state.shares.values()
            if share.limit and self.disk.place(share.path).is_dir()
        }

    def apply(self) -> None:
        """Put what is in force on the disk."""
        if self.disk.real:
            for share in self.state.shares.values():
                place = self.disk.place(share.path)
                if place.is_dir():
                    self.disk.enforce(place, Limit(share.limit or None))

    def _login(self, state: State, call: Call) -> Reply:
        fields = call.fields()
        account = self.tokens.log_in(fields["username"], fields["password"])
        if account is None:
            return self.unauthorized()
        token = self.tokens.give(account, self.settings.session_seconds)
        return Reply(200, {}, (("Set-Cookie", f"{_COOKIE}={token}; Path=/mgmt; Secure"),))

    def _system(self, state: State, call: Call) -> Reply:
        total, used = self.settings.total_bytes, self.disk.used(self.disk.root).bytes
        return Reply(body={"capacity": {"total": total, "used": used, "free": total - used}})

    def _list(self, state: State, call: Call) -> Reply:
        name = call.asked("spec").removeprefix("name=eq=")
        found = [s for s in state.shares.values() if name in ("", s.name)]
        return Reply(body=[self._shown(share) for share in found])

    def _find(self, state: State, call: Call) -> Share | Reply:
        key = call.params["name"]
        found = [s for s in state.shares.values() if key in (s.name, s.uuid)]
        return found[0] if found else self.refusal(404, f"no share {key}")

    def _read(self, state: State, call: Call) -> Reply:
        share = self._find(state, call)
        return share if isinstance(share, Reply) else Reply(body=self._shown(share))

    def _shown(self, share: Share) -> dict[str, Any]:
        place = self.disk.place(share.path)
        used = self.disk.used(place)
        total = share.limit or self.settings.total_bytes
        return {
            "uoid": {"uuid": share.uuid, "objectType": "SHARE"},
            "name": share.name,
            "path": share.path,
            "internalId": int(share.uuid.rpartition("-")[2]),
            "created": 1762000000000,
            "modified": 1762000000000,
            "comment": share.comment,
            "shareState": "PUBLISHED",
            "shareSizeLimit": share.limit or None,
            "warnUtilizationPercentThreshold": share.warn,
            "extendedInfo": share.extended,
            "space": {
                "total": total,
                "used": used.bytes,
                "available": max(0, total - used.bytes),
                "percent": used.bytes * 100 // total,
            },
            "inodes": {"total": 1 << 30, "used": used.files},
            "exportOptions": share.exports,
            "shareObjectives": [],
        }

    def _make(self, state: State, call: Call) -> Reply:
        fields = call.fields()
        name, path = str(fields["name"]), str(fields["path"])
        wrong = self._wrong(state, call, name, path)
        if wrong:
            return self.refusal(400, wrong)
        if call.asked("validate-only") == "true":
            return Reply(200)

        def act() -> None:
            if name in state.shares:
                raise JobFailed(f"share {name} already exists")
            self.disk.place(path).mkdir(exist_ok=True)
            state.last += 1
            inode = self.disk.place(path).stat().st_ino
            share = Share(f"{_SHARE}{state.last:012d}", name, path, inode)
            self._take(share, fields)
            state.shares[name] = share

        return self._begin(call, act)

    def _wrong(self, state: State, call: Call, name: str, path: str) -> str:
        taken = any(name == s.name or path == s.path for s in state.shares.values())
        if taken:
            return f"a share {name} or one of {path} already exists"
        if len(name) > _LONGEST:
            return f"the name is longer than {_LONGEST}"
        if not self.settings.nested:
            return f"{path} lies below another share"
        created = call.asked("create-path") == "true"
        if self.settings.wants_create_path and not created:
            return "create-path must be true"
        if not created and not self.disk.place(path).is_dir():
            return f"{path} does not exist"
        return ""

    def _take(self, share: Share, fields: Mapping[str, Any]) -> None:
        """Set all that can be set; what is left out is reset."""
        size = fields.get("shareSizeLimit")
        if size is not None or not self.settings.null_keeps:
            share.limit = int(size or 0)
        share.comment = str(fields.get("comment") or "")
        share.warn = int(fields.get("warnUtilizationPercentThreshold", 90))
        share.exports = list(fields.get("exportOptions", []))
        share.extended = dict(fields.get("extendedInfo", {}))

    def _change(self, state: State, call: Call) -> Reply:
        share = self._find(state, call)
        if isinstance(share, Reply):
            return share
        fields = call.fields()

        def act() -> None:
            if share.name not in state.shares:
                raise JobFailed(f"share {share.name} is gone")
            self._take(share, fields)

        return self._begin(call, act)

    def _remove(self, state: State, call: Call) -> Reply:
        share = self._find(state, call)
        if isinstance(share, Reply):
            return share
        name = "delete_path" if self.settings.underscores else "delete-path"
        with_path = call.asked(name, "true") == "true"

        def act() -> None:
            if state.shares.pop(share.name, None) is None:
                raise JobFailed(f"share {share.name} is gone")
            place = self.disk.place(share.path)
            if place.is_dir():
                self.disk.enforce(place, Limit())
                if with_path:
                    shutil.rmtree(place)

        return self._begin(call, act)

    def _begin(self, call: Call, act: Callable[[], None]) -> Reply:
        def run() -> None:
            if self.settings.fails:
                self.settings.fails -= 1
                raise JobFailed("an injected failure")
            act()

        number = self.jobs.submit(call.route, run)
        place = f"https://anvil.example:8443{self.base}/tasks/{_TASK}{number:012d}"
        return Reply(202, None, (("Location", place),))

    def _task(self, state: State, call: Call) -> Reply:
        number = call.params["uuid"].removeprefix(_TASK)
        job = self.jobs.find(int(number)) if number.isdigit() else None
        if job is None:
            return self.refusal(404, "no such task")
        return Reply(
            body={
                "uoid": {"uuid": call.params["uuid"]},
                "name": job.what,
                "status": _STAGES[job.stage],
                "statusMessage": job.error,
                "progress": 100 if job.stage is Stage.DONE else 0,
                "paramsMap": {},
            }
        )


def make(data: Path, settings: Settings | None = None) -> SimulatedHammerspace:
    """Return a system over a directory, with an account of each kind."""
    accounts = {
        "vfolder": Account("vfolder", "simulated-hammerspace", _ROLE),
        "viewer": Account("viewer", "simulated-viewer", "VIEWER"),
    }
    # Which errno a writer meets is documented nowhere; this is what the backend says.
    disk = Disk(data, errno.ENOSPC)
    return SimulatedHammerspace(disk, Tokens(accounts), settings)

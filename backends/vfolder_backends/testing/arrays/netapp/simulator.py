"""An ONTAP cluster with one SVM: volumes, qtrees, tree quota rules, reports, jobs.

Facts from NetApp's REST documentation (`netapp-ontap` 9.19.1, the quota and qtree concepts of
docs.netapp.com) and from Trident. Rules are in `rules`, what takes effect when in `state`.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

from vfolder_backends.testing.arrays.calls import Call, Reply
from vfolder_backends.testing.arrays.disk import Disk, Limit
from vfolder_backends.testing.arrays.documents import Document
from vfolder_backends.testing.arrays.faults import Kind
from vfolder_backends.testing.arrays.jobs import Job, JobFailed, Stage
from vfolder_backends.testing.arrays.netapp import document, qtrees, records, rules, volumes
from vfolder_backends.testing.arrays.netapp.state import Settings, State, Volume, uuid_of
from vfolder_backends.testing.arrays.simulated import Handler, SimulatedArray
from vfolder_backends.testing.arrays.tokens import Account, Tokens

_CODES: Final = {401: "6691623", 403: "6", 404: "4", 409: "1", 429: "262160", 503: "262160"}
_RPC: Final = "65541"
_STATES: Final = {
    Stage.QUEUED: "queued",
    Stage.RUNNING: "running",
    Stage.DONE: "success",
    Stage.FAILED: "failure",
}
_PROMPT_CALLS: Final = 3
_JOB_UUID: Final = re.compile(r"00000000-0000-4000-8000-([0-9a-f]{12})")
_CALM_TURNS: Final = 4
BEARER: Final = "simulated-ontap-bearer"


class SimulatedNetapp(SimulatedArray[State]):
    """One cluster; `settings` may be changed while it runs."""

    kind: ClassVar[str] = "netapp"
    base: ClassVar[str] = "/api"
    fault_kinds: ClassVar[frozenset[Kind]] = frozenset(Kind)

    def __init__(self, disk: Disk, tokens: Tokens, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        super().__init__(disk, State(), tokens)
        disk.limits = self._in_force

    def add_volume(self, name: str, path: str = "/", ready: bool = True) -> Volume:
        """Put a volume at a directory; `ready`: quotas are on, with a default rule."""
        with self.lock:
            inode = self.disk.place(path).stat().st_ino
            made = Volume(name, uuid_of("volume", name), path, inode)
            if ready:
                rules.add(made, "", Limit())
                made.initialise()
            self.state.volumes[made.uuid] = made
            return made

    def published(self) -> Document:
        """See `document`."""
        return document.document()

    def routes(self) -> Mapping[str, Handler[State]]:
        """The calls that are simulated."""
        return {
            "GET /cluster": self._cluster,
            "GET /cluster/jobs/{uuid}": self._job,
            **volumes.routes(self),
            **qtrees.routes(self),
            **rules.routes(self),
        }

    def refusal(self, status: int, text: str) -> Reply:
        """The code is a text here."""
        return self.refused(status, _CODES.get(status, _RPC), text)

    def refused(self, status: int, code: str, text: str) -> Reply:
        """An error with a code of its own."""
        return Reply(status, {"error": {"code": code, "message": text}})

    def missing(self) -> Reply:
        """What is answered of what is not there."""
        return self.refused(404, "4", "entry doesn't exist")

    def authenticate(self, call: Call) -> Reply | None:
        """HTTP Basic, or a bearer token; then what the role may do."""
        header = call.headers.get("authorization", "")
        account = self.tokens.basic(header)
        if header == f"Bearer {BEARER}":
            account = self.tokens.accounts["vfolder"]
        if account is None:
            return self.refusal(401, "User is not authorized.")
        path = call.route.partition(" ")[2]
        may_not_change = call.method != "GET" and account.role == "readonly"
        of_the_svm = account.role == "svm" and path in (
            "/cluster",
            "/protocols/nfs/export-policies",
        )
        if may_not_change or of_the_svm:
            return self.refusal(403, "not authorized for that command")
        if call.method != "GET" and self.settings.busy:
            self.settings.busy -= 1
            return self.refused(self.settings.busy_status, "262160", "too many requests")
        return None

    @property
    def secrets(self) -> frozenset[str]:
        """Those of all arrays, and the one bearer token."""
        return super().secrets | {BEARER}

    def passed(self, calls: int = 1) -> None:
        """Jobs and scans get on; what clients removed is noticed."""
        self._notice()
        super().passed(calls)
        for volume in self.state.volumes.values():
            if volume.quota == "initializing":
                volume.initializing -= calls
                if volume.initializing <= 0:
                    volume.initialise()

    def calm(self) -> None:
        """Let all jobs end, and those that they began."""
        for _ in range(_CALM_TURNS):
            super().calm()

    def _notice(self) -> None:
        """Forget qtrees whose directory a client removed; their rules stay."""
        for volume in self.state.volumes.values():
            top = self.disk.place(volume.path)
            if not top.is_dir() or top.stat().st_ino != volume.inode:
                continue  # the test hides the volume; it is not gone
            for qtree in list(volume.qtrees.values()):
                place = top / qtree.name
                if not place.is_dir() or place.stat().st_ino != qtree.inode:
                    del volume.qtrees[qtree.id]
                    volume.active.pop(qtree.id, None)
                    rule = volume.rule_of(qtree.name)
                    if rule is not None:
                        rule.lost = True

    def limits(self) -> Mapping[str, Limit]:
        """What is in force on each qtree with a rule, and rules without a qtree as they are."""
        self._notice()
        found: dict[str, Limit] = {}
        for volume in self.state.volumes.values():
            for rule in volume.rules.values():
                if not rule.qtree:
                    continue
                qtree = volume.named(rule.qtree)
                limit = rule.limit if qtree is None else volume.active.get(qtree.id, Limit())
                found[f"{volume.path.rstrip('/')}/{rule.qtree}"] = limit
        return found

    def tamper(self, name: str, limit: Limit) -> None:
        """See `SimulatedArray`."""
        for volume in self.state.volumes.values():
            rule = volume.rule_of(name)
            if rule is not None:
                rule.limit = limit
                volume.resize(rule)
                return
        raise KeyError(name)

    def _in_force(self) -> dict[Path, Limit]:
        return {
            self.disk.place(volume.path) / volume.qtrees[number].name: limit
            for volume in self.state.volumes.values()
            for number, limit in volume.active.items()
            if number in volume.qtrees
        }

    def apply(self) -> None:
        """Put what is in force on the disk."""
        if self.disk.real:
            for place, limit in self._in_force().items():
                if place.is_dir():
                    self.disk.enforce(place, limit)

    def begin(self, call: Call, what: str, action: Callable[[], None], status: int = 200) -> Reply:
        """Begin a job; answer when it is done, if the caller waits, or with the job."""
        meant = self.jobs.fault is None
        number = self.jobs.submit(what, action)
        if self.settings.prompt and meant and int(call.asked("return_timeout", "0")) > 0:
            for _ in range(_PROMPT_CALLS):
                self.jobs.tick()
            job = self.jobs.find(number)
            if job is not None and job.stage is Stage.DONE:
                return Reply(status, {"records": [], "num_records": 0})
            if job is not None and job.stage is Stage.FAILED:
                code, _, text = job.error.partition(" ")
                return self.refused(500, code, text)
        link = {"self": {"href": f"/api/cluster/jobs/{job_uuid(number)}"}}
        return Reply(202, {"job": {"uuid": job_uuid(number), "_links": link}})

    def _job(self, state: State, call: Call) -> Reply:
        match = _JOB_UUID.fullmatch(call.params["uuid"])
        job = self.jobs.find(int(match[1], 16)) if match else None
        if job is None:
            return self.missing()
        return Reply(body=records.projected(_shown(job), call.asked("fields"), ("uuid",)))

    def _cluster(self, state: State, call: Call) -> Reply:
        generation, major, minor = self.settings.version
        shown = {
            "name": "simulated",
            "uuid": uuid_of("cluster"),
            "version": {
                "full": f"NetApp Release {generation}.{major}.{minor}",
                "generation": generation,
                "major": major,
                "minor": minor,
            },
        }
        return Reply(body=records.projected(shown, call.asked("fields"), ("name", "uuid")))


def job_uuid(number: int) -> str:
    """Return the id of a job."""
    return f"00000000-0000-4000-8000-{number:012x}"


def _shown(job: Job) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "uuid": job_uuid(job.number),
        "description": job.what,
        "state": _STATES[job.stage],
        "code": 0,
        "message": _STATES[job.stage],
    }
    if job.stage is Stage.FAILED:
        code, _, text = job.error.partition(" ")
        # A number here, a text in the error below it.
        shown |= {"code": int(code), "message": text, "error": {"code": code, "message": text}}
    return shown


def failed(code: str, text: str) -> JobFailed:
    """Return what a job's action raises to end with a code."""
    return JobFailed(f"{code} {text}")


def make(data: Path, settings: Settings | None = None) -> SimulatedNetapp:
    """Return a cluster whose one volume is a directory, with an account of each kind."""
    accounts = {
        "vfolder": Account("vfolder", "simulated-ontap", "vfolder"),
        "svmadmin": Account("svmadmin", "simulated-svm-admin", "svm"),
        "reader": Account("reader", "simulated-reader", "readonly"),
    }
    made = SimulatedNetapp(Disk(data), Tokens(accounts), settings)
    made.add_volume("vol1")
    return made

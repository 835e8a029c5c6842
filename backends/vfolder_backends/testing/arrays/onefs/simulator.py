"""A OneFS cluster: SmartQuotas on the directories of /ifs, sessions, the job engine.

Facts from the schema by which OneFS 8.0.1.2 describes itself and from Dell's API reference. A quota
follows its directory through a rename, as quotas belong to the directory's LIN; whether the cluster
lets it be renamed at all is not documented.
"""

import itertools
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import unquote

from vfolder_backends.testing.arrays.calls import Call, Reply
from vfolder_backends.testing.arrays.disk import Disk, Limit
from vfolder_backends.testing.arrays.documents import Document
from vfolder_backends.testing.arrays.jobs import Stage
from vfolder_backends.testing.arrays.onefs import document, shown
from vfolder_backends.testing.arrays.onefs.sessions import Sessions
from vfolder_backends.testing.arrays.onefs.state import Quota, Settings, State
from vfolder_backends.testing.arrays.simulated import Handler, SimulatedArray
from vfolder_backends.testing.arrays.tokens import Account, Tokens

_QUOTAS: Final = "/platform/1/quota/quotas"
_QUOTA: Final = "/platform/1/quota/quotas/{QID}"
_ROOT: Final = "/ifs"
_CODES: Final = {
    400: "AEC_BAD_REQUEST",
    401: "AEC_UNAUTHORIZED",
    403: "AEC_FORBIDDEN",
    404: "AEC_NOT_FOUND",
    405: "AEC_METHOD_NOT_ALLOWED",
    409: "AEC_CONFLICT",
}


class SimulatedOneFS(SimulatedArray[State]):
    """One cluster; `settings` may be changed while it runs."""

    kind: ClassVar[str] = "onefs"
    open_routes: ClassVar[frozenset[str]] = frozenset({f"POST {document.SESSION}"})

    def __init__(self, disk: Disk, tokens: Tokens, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self._sessions = Sessions(tokens)
        self._turn = itertools.count()
        self._node = 0
        self._resumes: dict[str, tuple[list[str], int]] = {}
        super().__init__(disk, State(), tokens)
        disk.limits = self._in_force

    def published(self) -> Document:
        """See `document`."""
        return document.load()

    def routes(self) -> Mapping[str, Handler[State]]:
        """The calls that are simulated."""
        return {
            f"POST {document.SESSION}": self._login,
            "GET /platform/latest": lambda state, call: Reply(
                body={"latest": self.settings.latest}
            ),
            "GET /platform/1/quota/license": self._old_license,
            "GET /platform/5/quota/license": self._license,
            f"GET {_QUOTAS}": self._list,
            f"POST {_QUOTAS}": self._create,
            f"DELETE {_QUOTAS}": self._delete_matching,
            f"GET {_QUOTA}": self._read,
            f"PUT {_QUOTA}": self._change,
            f"DELETE {_QUOTA}": self._delete,
            "GET /platform/3/cluster/config": lambda s, c: Reply(body=shown.config(self.settings)),
            "GET /platform/3/storagepool/storagepools": self._pools,
            "GET /platform/3/statistics/summary/protocol-stats": lambda s, c: Reply(
                body=shown.statistics()
            ),
            "GET /platform/4/protocols/nfs/exports": self._exports,
            "GET /platform/3/job/jobs": self._jobs,
            "GET /platform/3/job/recent": self._recent,
            "POST /platform/3/job/jobs": self._start_job,
            f"GET {document.NAMESPACE}": self._metadata,
            f"DELETE {document.NAMESPACE}": self._remove_tree,
        }

    def find(self, method: str, path: str) -> tuple[str, Mapping[str, str]] | None:
        """The rest of a namespace path is one parameter, slashes and all."""
        prefix = "/namespace/"
        if path.startswith(prefix):
            return f"{method} {document.NAMESPACE}", {"path": unquote(path[len(prefix) :])}
        return super().find(method, path)

    def refusal(self, status: int, text: str) -> Reply:
        """OneFS's error bodies."""
        code = _CODES.get(status, "AEC_SYSTEM_INTERNAL_ERROR")
        return Reply(status, {"errors": [{"code": code, "message": text}]})

    def unauthorized(self) -> Reply:
        """Without a code."""
        return Reply(401, {"errors": [{"message": "authorization required"}]})

    def authenticate(self, call: Call) -> Reply | None:
        """A password or a session with every call; changes need a role that may make them."""
        basic = self.tokens.basic(call.headers.get("authorization", ""))
        account = basic or self._sessions.check(call, self._node)
        if account is None:
            return self.unauthorized()
        if call.method != "GET" and account.role != "QuotaAdmin":
            return self.refusal(403, f"Privilege check failed for {account.name}: ISI_PRIV_QUOTA")
        if call.method != "GET" and self.settings.license not in ("Licensed", "Evaluation"):
            body = {"code": "AEC_INVALID_LICENSE", "message": "SmartQuotas is not licensed"}
            return Reply(403, {"errors": [body]})
        return None

    def serve(self, call: Call, kind: Any = None) -> Reply:
        """Each call comes to the next node; a session that ends soon is replaced in passing."""
        with self.lock:
            self._node = next(self._turn) % self.settings.nodes
            self._look_for_torn_down()
            left = self._sessions.seconds_left(call)
            account = self._sessions.check(call, self._node)
            reply = super().serve(call, kind)
            if left is not None and account is not None and left <= self.settings.renew_below:
                reply = replace(reply, headers=(*reply.headers, *self._begin(account)))
            return reply

    def _begin(self, account: Account) -> tuple[tuple[str, str], ...]:
        return self._sessions.begin(account, self._node, self.settings.session_seconds)

    def _look_for_torn_down(self) -> None:
        for quota in list(self.state.quotas.values()):
            if self._place(quota) is None:
                self.violations.append(f"{quota.hint} was removed with a quota on it")
                del self.state.quotas[quota.id]

    def limits(self) -> Mapping[str, Limit]:
        """Hard limits by path."""
        return {self._path(quota): Limit(quota.limit) for quota in self.state.quotas.values()}

    def tamper(self, name: str, limit: Limit) -> None:
        """See `SimulatedArray`."""
        for quota in self.state.quotas.values():
            if quota.hint.endswith(name):
                quota.hard, quota.enforced = limit.bytes, limit.bytes is not None
                return
        raise KeyError(name)

    def _in_force(self) -> dict[Path, Limit]:
        found = {}
        for quota in self.state.quotas.values():
            place = self._place(quota)
            if place is not None and quota.ready and quota.limit is not None:
                found[place] = Limit(quota.limit)
        return found

    def apply(self) -> None:
        """Put what is in force on the disk."""
        if self.disk.real:
            for place, limit in self._in_force().items():
                self.disk.enforce(place, limit)

    def _place(self, quota: Quota) -> Path | None:
        place = self.disk.find(quota.inode, self.disk.place(quota.hint))
        if place is not None:
            quota.hint = self.disk.path(place)
        return place

    def _path(self, quota: Quota) -> str:
        self._place(quota)
        return f"{_ROOT}{quota.hint}"

    def _where(self, path: str) -> Path | None:
        """Return where a path of the cluster is, None unless it is a directory below /ifs."""
        if path != _ROOT and not path.startswith(f"{_ROOT}/"):
            return None
        place = self.disk.place(path.removeprefix(_ROOT))
        return place if place.is_dir() else None

    def _login(self, state: State, call: Call) -> Reply:
        fields = call.fields()
        account = self.tokens.log_in(fields["username"], fields["password"])
        if account is None:
            return self.refusal(401, "Username or password is incorrect.")
        seconds = int(self.settings.session_seconds)
        body = {
            "services": fields["services"],
            "timeout_absolute": 14400,
            "timeout_inactive": seconds,
            "username": account.name,
        }
        return Reply(201, body, self._begin(account))

    def _old_license(self, state: State, call: Call) -> Reply:
        words = {"Licensed": "Activated", "Unlicensed": "Inactive", "Evaluation Expired": "Expired"}
        status = words.get(self.settings.license, self.settings.license)
        body = {"duration": None, "expiration": None, "id": "SMARTQUOTAS", "name": "SmartQuotas"}
        return Reply(body={**body, "status": status})

    def _license(self, state: State, call: Call) -> Reply:
        body = {"id": "SMARTQUOTAS", "name": "SmartQuotas", "tiers": []}
        alerts = {"expired_alert": False, "expiring_alert": False}
        return Reply(body={**body, **alerts, "status": self.settings.license})

    def _list(self, state: State, call: Call) -> Reply:
        token = call.asked("resume")
        if token:
            if set(call.query) != {"resume"}:
                return self.refusal(400, "resume cannot be used with other options")
            if token not in self._resumes:
                return self.refusal(400, "the resume token is not valid")
            chosen, start = self._resumes[token]
        else:
            if "path" in call.query and self._where(call.asked("path")) is None:
                return self.refusal(404, f"Path '{call.asked('path')}' not found")
            chosen, start = [q.id for q in state.quotas.values() if self._matches(q, call)], 0
        end = start + self.settings.page
        more = end < len(chosen)
        resume = f"1-{secrets.token_hex(8)}" if more else None
        if resume is not None:
            self._resumes[resume] = (chosen, end)
        found = [state.quotas[i] for i in chosen[start:end] if i in state.quotas]
        return Reply(body={"quotas": [self._shown(q) for q in found], "resume": resume})

    def _matches(self, quota: Quota, call: Call) -> bool:
        path, wanted = self._path(quota), call.asked("path")
        below = call.asked("recurse_path_children") == "true"
        if wanted and path != wanted and not (below and path.startswith(f"{wanted}/")):
            return False
        counted = call.asked("include_snapshots")
        if counted and counted != str(quota.include_snapshots).lower():
            return False
        return call.asked("type", "directory") == "directory"

    def _shown(self, quota: Quota) -> dict[str, Any]:
        place = self._place(quota)
        return shown.quota(quota, self._path(quota), self.disk.used(place or self.disk.root))

    def _create(self, state: State, call: Call) -> Reply:
        fields = call.fields()
        path, counted = str(fields["path"]), bool(fields["include_snapshots"])
        place = self._where(path)
        if place is None:
            return self.refusal(404, f"Path '{path}' not found")
        if place == self.disk.root and not fields.get("force"):
            return self.refusal(400, "a quota on /ifs needs force")
        if fields["type"] != "directory":
            return self.refusal(400, "only directory quotas are simulated")
        inode = place.stat().st_ino
        twin = [q for q in state.quotas.values() if q.inode == inode]
        if any(q.include_snapshots == counted for q in twin):
            return self.refusal(409, f"a directory quota on {path} exists already")
        # 32 characters that begin with the directory's number, as real ones do.
        state.last += 1
        made = Quota(f"{inode:024x}{state.last:08x}", inode, self.disk.path(place), counted)
        wrong = self._set(made, fields)
        if wrong is not None:
            return wrong
        state.quotas[made.id] = made
        if any(place.iterdir()):
            made.ready = False
            self._scan()
        return Reply(201, {"id": made.id})

    def _set(self, quota: Quota, fields: Mapping[str, Any]) -> Reply | None:
        thresholds = fields.get("thresholds", {})
        if not self.settings.nulls and None in thresholds.values():
            return self.refusal(400, "null is not a valid threshold")
        if thresholds.get("soft") is not None and thresholds.get("soft_grace") is None:
            return self.refusal(400, "a soft threshold needs soft_grace")
        for name in ("hard", "soft", "soft_grace", "advisory"):
            if name in thresholds:
                setattr(quota, name, thresholds[name])
        quota.enforced = fields.get("enforced", quota.enforced)
        quota.container = fields.get("container", quota.container)
        quota.overhead = fields.get("thresholds_include_overhead", quota.overhead)
        return None

    def _find(self, state: State, call: Call) -> Quota | Reply:
        found = state.quotas.get(call.params["QID"])
        text = "Failed to fetch quota domain record: No such file or directory"
        return found if found is not None else self.refusal(404, text)

    def _read(self, state: State, call: Call) -> Reply:
        found = self._find(state, call)
        return found if isinstance(found, Reply) else Reply(body={"quotas": [self._shown(found)]})

    def _change(self, state: State, call: Call) -> Reply:
        found = self._find(state, call)
        if isinstance(found, Reply):
            return found
        changed = replace(found)
        wrong = self._set(changed, call.fields())
        if wrong is not None:
            return wrong
        state.quotas[found.id] = changed
        return Reply(204)

    def _delete(self, state: State, call: Call) -> Reply:
        found = self._find(state, call)
        if isinstance(found, Reply):
            return found
        self._drop(state, found)
        return Reply(204)

    def _drop(self, state: State, quota: Quota) -> None:
        del state.quotas[quota.id]
        place = self._place(quota)
        if place is not None:
            self.disk.enforce(place, Limit())

    def _delete_matching(self, state: State, call: Call) -> Reply:
        """Without a filter all of them: what no client of ours may ever ask for."""
        self.violations.append(f"{call.route} {dict(call.query)} removes more than one object")
        for quota in [q for q in state.quotas.values() if self._matches(q, call)]:
            self._drop(state, quota)
        return Reply(204)

    def _pools(self, state: State, call: Call) -> Reply:
        return Reply(body=shown.pools(self.settings, self.disk.used(self.disk.root).bytes))

    def _exports(self, state: State, call: Call) -> Reply:
        return Reply(body=shown.exports(self.settings, call.asked("zone", "System")))

    def _scan(self) -> int:
        number = self.jobs.submit("QuotaScan", self._count_all)
        self.state.scans.append(number)
        return number

    def _count_all(self) -> None:
        for quota in self.state.quotas.values():
            quota.ready = True

    def _running(self) -> list[int]:
        found = [self.jobs.find(number) for number in self.state.scans]
        return [job.number for job in found if job and job.stage in (Stage.QUEUED, Stage.RUNNING)]

    def _jobs(self, state: State, call: Call) -> Reply:
        return Reply(body={"jobs": [shown.job(number, "running") for number in self._running()]})

    def _recent(self, state: State, call: Call) -> Reply:
        found = [self.jobs.find(number) for number in state.scans]
        words = {Stage.DONE: "succeeded", Stage.FAILED: "failed"}
        ended = [
            shown.job(job.number, words[job.stage]) for job in found if job and job.stage in words
        ]
        return Reply(body={"recent_jobs": ended, "total": len(ended)})

    def _start_job(self, state: State, call: Call) -> Reply:
        if call.fields()["type"] != "QuotaScan":
            return self.refusal(400, "only QuotaScan is simulated")
        if self._running():
            return self.refusal(409, "a QuotaScan is running")
        return Reply(201, {"id": self._scan()})

    def _metadata(self, state: State, call: Call) -> Reply:
        if not self.settings.namespace:
            return self.refusal(403, "Access to the namespace is denied")
        path = f"/{call.params['path'].rstrip('/')}"
        if self._where(path) is None:
            return self.refusal(404, f"Unable to open object '{path}'")
        return Reply(body={"attrs": [{"name": "type", "value": "container"}]})

    def _remove_tree(self, state: State, call: Call) -> Reply:
        """A tree with a quota in it is "not empty", however little lies there."""
        path = f"/{call.params['path'].rstrip('/')}"
        place = self._where(path)
        if place is None:
            return Reply(204)
        held = [p for p in map(self._place, state.quotas.values()) if p]
        if any(p == place or place in p.parents for p in held):
            return self.refusal(409, f"directory '{path}' is not empty")
        shutil.rmtree(place) if call.asked("recursive") == "true" else place.rmdir()
        return Reply(204)


def make(data: Path, settings: Settings | None = None) -> SimulatedOneFS:
    """Return a cluster over a directory, which is its /ifs, with an account of each kind."""
    accounts = {
        "vfolder": Account("vfolder", "simulated-onefs", "QuotaAdmin"),
        "reader": Account("reader", "simulated-reader", "Auditor"),
    }
    return SimulatedOneFS(Disk(data), Tokens(accounts), settings)

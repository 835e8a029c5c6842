"""A WEKA cluster: logins with refresh, one file system, directory quotas by inode.

Facts from WEKA's API document and from the CSI plugin; see `specs/weka.fields.json`. What this does
not imitate: a quota of a removed directory stays until it is deleted, which is the harder case for
a client (what a cluster does is not documented).
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

from vfolder_backends.testing.arrays import fieldtables
from vfolder_backends.testing.arrays.calls import Call, Reply
from vfolder_backends.testing.arrays.disk import Disk, Limit
from vfolder_backends.testing.arrays.documents import Document
from vfolder_backends.testing.arrays.simulated import Handler, SimulatedArray
from vfolder_backends.testing.arrays.tokens import Account, Tokens
from vfolder_backends.testing.arrays.weka.state import FS_UID, Quota, Settings, State

_QUOTAS: Final = "/fileSystems/{uid}/quota"
_QUOTA: Final = "/fileSystems/{uid}/quota/{inode_id}"
_PLURAL: Final = "/fileSystems/{uid}/quotas/{inode_id}"
_MAY_SET: Final = ("ClusterAdmin", "OrgAdmin", "CSI")
_UNLIMITED: Final = (0, 9223372036854775807)  # the document's word for it, and the CSI plugin's
_BLOCK: Final = 4096


class SimulatedWeka(SimulatedArray[State]):
    """One cluster; `settings` may be changed while it runs."""

    kind: ClassVar[str] = "weka"
    base: ClassVar[str] = "/api/v2"
    open_routes: ClassVar[frozenset[str]] = frozenset({"POST /login", "POST /login/refresh"})

    def __init__(self, disk: Disk, tokens: Tokens, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self._seen: dict[int, Path] = {}
        super().__init__(disk, State(), tokens)
        disk.limits = self._in_force

    def published(self) -> Document:
        """Names and types of WEKA's document, version 5.1."""
        return fieldtables.load("weka.fields.json")

    def routes(self) -> Mapping[str, Handler[State]]:
        """The calls that are simulated."""
        return {
            "POST /login": self._login,
            "POST /login/refresh": self._refresh,
            "GET /security/defaultTokensExpiry": self._expiry,
            "GET /cluster": self._cluster,
            "GET /fileSystems": self._file_systems,
            "GET /fileSystems/{uid}": self._file_system,
            "GET /fileSystems/{uid}/resolvePath": self._resolve,
            f"GET {_QUOTAS}": self._list,
            f"GET {_QUOTA}": self._read,
            f"PUT {_QUOTA}": self._set,
            f"PATCH {_QUOTA}": self._set,
            f"DELETE {_QUOTA}": self._remove,
            f"DELETE {_PLURAL}": self._remove,
            "GET /alerts": self._alerts,
            "GET /stats/realtime": self._realtime,
        }

    def refusal(self, status: int, text: str) -> Reply:
        """WEKA's error bodies."""
        return Reply(status, {"data": text} if status == 401 else {"message": text})

    def authenticate(self, call: Call) -> Reply | None:
        """Bearer tokens; changes need a role that may make them."""
        token = call.headers.get("authorization", "").removeprefix("Bearer ")
        account = self.tokens.check(token)
        if account is None:
            return self.unauthorized()
        if call.method != "GET" and account.role not in _MAY_SET:
            return self.refusal(403, f"role {account.role} is not permitted to do this")
        return None

    def passed(self, calls: int = 1) -> None:
        """Quotas that are being added get on."""
        super().passed(calls)
        for quota in self.state.quotas.values():
            quota.ready_in = max(0, quota.ready_in - calls)

    def limits(self) -> Mapping[str, Limit]:
        """Hard limits by path; by inode where the directory is gone."""
        found: dict[str, Limit] = {}
        for quota in self.state.quotas.values():
            place = self._place(quota)
            key = self.disk.path(place) if place else f"inode {quota.inode}"
            found[key] = Limit(None if quota.hard in _UNLIMITED else quota.hard)
        return found

    def tamper(self, name: str, limit: Limit) -> None:
        """See `SimulatedArray`."""
        for quota in self.state.quotas.values():
            if quota.hint.endswith(name):
                quota.hard = limit.bytes or 0
                return
        raise KeyError(name)

    def _in_force(self) -> dict[Path, Limit]:
        found = {}
        for quota in self.state.quotas.values():
            place = self._place(quota)
            if place is not None and quota.hard not in _UNLIMITED and not quota.ready_in:
                found[place] = Limit(quota.hard)
        return found

    def apply(self) -> None:
        """Put what is in force on the disk."""
        if self.disk.real:
            in_force = self._in_force()
            for quota in self.state.quotas.values():
                place = self._place(quota)
                if place is not None:
                    self.disk.enforce(place, in_force.get(place, Limit()))

    def _place(self, quota: Quota) -> Path | None:
        hint = self.disk.place(quota.hint) if quota.hint else None
        place = self.disk.find(quota.inode, hint)
        quota.hint = self.disk.path(place) if place else ""
        return place

    def _login(self, state: State, call: Call) -> Reply:
        fields = call.fields()
        account = self.tokens.log_in(fields["username"], fields["password"])
        return self._tokens(account) if account else self.unauthorized()

    def _refresh(self, state: State, call: Call) -> Reply:
        account = self.tokens.check(str(call.fields()["refresh_token"]), "refresh")
        return self._tokens(account) if account else self.unauthorized()

    def _tokens(self, account: Account) -> Reply:
        data = {
            "access_token": self.tokens.give(account, self.settings.access_seconds),
            "token_type": "Bearer",
            "expires_in": int(self.settings.access_seconds),
            "refresh_token": self.tokens.give(account, self.settings.refresh_seconds, "refresh"),
            "password_change_required": False,
        }
        return Reply(body={"data": data})

    def _expiry(self, state: State, call: Call) -> Reply:
        access, refresh = int(self.settings.access_seconds), int(self.settings.refresh_seconds)
        data = {"access_token_expiry": access, "refresh_token_expiry": refresh}
        return Reply(body={"data": data})

    def _cluster(self, state: State, call: Call) -> Reply:
        data = {
            "name": "simulated",
            "guid": "0e5b6a52-6c5d-4a5e-8a3d-2f1d0c9b8a77",
            "release": self.settings.release,
            "status": "OK",
            "io_status": self.settings.io_status,
            "active_alerts_count": self.settings.alerts,
            "activity": {
                "num_reads": 120,
                "num_writes": 60,
                "num_ops": 200,
                "sum_bytes_read": 3 << 20,
                "sum_bytes_written": 1 << 20,
            },
            "capacity": {
                "total_bytes": self.settings.total_bytes,
                "hot_spare_bytes": 0,
                "unprovisioned_bytes": 0,
            },
        }
        return Reply(body={"data": data})

    def _file_systems(self, state: State, call: Call) -> Reply:
        names = ("", self.settings.name)
        found = [self._shown()] if call.asked("name") in names else []
        return Reply(body={"data": found})

    def _file_system(self, state: State, call: Call) -> Reply:
        if call.params["uid"] != FS_UID:
            return self.refusal(404, "file system not found")
        return Reply(body={"data": self._shown()})

    def _shown(self) -> dict[str, Any]:
        total, used = self.settings.total_bytes, self.disk.used(self.disk.root).bytes
        return {
            "id": "FSId<0>",
            "uid": FS_UID,
            "name": self.settings.name,
            "status": "READY",
            "is_ready": True,
            "is_creating": False,
            "is_removing": False,
            "total_budget": total,
            "used_total": used,
            "used_total_data": used,
            "free_total": total - used,
            "available_total": total - used,
            "auth_required": False,
        }

    def _resolve(self, state: State, call: Call) -> Reply:
        place = self.disk.place(call.asked("path"))
        try:
            inode = os.lstat(place).st_ino
        except OSError:
            return self.refusal(400, f"PATH_NOT_FOUND: {call.asked('path')}")
        self._seen[inode] = place
        return Reply(body={"data": {"inode_id": str(inode)}})

    def _list(self, state: State, call: Call) -> Reply:
        start = int(call.asked("next_token", "0"))
        numbers = sorted(state.quotas)[start:]
        shown = [self._listed(state.quotas[n]) for n in numbers[: self.settings.page]]
        body: dict[str, Any] = {"data": shown}
        if len(numbers) > self.settings.page:
            body["next_token"] = start + self.settings.page
        return Reply(body=body)

    def _listed(self, quota: Quota) -> dict[str, Any]:
        place = self._place(quota)
        path = self.disk.path(place) if place else ""
        return {
            "quota_id": f"{quota.inode:#018x}:0",
            "inode_id": quota.inode,
            "full_path": f"{self.settings.name}:{path}" if self.settings.full_paths else path,
            "path": path,
            "fsName": self.settings.name,
            "total_bytes": self._used(quota),
            "data_blocks": self._used(quota) // _BLOCK,
            "hard_limit_bytes": quota.hard,
            "owner": quota.owner,
            "grace_seconds": quota.grace,
            "time_over_soft_limit": 0,
        }

    def _used(self, quota: Quota) -> int:
        place = self._place(quota)
        return self.disk.used(place).bytes if place else 0

    def _detail(self, quota: Quota, call: Call) -> Reply:
        shown: dict[str, Any] = {
            "inode_id": quota.inode,
            "total_bytes": self._used(quota),
            "owner": quota.owner,
            "data_blocks": self._used(quota) // _BLOCK,
            "metadata_blocks": 0,
            "hard_limit_bytes": quota.hard,
            "soft_limit_bytes": quota.soft,
            "grace_seconds": quota.grace,
            "snap_view_id": 0,
            "status": quota.status,
        }
        if call.method in ("GET", "PUT"):
            shown["time_over_soft_limit"] = 0
        return Reply(body={"data": shown})

    def _find(self, state: State, call: Call) -> Quota | Reply:
        if call.params["uid"] != FS_UID:
            return self.refusal(404, "file system not found")
        if not call.params["inode_id"].isdigit():
            return self.refusal(400, "inode_id is not a number")
        quota = state.quotas.get(int(call.params["inode_id"]))
        if quota is None:
            status = 500 if self.settings.missing_as_500 else 404
            return self.refusal(status, "Directory has no quota")
        return quota

    def _read(self, state: State, call: Call) -> Reply:
        quota = self._find(state, call)
        return quota if isinstance(quota, Reply) else self._detail(quota, call)

    def _set(self, state: State, call: Call) -> Reply:
        """PUT makes or replaces, PATCH changes; values come as a body or in the query."""
        inode = int(call.params["inode_id"])
        place = self.disk.find(inode, self._seen.get(inode))
        if call.params["uid"] != FS_UID or place is None:
            return self.refusal(404, "no such directory")
        given = {**{name: values[-1] for name, values in call.query.items()}, **call.fields()}
        needed = {"hard_limit_bytes", "soft_limit_bytes", "grace_seconds"}
        if call.method == "PUT" and needed - set(given):
            body = {"message": "missing", "data": {"missing_params": sorted(needed - set(given))}}
            return Reply(400, body)
        old = state.quotas.get(inode)
        if old is None and call.method == "PATCH":
            return self.refusal(404, "Directory has no quota")
        quota = old or Quota(inode, hint=self.disk.path(place))
        quota.hard = int(str(given.get("hard_limit_bytes", quota.hard)))
        quota.soft = int(str(given.get("soft_limit_bytes", quota.soft)))
        quota.grace = int(str(given.get("grace_seconds", quota.grace)))
        if old is None and any(place.iterdir()):
            quota.ready_in = self.settings.adding_calls
        state.quotas[inode] = quota
        return self._detail(quota, call)

    def _remove(self, state: State, call: Call) -> Reply:
        if self.settings.plural_delete == (call.route == f"DELETE {_QUOTA}"):
            return self.refusal(404, "Not Found")
        quota = self._find(state, call)
        if isinstance(quota, Reply):
            return quota
        del state.quotas[quota.inode]
        place = self._place(quota)
        if place is not None:
            self.disk.enforce(place, Limit())
        return self._detail(quota, call)

    def _alerts(self, state: State, call: Call) -> Reply:
        one = {"type": "NodeDown", "muted": False, "title": "a node is down", "params": {}}
        return Reply(body={"data": [one] * self.settings.alerts})

    def _realtime(self, state: State, call: Call) -> Reply:
        one = {
            "hostname": "weka0",
            "reads_per_second": 60,
            "writes_per_second": 30,
            "read_bytes_per_second": 3 << 19,
            "write_bytes_per_second": 1 << 19,
            "read_latency_usecs": 250,
            "write_latency_usecs": 500,
        }
        return Reply(body={"data": [{"id": f"NodeId<{n}>", **one} for n in (1, 2)]})


def make(data: Path, settings: Settings | None = None) -> SimulatedWeka:
    """Return a cluster over a directory, with an account of each kind."""
    accounts = {
        "vfolder": Account("vfolder", "simulated-weka", "CSI"),
        "reader": Account("reader", "simulated-reader", "ReadOnly"),
    }
    return SimulatedWeka(Disk(data), Tokens(accounts), settings)

"""Quotas on paths, as a simulated VAST cluster keeps them."""

import os
from typing import TYPE_CHECKING, Any, Final

from vfolder_backends.testing.arrays.calls import Call, Reply
from vfolder_backends.testing.arrays.disk import Limit
from vfolder_backends.testing.arrays.simulated import Handler
from vfolder_backends.testing.arrays.vast.state import Counted, Quota, State

if TYPE_CHECKING:
    from vfolder_backends.testing.arrays.vast.simulator import SimulatedVast

_LONGEST: Final = 64


def routes(array: "SimulatedVast") -> dict[str, Handler[State]]:
    """The calls on quotas."""
    made = Quotas(array)
    return {
        "GET /quotas/": made.listed,
        "POST /quotas/": made.create,
        "GET /quotas/{id}/": made.read,
        "PATCH /quotas/{id}/": made.change,
        "DELETE /quotas/{id}/": made.remove,
        "PATCH /quotas/recalc/": made.recount,
    }


class Quotas:
    """The handlers."""

    def __init__(self, array: "SimulatedVast") -> None:
        self._array = array

    def listed(self, state: State, call: Call) -> Reply:
        """Filtered by exact match, as far as the version knows the filter."""
        path, name, tenant = call.asked("path"), call.asked("name"), call.asked("tenant_id")
        if not self._array.settings.path_filter:
            path = ""
        found = [
            self._shown(quota)
            for quota in state.quotas.values()
            if name in ("", quota.name)
            and tenant in ("", str(quota.tenant))
            and path in ("", self._array.where(quota))
        ]
        return self._array.listed(call, found)

    def create(self, state: State, call: Call) -> Reply:
        """One quota a path, one name a quota; so many levels, and no more."""
        fields, settings = call.fields(), self._array.settings
        name, path = str(fields["name"]), str(fields["path"]).rstrip("/") or "/"
        tenant = int(str(fields.get("tenant_id", 1)))
        there = list(state.quotas.values())
        if any(self._array.where(quota) == path for quota in there):
            return self._array.refused("path", f"A quota for path {path} already exists")
        if any(quota.name == name for quota in there):
            return self._array.refused("name", "Quota with this name already exists.")
        if len(name) > _LONGEST:
            return self._array.refused("name", f"no more than {_LONGEST} characters")
        levels = [q for q in there if f"{path}/".startswith(f"{self._array.where(q)}/")]
        if len(levels) >= settings.levels:
            return self._array.refused("path", f"quotas are nested {settings.levels} levels deep")
        place = self._array.disk.place(path)
        if fields.get("create_dir"):
            place.mkdir(parents=True, exist_ok=True)
        if not place.is_dir():
            return self._array.refused("path", f"no such directory: {path}")
        quota = Quota(state.number(), name, path, tenant, inode=os.lstat(place).st_ino)
        self._set(quota, fields)
        quota.synchronized_in = settings.synchronize_calls
        state.quotas[quota.id] = quota
        return Reply(201, self._shown(quota))

    def _find(self, state: State, call: Call) -> Quota | Reply:
        quota = state.quotas.get(int(call.params["id"]))
        return quota or self._array.refusal(404, "Not found.")

    def read(self, state: State, call: Call) -> Reply:
        """One quota."""
        quota = self._find(state, call)
        return quota if isinstance(quota, Reply) else Reply(body=self._shown(quota))

    def change(self, state: State, call: Call) -> Reply:
        """Change what is given."""
        quota, fields = self._find(state, call), call.fields()
        if isinstance(quota, Reply):
            return quota
        if not self._array.settings.null_clears:
            for name in ("hard_limit", "hard_limit_inodes"):
                if name in fields and fields[name] is None:
                    return Reply(400, {name: ["This field may not be null."]})
        self._set(quota, fields)
        return Reply(body=self._shown(quota))

    def _set(self, quota: Quota, fields: dict[str, Any]) -> None:
        quota.name = fields.get("name", quota.name)
        quota.hard = fields.get("hard_limit", quota.hard)
        quota.hard_inodes = fields.get("hard_limit_inodes", quota.hard_inodes)
        quota.soft = fields.get("soft_limit", quota.soft)
        quota.soft_inodes = fields.get("soft_limit_inodes", quota.soft_inodes)
        quota.grace = fields.get("grace_period", quota.grace)

    def remove(self, state: State, call: Call) -> Reply:
        """Remove the quota; the directory stays."""
        quota = self._find(state, call)
        if isinstance(quota, Reply):
            return quota
        place = self._array.place(quota)
        del state.quotas[quota.id]
        self._array.counted.pop(quota.id, None)
        if place.is_dir():
            self._array.disk.enforce(place, Limit())
        return Reply(204)

    def recount(self, state: State, call: Call) -> Reply:
        """Count again at once."""
        self._array.counted.clear()
        return Reply(204)

    def _counted(self, quota: Quota) -> Counted:
        """Return usage as it was counted last, which may be a while ago."""
        known = self._array.counted.get(quota.id)
        if known is None or known.due <= 0:
            place = self._array.place(quota)
            used = self._array.disk.used(place)
            files = used.files if place.is_dir() else 0
            known = Counted(used.bytes, files, self._array.settings.usage_calls)
            self._array.counted[quota.id] = known
        return known

    def _shown(self, quota: Quota) -> dict[str, Any]:
        counted = self._counted(quota)
        state = _state(quota, counted)
        return {
            "id": quota.id,
            "guid": f"00000000-0000-4000-8000-{quota.id:012x}",
            "name": quota.name,
            "path": self._array.where(quota),
            "tenant_id": quota.tenant,
            "hard_limit": quota.hard,
            "hard_limit_inodes": quota.hard_inodes,
            "soft_limit": quota.soft,
            "soft_limit_inodes": quota.soft_inodes,
            "grace_period": quota.grace,
            "used_capacity": counted.bytes,
            "used_inodes": counted.files,
            "percent_capacity": counted.bytes * 100 // quota.hard if quota.hard else 0,
            "percent_inodes": counted.files * 100 // quota.hard_inodes if quota.hard_inodes else 0,
            "state": state,
            "pretty_state": state,
            "sync_state": "SYNCHRONIZING" if quota.synchronized_in else "SYNCHRONIZED",
            "is_user_quota": False,
            "internal": False,
        }


def _state(quota: Quota, counted: Counted) -> str:
    """The state's name, from what is exceeded and by how much."""
    hard = quota.hard is not None and counted.bytes >= quota.hard
    hard_inodes = quota.hard_inodes is not None and counted.files >= quota.hard_inodes
    if hard and hard_inodes:
        return "HARD_BOTH_EXCEEDED"
    if hard or hard_inodes:
        return "HARD_EXCEEDED" if hard else "INODE_HARD_EXCEEDED"
    soft = quota.soft is not None and counted.bytes >= quota.soft
    soft_inodes = quota.soft_inodes is not None and counted.files >= quota.soft_inodes
    if soft and soft_inodes:
        return "SOFT_BOTH_EXCEEDED"
    if soft or soft_inodes:
        return "SOFT_EXCEEDED" if soft else "INODE_SOFT_EXCEEDED"
    return "OK"

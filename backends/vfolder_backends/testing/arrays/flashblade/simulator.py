"""A FlashBlade: file systems with hard limits, a token in a header, destroying in two steps.

Facts from Pure Storage's OpenAPI document 2.28. Each file system is a directory in the view, as an
automounter would show it; a directory with a scope's name that somebody makes there by hand is a
file system that somebody made.
"""

import re
import secrets
import shutil
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

from vfolder_backends.testing.arrays.calls import Call, Reply
from vfolder_backends.testing.arrays.disk import Disk, Limit
from vfolder_backends.testing.arrays.documents import Document
from vfolder_backends.testing.arrays.flashblade import document, shown
from vfolder_backends.testing.arrays.flashblade.state import (
    EVERYBODY,
    FileSystem,
    Settings,
    State,
)
from vfolder_backends.testing.arrays.simulated import Handler, SimulatedArray
from vfolder_backends.testing.arrays.tokens import Account, Tokens

_FS: Final = f"{document.BASE}/file-systems"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_SCOPE: Final = re.compile(r"[0-9a-f]{32}")
_DESTROYED: Final = ".destroyed"
_LIFE: Final = 1e9
_MISSING: Final = "File system does not exist."


class SimulatedFlashBlade(SimulatedArray[State]):
    """One array; `settings` may be changed while it runs."""

    kind: ClassVar[str] = "flashblade"
    open_routes: ClassVar[frozenset[str]] = frozenset({"POST /api/login", "GET /api/api_version"})

    def __init__(self, disk: Disk, tokens: Tokens, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self._used_at: dict[str, float] = {}
        self._pages: dict[str, tuple[list[str], int]] = {}
        self._calls = 0
        super().__init__(disk, State(), tokens)
        disk.limits = self._in_force

    def published(self) -> Document:
        """See `document`."""
        return document.load()

    def routes(self) -> Mapping[str, Handler[State]]:
        """The calls that are simulated."""
        return {
            "GET /api/api_version": lambda s, c: Reply(
                body={"versions": list(self.settings.versions)}
            ),
            "POST /api/login": self._login,
            "POST /api/logout": self._logout,
            f"GET {_FS}": self._list,
            f"POST {_FS}": self._create,
            f"PATCH {_FS}": self._change,
            f"DELETE {_FS}": self._eradicate,
            f"GET {document.BASE}/arrays": lambda s, c: Reply(body=shown.array(self.settings)),
            f"GET {document.BASE}/arrays/space": self._space,
            f"GET {document.BASE}/arrays/performance": lambda s, c: Reply(body=shown.performance()),
            f"GET {document.BASE}/alerts": lambda s, c: Reply(body=shown.alerts(self.settings)),
        }

    def find(self, method: str, path: str) -> tuple[str, Mapping[str, str]] | None:
        """Older versions of the API are answered like the one whose document we have."""
        match = re.match(r"/api/(2\.[0-9]+)/", path)
        if match and match[1] in self.settings.versions:
            path = path.replace(match[1], document.VERSION, 1)
        return super().find(method, path)

    def refusal(self, status: int, text: str, context: str = "") -> Reply:
        """FlashBlade's error bodies."""
        error = {"message": text, **({"context": context} if context else {})}
        return Reply(status, {"errors": [error]})

    def authenticate(self, call: Call) -> Reply | None:
        """A token from the login, until it is idle for too long; changes need the right role."""
        token = call.headers.get("x-auth-token", "")
        account, now = self.tokens.check(token), time.monotonic()
        idle = now - self._used_at.get(token, now)
        if account is None or 0 < self.settings.idle_seconds < idle:
            self.tokens.take_back(token)
            return self.unauthorized()
        self._used_at[token] = now
        if call.method != "GET" and account.role != "storage_admin" and call.route != _LOGOUT:
            return self.refusal(self.settings.forbidden, "Operation not permitted.")
        return None

    def passed(self, calls: int = 1) -> None:
        """Usage is counted anew once in a while; directories are looked at each time."""
        super().passed(calls)
        self._calls += calls
        self._look_around()

    def _look_around(self) -> None:
        """Take what was made in the view by hand, and let go of what was removed there."""
        known = self.state.file_systems
        for file_system in list(known.values()):
            if self._place(file_system) is None:
                del known[file_system.id]
        inodes = {file_system.inode for file_system in known.values()}
        view = self._view()
        for place in sorted(view.iterdir()) if view.is_dir() else ():
            by_hand = _SCOPE.fullmatch(place.name) and place.is_dir() and not place.is_symlink()
            if by_hand and place.stat().st_ino not in inodes:
                self._adopt(place)

    def _view(self) -> Path:
        return self.disk.root / self.settings.view

    def _adopt(self, place: Path) -> FileSystem:
        made = FileSystem(str(uuid.uuid4()), place.name, place.stat().st_ino, self.disk.path(place))
        self.state.file_systems[made.id] = made
        return made

    def _place(self, file_system: FileSystem) -> Path | None:
        place = self.disk.find(file_system.inode, self.disk.place(file_system.hint))
        if place is not None:
            file_system.hint = self.disk.path(place)
        return place

    def limits(self) -> Mapping[str, Limit]:
        """Hard limits by name."""
        self._look_around()
        live = [f for f in self.state.file_systems.values() if not f.destroyed]
        return {f"/{f.name}": Limit(f.limit) for f in live}

    def tamper(self, name: str, limit: Limit) -> None:
        """See `SimulatedArray`."""
        found = {f.name: f for f in self.state.file_systems.values()}[name]
        found.provisioned, found.hard = limit.bytes, limit.bytes is not None

    def _in_force(self) -> dict[Path, Limit]:
        found = {}
        for file_system in self.state.file_systems.values():
            place = self._place(file_system)
            if place is not None and not file_system.destroyed and file_system.limit is not None:
                found[place] = Limit(file_system.limit)
        return found

    def apply(self) -> None:
        """Put what is in force on the disk."""
        if self.disk.real:
            for file_system in self.state.file_systems.values():
                place = self._place(file_system)
                if place is not None:
                    self.disk.enforce(place, Limit(file_system.limit))

    def _login(self, state: State, call: Call) -> Reply:
        given = call.headers.get("api-token")
        matching = [a for a in self.tokens.accounts.values() if a.password == given]
        if not matching:
            return self.refusal(401, "Invalid credentials.")
        token = self.tokens.give(matching[0], _LIFE)
        self._used_at[token] = time.monotonic()
        return Reply(body={"username": matching[0].name}, headers=(("x-auth-token", token),))

    def _logout(self, state: State, call: Call) -> Reply:
        self.tokens.take_back(call.headers.get("x-auth-token", ""))
        return Reply()

    def _list(self, state: State, call: Call) -> Reply:
        token = call.asked("continuation_token")
        if token:
            if token not in self._pages or "limit" not in call.query:
                return self.refusal(400, "Invalid continuation token.")
            chosen, start = self._pages[token]
        elif "names" in call.query or "ids" in call.query:
            named = self._named(state, call)
            if isinstance(named, Reply):
                return named
            chosen, start = [file_system.id for file_system in named], 0
        else:
            wanted = call.asked("destroyed")
            chosen = [
                f.id
                for f in state.file_systems.values()
                if wanted in ("", str(f.destroyed).lower())
            ]
            start = 0
        size = min(int(call.asked("limit", str(self.settings.page))), self.settings.page)
        end = start + size
        body: dict[str, Any] = {"total_item_count": len(chosen)}
        if end < len(chosen):
            body["continuation_token"] = secrets.token_urlsafe(12)
            self._pages[body["continuation_token"]] = (chosen, end)
        found = [state.file_systems[i] for i in chosen[start:end] if i in state.file_systems]
        return Reply(body={**body, "items": [self._shown(f) for f in found]})

    def _named(self, state: State, call: Call) -> list[FileSystem] | Reply:
        """Return what `names` or `ids` mean; one that is not there spoils it all."""
        found = []
        key = "ids" if "ids" in call.query else "names"
        for word in call.asked(key).split(","):
            hit = [
                f for f in state.file_systems.values() if word == (f.id if key == "ids" else f.name)
            ]
            wanted = call.asked("destroyed")
            if not hit or wanted not in ("", str(hit[0].destroyed).lower()):
                return self.refusal(400, _MISSING, word)
            found += hit
        return found

    def _shown(self, file_system: FileSystem) -> dict[str, Any]:
        place = self._place(file_system)
        if self._calls - file_system.counted_at >= self.settings.lag_calls:
            file_system.counted_at = self._calls
            file_system.virtual = self.disk.used(place).bytes if place else 0
        return shown.file_system(file_system)

    def _create(self, state: State, call: Call) -> Reply:
        name, fields = call.asked("names"), call.fields()
        if not _NAME.fullmatch(name):
            return self.refusal(400, "Invalid file system name.", name)
        if any(f.name == name for f in state.file_systems.values()):
            return self.refusal(400, self.settings.taken, name)
        place = self._view() / name
        place.mkdir(mode=0o755)
        made = self._adopt(place)
        nfs = fields.get("nfs")
        given = nfs if isinstance(nfs, Mapping) else {}
        # With neither rules nor a policy, and NFS among the default exports: to everybody.
        made.rules = str(
            given.get("rules", EVERYBODY if "nfs" in call.asked("default_exports", "nfs") else "")
        )
        self._set(made, fields)
        if made.fast_remove:
            (place / ".fast-remove").mkdir()
        return Reply(body={"items": [self._shown(made)]})

    def _set(self, file_system: FileSystem, fields: Mapping[str, Any]) -> None:
        if "provisioned" in fields:
            size = fields["provisioned"]
            file_system.provisioned = None if size == "" else size
        file_system.hard = fields.get("hard_limit_enabled", file_system.hard)
        file_system.fast_remove = fields.get(
            "fast_remove_directory_enabled", file_system.fast_remove
        )
        file_system.snapshots = fields.get("snapshot_directory_enabled", file_system.snapshots)
        nfs = fields.get("nfs", {})
        file_system.rules = nfs.get("rules", file_system.rules)
        file_system.v3 = nfs.get("v3_enabled", file_system.v3)
        file_system.v4 = nfs.get("v4_1_enabled", file_system.v4)

    def _change(self, state: State, call: Call) -> Reply:
        named, fields = self._named(state, call), call.fields()
        if isinstance(named, Reply):
            return named
        if len(named) != 1:
            self.violations.append(f"{call.route} changes {len(named)} objects")
        for file_system in named:
            wrong = self._change_one(state, file_system, fields, call)
            if wrong is not None:
                return wrong
        return Reply(body={"items": [self._shown(f) for f in named]})

    def _change_one(
        self, state: State, changed: FileSystem, fields: Mapping[str, Any], call: Call
    ) -> Reply | None:
        place = self._place(changed)
        assert place is not None
        destroyed = fields.get("destroyed", changed.destroyed)
        if changed.destroyed and destroyed:
            return self.refusal(400, "File system is destroyed.", changed.name)
        new = str(fields.get("name", changed.name))
        if new != changed.name:
            if any(f.name == new for f in state.file_systems.values()) or not _NAME.fullmatch(new):
                return self.refusal(400, self.settings.taken, new)
            place = place.rename(place.with_name(new))
            changed.name = new
        size, hard = (
            fields.get("provisioned", changed.provisioned),
            fields.get("hard_limit_enabled"),
        )
        over = isinstance(size, int) and self.disk.used(place).bytes > size
        if over and hard and call.asked("ignore_usage") != "true":
            return self.refusal(400, "Usage is above the limit.", changed.name)
        self._set(changed, fields)
        if destroyed != changed.destroyed:
            self._move(changed, place, destroyed)
        return None

    def _move(self, changed: FileSystem, place: Path, destroyed: bool) -> None:
        store = self.disk.root / _DESTROYED
        store.mkdir(exist_ok=True)
        place.rename(store / changed.id if destroyed else self._view() / changed.name)
        changed.destroyed = destroyed

    def _eradicate(self, state: State, call: Call) -> Reply:
        named = self._named(state, call)
        if isinstance(named, Reply):
            return named
        for file_system in named:
            if not file_system.destroyed:
                return self.refusal(400, "File system is not destroyed.", file_system.name)
            if not self.settings.manual_eradication:
                return self.refusal(400, "Manual eradication is disabled.", file_system.name)
            place = self._place(file_system)
            if place is not None:
                shutil.rmtree(place)
            del state.file_systems[file_system.id]
        return Reply()

    def _space(self, state: State, call: Call) -> Reply:
        return Reply(body=shown.space(self.settings, self.disk.used(self._view()).bytes))


_LOGOUT: Final = "POST /api/logout"


def make(data: Path, settings: Settings | None = None) -> SimulatedFlashBlade:
    """Return an array over a directory, with an account of each kind."""
    accounts = {
        "vfolder": Account("vfolder", "T-51e1a7ed-0000-4000-8000-000000000001", "storage_admin"),
        "reader": Account("reader", "T-51e1a7ed-0000-4000-8000-000000000002", "readonly"),
    }
    chosen = settings or Settings()
    return SimulatedFlashBlade(Disk(data, chosen.over_limit), Tokens(accounts), chosen)

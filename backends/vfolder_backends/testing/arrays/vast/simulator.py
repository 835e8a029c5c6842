"""A VAST cluster: JWTs and API tokens, quotas on paths, views; folders and clones are in `folders`.

Facts from VAST's OpenAPI documents (`specs/vast-*.json`), its CSI driver (`vast-data/vast-csi`
v2.4.2), its client libraries and its knowledge base. What the documents leave out and those show is
added in `published`; what nobody says is a switch in `Settings`.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

from vfolder_backends.testing.arrays import fieldtables, openapi
from vfolder_backends.testing.arrays.calls import Call, Reply
from vfolder_backends.testing.arrays.disk import Disk, Limit
from vfolder_backends.testing.arrays.documents import Document, Parameter
from vfolder_backends.testing.arrays.simulated import Handler, SimulatedArray
from vfolder_backends.testing.arrays.tokens import Account, Tokens
from vfolder_backends.testing.arrays.vast import folders, quotas
from vfolder_backends.testing.arrays.vast.state import Counted, Quota, Settings, State, View

_MAY_CHANGE: Final = ("csi", "logical")
_MAY_SEE_HARDWARE: Final = ("csi", "read-only")
_VERSIONED: Final = re.compile(r"/api/(?:latest|v[0-9]+)(/.*)")
_OVER: Final = "Token is invalid or expired"
API_TOKEN: Final = "9f3c.simulated-vast-token"  # noqa: S105 - of a simulated cluster
# Third parties show records with null in these; the documents give them a type and no more.
_NULLABLE: Final = (
    *(f"Quota.{n}" for n in ("hard_limit", "soft_limit", "hard_limit_inodes")),
    *(f"Quota.{n}" for n in ("soft_limit_inodes", "grace_period", "time_to_block")),
)
_TEXT: Final = Parameter({"type": "string"})


class SimulatedVast(SimulatedArray[State]):
    """One cluster; `settings` may be changed while it runs, `document` excepted."""

    kind: ClassVar[str] = "vast"
    base: ClassVar[str] = "/api/latest"
    open_routes: ClassVar[frozenset[str]] = frozenset({"POST /token/", "POST /token/refresh/"})

    def __init__(self, disk: Disk, tokens: Tokens, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.counted: dict[int, Counted] = {}
        super().__init__(disk, State(), tokens)
        disk.limits = self._in_force

    def published(self) -> Document:
        """The OpenAPI document, and what it leaves out."""
        source = fieldtables.read_file(f"vast-{self.settings.document}.json")
        _mend_enums(source)
        body = source["paths"]["/quotas/{id}/"]["patch"]["requestBody"]["content"]
        for schema in body.values():
            for name in ("hard_limit", "hard_limit_inodes"):
                # Whether null is taken is a switch. The document of 5.3.0 has a text here;
                # vast-csi sends numbers to that version, too.
                known = schema["schema"]["properties"][name]
                known["type"] = [*sorted({"integer", known["type"]}), "null"]
        document = openapi.read(source, _NULLABLE)
        # Lists by pages: vast-data/vastpy. Filters by any field: the knowledge base, vast-csi.
        for path, more in (
            ("/quotas/", ("path",)),
            ("/views/", ()),
            ("/versions/", ("status", "page_size")),
        ):
            operation, _ = document.find("GET", path) or (None, {})
            assert operation is not None
            listed = operation.replies[200]
            page = {
                "type": "object",
                "required": ["count", "next", "previous", "results"],
                "properties": {
                    "count": {"type": "integer"},
                    "next": {"type": ["string", "null"]},
                    "previous": {"type": ["string", "null"]},
                    "results": listed,
                },
            }
            document = document.amended(
                f"GET {path}",
                query={**operation.query, **dict.fromkeys(more, _TEXT)},
                replies={200: {"oneOf": [listed, page]}},
            )
        return document

    def routes(self) -> Mapping[str, Handler[State]]:
        """The calls that are simulated."""
        return {
            "POST /token/": self._login,
            "POST /token/refresh/": self._refresh,
            "GET /clusters/": self._clusters,
            "GET /versions/": self._versions,
            "GET /views/": self._views,
            "POST /views/": self._make_view,
            "DELETE /views/{id}/": self._remove_view,
            "GET /viewpolicies/": self._policies,
            "GET /viewpolicies/{id}/": self._policy,
            **quotas.routes(self),
            **folders.routes(self),
        }

    def find(self, method: str, path: str) -> tuple[str, Mapping[str, str]] | None:
        """Any version in the path; without the slash at the end there is no such call."""
        match = _VERSIONED.fullmatch(path)
        found = self.document.find(method, match[1]) if match else None
        return (found[0].route, found[1]) if found else None

    def refusal(self, status: int, text: str) -> Reply:
        """A text for the whole call."""
        return Reply(status, {"detail": text})

    def refused(self, field: str, text: str) -> Reply:
        """A text for one field; the status is 400, or 503 as vast-csi knows it."""
        return Reply(self.settings.refused_as, {field: [text]})

    def unauthorized(self) -> Reply:
        """403, not 401: the session's end is told in the text."""
        return self.refusal(403, _OVER)

    def authenticate(self, call: Call) -> Reply | None:
        """A bearer token or an API token, then what the manager's role may do."""
        word, _, token = call.headers.get("authorization", "").partition(" ")
        account: Account | None = None
        if word == "Api-Token" and token == API_TOKEN:
            account = self.tokens.accounts["vfolder"]
        elif word == "Bearer":
            account = self.tokens.check(token)
        if account is None:
            return self.unauthorized()
        changes = call.method != "GET" and call.route != "POST /folders/stat_path/"
        hardware = call.route == "GET /clusters/"
        if (changes and account.role not in _MAY_CHANGE) or (
            hardware and account.role not in _MAY_SEE_HARDWARE
        ):
            return self.refusal(403, "You do not have permission to perform this action.")
        return None

    @property
    def secrets(self) -> frozenset[str]:
        """Those of all arrays, and the one API token."""
        return super().secrets | {API_TOKEN}

    def passed(self, calls: int = 1) -> None:
        """Quotas come into force, and usage is counted again."""
        super().passed(calls)
        for quota in self.state.quotas.values():
            quota.synchronized_in = max(0, quota.synchronized_in - calls)
        for counted in self.counted.values():
            counted.due -= calls

    def limits(self) -> Mapping[str, Limit]:
        """Hard limits by path."""
        return {self.where(q): Limit(q.hard, q.hard_inodes) for q in self.state.quotas.values()}

    def tamper(self, name: str, limit: Limit) -> None:
        """See `SimulatedArray`."""
        for quota in self.state.quotas.values():
            if self.where(quota).endswith(name):
                quota.hard, quota.hard_inodes = limit.bytes, limit.files
                return
        raise KeyError(name)

    def _in_force(self) -> dict[Path, Limit]:
        found = {}
        for quota in self.state.quotas.values():
            place = self.disk.place(self.where(quota))
            if place.is_dir() and not quota.synchronized_in:
                found[place] = Limit(quota.hard, quota.hard_inodes)
        return found

    def apply(self) -> None:
        """Put what is in force on the disk; drop the quotas that go with their directories."""
        if self.settings.quotas_vanish:
            kept = {k: q for k, q in self.state.quotas.items() if self.place(q).is_dir()}
            self.state.quotas = kept
        if self.disk.real:
            for place, limit in self._in_force().items():
                self.disk.enforce(place, limit)

    def place(self, quota: Quota) -> Path:
        """Return the directory of a quota, there or not."""
        return self.disk.place(self.where(quota))

    def where(self, quota: Quota) -> str:
        """Return the path a quota is on now."""
        if self.settings.follows_rename:
            place = self.disk.find(quota.inode, self.disk.place(quota.path))
            if place is not None:
                quota.path = self.disk.path(place)
        return quota.path

    def listed(self, call: Call, items: list[dict[str, Any]]) -> Reply:
        """A bare list, or a page of it when pages were asked for."""
        if "page" not in call.query or not self.settings.paged:
            return Reply(body=items)
        page = int(call.asked("page"))
        size = min(int(call.asked("page_size", "1000")), self.settings.page_size)
        rest = {k: v[-1] for k, v in call.query.items() if k != "page"}
        tail = "".join(f"&{k}={v}" for k, v in rest.items())
        link = f"https://vms/api/latest{call.route.partition(' ')[2]}?page={{}}{tail}"
        more = len(items) > page * size
        body = {
            "count": len(items),
            "next": link.format(page + 1) if more else None,
            "previous": link.format(page - 1) if page > 1 else None,
            "results": items[(page - 1) * size : page * size],
        }
        return Reply(body=body)

    def _login(self, state: State, call: Call) -> Reply:
        fields = call.fields()
        account = self.tokens.log_in(fields.get("username"), fields.get("password"))
        if account is None:
            return self.refusal(401, "No active account found with the given credentials")
        return self._tokens(account)

    def _refresh(self, state: State, call: Call) -> Reply:
        old = str(call.fields().get("refresh"))
        account = self.tokens.check(old, "refresh")
        if account is None:
            return self.refusal(401, _OVER)
        self.tokens.take_back(old)
        return self._tokens(account)

    def _tokens(self, account: Account) -> Reply:
        access = self.tokens.give(account, self.settings.access_seconds)
        refresh = self.tokens.give(account, self.settings.refresh_seconds, "refresh")
        return Reply(body={"access": access, "refresh": refresh})

    def _clusters(self, state: State, call: Call) -> Reply:
        total, used = self.settings.total_bytes, self.disk.used(self.disk.root).bytes
        one = {
            "id": 1,
            "name": "simulated",
            "state": self.settings.state,
            "sw_version": self.settings.version,
            "enable_trash": self.settings.trash,
            "logical_space": total,
            "logical_space_in_use": used,
            "physical_space": total // 2,
            "physical_space_in_use": used // 2,
            "usable_capacity_bytes": total // 2,
            "free_usable_capacity": (total - used) // 2,
            "rd_iops": 120,
            "wr_iops": 60,
            "rd_bw": 3 << 20,
            "wr_bw": 1 << 20,
            "rd_latency": 250,
            "wr_latency": 500,
        }
        return Reply(body=[one])

    def _versions(self, state: State, call: Call) -> Reply:
        return Reply(body=[{"id": 1, "status": "success", "sys_version": self.settings.version}])

    def _views(self, state: State, call: Call) -> Reply:
        wanted = call.asked("path")
        found = [_view(v) for v in state.views.values() if wanted in ("", v.path)]
        return self.listed(call, found)

    def _make_view(self, state: State, call: Call) -> Reply:
        fields = call.fields()
        path = str(fields["path"])
        if any(view.path == path for view in state.views.values()):
            return self.refused("path", f"a view on {path} already exists")
        if fields.get("create_dir"):
            self.disk.place(path).mkdir(parents=True, exist_ok=True)
        given = fields.get("protocols")
        protocols = [str(p) for p in given] if isinstance(given, list) else ["NFS"]
        view = View(state.number() + 1, path, int(str(fields["policy_id"])), protocols)
        state.views[view.id] = view
        return Reply(201, _view(view))

    def _remove_view(self, state: State, call: Call) -> Reply:
        found = state.views.pop(int(call.params["id"]), None)
        return Reply(204) if found else self.refusal(404, "Not found.")

    def _policies(self, state: State, call: Call) -> Reply:
        wanted = call.asked("name")
        return Reply(body=[self._shown_policy()] if wanted in ("", "nodes") else [])

    def _policy(self, state: State, call: Call) -> Reply:
        if call.params["id"] != "1":
            return self.refusal(404, "Not found.")
        return Reply(body=self._shown_policy())

    def _shown_policy(self) -> dict[str, Any]:
        return {
            "id": 1,
            "name": "nodes",
            "flavor": "NFS",
            "nfs_read_write": list(self.settings.read_write),
            # A text in that document, a list in later ones.
            "nfs_read_only": "" if self.settings.document == "5.3.0" else [],
            "nfs_no_squash": list(self.settings.no_squash),
            "nfs_root_squash": list(self.settings.read_write),
            "nfs_all_squash": [],
        }


def _mend_enums(item: Any) -> None:
    """Put the values of a list where they belong: the document allows them to the list itself."""
    if isinstance(item, dict):
        if item.get("type") == "array" and "enum" in item and isinstance(item.get("items"), dict):
            item["items"]["enum"] = item.pop("enum")
        for below in item.values():
            _mend_enums(below)
    elif isinstance(item, list):
        for below in item:
            _mend_enums(below)


def _view(view: View) -> dict[str, Any]:
    return {
        "id": view.id,
        "path": view.path,
        "policy_id": view.policy,
        "protocols": view.protocols,
        "tenant_id": 1,
    }


def make(data: Path, settings: Settings | None = None) -> SimulatedVast:
    """Return a cluster over a directory, with a manager of each kind."""
    accounts = {
        "vfolder": Account("vfolder", "simulated-vast", "csi"),
        "tenant": Account("tenant", "simulated-tenant", "logical"),
        "reader": Account("reader", "simulated-reader", "read-only"),
    }
    return SimulatedVast(Disk(data), Tokens(accounts), settings)

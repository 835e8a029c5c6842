"""OneFS's platform API, one method per call.

Quotas are called by version 1 of the API, which every release since 7 still answers (Dell's own CSI
driver uses it on 9.x): the lowest that has what we need. Quotas are removed by their id alone. The
call that removes quotas by a filter removes all of the cluster's when the filter is lost, so it is
not in here.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Final
from urllib.parse import quote

from vfolder_backends.config import BackendConfig
from vfolder_backends.errors import BackendError, Misconfigured, PermissionDenied, Unsupported
from vfolder_backends.transport.channel import Channel, addresses
from vfolder_backends.transport.messages import Answer, Request
from vfolder_backends.transport.paging import Page, pages
from vfolder_backends.transport.parsing import parse
from vfolder_backends.transport.refusals import Exists, Invalid, Missing, Refusal, kind_of_status
from vfolder_backends.transport.sessions import Auth, BasicAuth, Door, Session, SessionAuth
from vfolder_backends.vendors.onefs import models

_QUOTAS: Final = "/platform/1/quota/quotas"
_QUOTA: Final = "/platform/1/quota/quotas/{id}"
_SESSION: Final = "/session/1/session"
_NOBODY: Final = "0" * 32  # the id of no quota

# "Error codes" of the PowerScale OneFS API Reference.
_CODES: Final[Mapping[str, type[BackendError]]] = {
    "AEC_NOT_FOUND": Missing,
    "AEC_CONFLICT": Exists,
    "AEC_FORBIDDEN": PermissionDenied,
    "AEC_UNAUTHORIZED": PermissionDenied,
    "AEC_INVALID_LICENSE": Unsupported,
    "AEC_BAD_REQUEST": Invalid,
    "AEC_ARG_REQUIRED": Invalid,
    "AEC_METHOD_NOT_ALLOWED": Unsupported,
}
_ROLE: Final = "(the role needs ISI_PRIV_LOGIN_PAPI, and ISI_PRIV_QUOTA with write)"
_NODE: Final = (
    "(a new session was refused, too: behind a SmartConnect name it does not hold; use one node's"
    " address in endpoint, or parameters.authentication: Basic)"
)


def classify(answer: Answer, sessions: bool = False) -> Refusal | None:
    """Read OneFS's error bodies: a list of codes with words; front-end errors are HTML."""
    if answer.ok:
        return None
    try:
        body = answer.json()
    except ValueError:
        return None
    errors = body.get("errors") if isinstance(body, Mapping) else None
    if not isinstance(errors, list):
        return None
    found = [error for error in errors if isinstance(error, Mapping)]
    code = next((str(error["code"]) for error in found if error.get("code")), "")
    words = [str(error["message"]) for error in found if error.get("message")]
    kind = _CODES.get(code, kind_of_status(answer.status))
    if kind is PermissionDenied and answer.status == 403:
        words.append(_ROLE)
    if sessions and answer.status == 401 and _SESSION not in answer.call:
        words.append(_NODE)
    return Refusal(kind, code, " ".join(words))


class OneFSClient:
    """The calls; `channel` has the rest.

    Args:
        config: where the cluster is, and the account.
        sessions: log in once, in place of the password with every call.

    Raises:
        Misconfigured: sessions, and more than one address.
    """

    def __init__(self, config: BackendConfig, sessions: bool) -> None:
        self._credentials = config.credentials
        auth: Auth = BasicAuth(config.credentials["username"], config.credentials["password"])
        self._referer: Mapping[str, str] = {}
        if sessions:
            found = addresses(config.endpoint)
            if len(found) > 1:
                raise Misconfigured(
                    "endpoint: a session holds on one node only: name one address, or set"
                    " parameters.authentication: Basic"
                )
            # Checked by the cluster for every call of a session, against forged ones.
            self._referer = {"Referer": found[0]}
            auth = SessionAuth(self._log_in, replaced=_replaced)
        self.channel = Channel(config, auth, "", partial(classify, sessions=sessions))

    async def _log_in(self, door: Door) -> Session:
        body = {
            "username": self._credentials["username"],
            "password": self._credentials["password"],
            "services": ["platform", "namespace"],
        }
        request = Request("POST", _SESSION, json=body, headers=self._referer, repeatable=True)
        answer = await door.knock(request)
        made = parse(models.SessionMade, answer, self.channel.array)
        headers = _cookies(answer)
        if not headers:
            raise BackendError(f"{self.channel.array}: the login was answered without a cookie")
        return Session(headers, min(made.timeout_absolute, made.timeout_inactive))

    async def _send(self, request: Request) -> Answer:
        return await self.channel.send(replace(request, headers=self._referer))

    async def latest(self) -> int:
        """Return the newest version of the API that the cluster has."""
        answer = await self._send(Request("GET", "/platform/latest"))
        text = parse(models.Latest, answer, self.channel.array).latest
        number = text.partition(".")[0]
        return int(number) if number.isdigit() else 0

    async def cluster(self) -> models.Cluster:
        """Name and state."""
        answer = await self._send(Request("GET", "/platform/3/cluster/config"))
        return parse(models.Cluster, answer, self.channel.array)

    async def license(self, latest: int) -> str:
        """Return the state of the SmartQuotas licence, in the words of that version."""
        answer = await self._send(
            Request("GET", f"/platform/{5 if latest >= 5 else 1}/quota/license")
        )
        return parse(models.License, answer, self.channel.array).status

    async def pools(self) -> list[models.Pool]:
        """All pools, tiers among them."""
        answer = await self._send(Request("GET", "/platform/3/storagepool/storagepools"))
        return parse(models.PoolsAnswer, answer, self.channel.array).storagepools

    async def statistics(self) -> list[models.NodeStats]:
        """Rates of each node."""
        answer = await self._send(Request("GET", "/platform/3/statistics/summary/protocol-stats"))
        return parse(models.StatsAnswer, answer, self.channel.array).stats

    def exports(self, zone: str) -> AsyncIterator[models.Export]:
        """All NFS exports of an access zone."""

        def read(request: Request, answer: Answer) -> Page[models.Export]:
            page = parse(models.ExportsAnswer, answer, self.channel.array)
            token = page.resume
            return Page(page.exports, request.asking_only(resume=token) if token else None)

        first = Request("GET", "/platform/4/protocols/nfs/exports", query={"zone": zone})
        return pages(self._send, first, read)

    async def look(self, path: str) -> None:
        """Raise Missing unless the cluster has a directory or file at that path."""
        # Part of the path, not a parameter: its slashes must stay slashes.
        await self._send(Request("GET", f"/namespace{quote(path)}", query={"metadata": ""}))

    def quotas_below(self, path: str) -> AsyncIterator[models.Quota]:
        """Read all directory quotas at or below a path."""
        return self._list({"path": path, "recurse_path_children": "true"})

    async def quota(self, path: str) -> models.Quota:
        """Read the quota on a directory (`Missing`)."""
        async for found in self._list({"path": path}):
            if found.path == path:
                return found
        raise Missing(f"{self.channel.array}: no quota on {path}")

    def _list(self, narrow: Mapping[str, str]) -> AsyncIterator[models.Quota]:
        # A second quota may lie on the same directory that counts snapshots: never ours.
        query = {**narrow, "type": "directory", "include_snapshots": "false"}

        def read(request: Request, answer: Answer) -> Page[models.Quota]:
            page = parse(models.QuotasAnswer, answer, self.channel.array)
            token = page.resume
            return Page(page.quotas, request.asking_only(resume=token) if token else None)

        return pages(self._send, Request("GET", _QUOTAS, query=query), read)

    async def create_quota(self, path: str, hard: int | None) -> None:
        """Put a quota on a directory (`Exists`); None counts and limits nothing."""
        body = {
            "path": path,
            "type": "directory",
            "include_snapshots": False,
            "container": True,
            "enforced": hard is not None,
            "thresholds_include_overhead": False,
            **({} if hard is None else {"thresholds": {"hard": hard}}),
        }
        await self._send(Request("POST", _QUOTAS, json=body))

    async def change_quota(self, quota: models.Quota, hard: int | None) -> None:
        """Set the hard limit of a quota, and take off other limits; None counts only."""
        # Only what is set is unset: whether every release takes nulls is not documented.
        others = {
            name: None
            for name, value in (
                ("soft", quota.thresholds.soft),
                ("advisory", quota.thresholds.advisory),
            )
            if value is not None
        }
        body = {
            "enforced": hard is not None,
            "container": True,
            "thresholds_include_overhead": False,
            "thresholds": {"hard": hard, **others},
        }
        await self._send(Request("PUT", _QUOTA, params={"id": quota.id}, json=body))

    async def remove_quota(self, quota: models.Quota) -> None:
        """Remove one quota by its id; gone is success."""
        with suppress(Missing):
            await self._send(Request("DELETE", _QUOTA, params={"id": quota.id}))

    async def touch_quotas(self) -> None:
        """Try to change the quota that nobody has: raises PermissionDenied, or nothing."""
        with suppress(Missing, Invalid, Exists):
            await self._send(
                Request("PUT", _QUOTA, params={"id": _NOBODY}, json={"enforced": True})
            )

    async def jobs(self) -> list[models.Job]:
        """Jobs that are not done."""
        answer = await self._send(Request("GET", "/platform/3/job/jobs"))
        return parse(models.JobsAnswer, answer, self.channel.array).jobs

    async def recent_jobs(self) -> list[models.Job]:
        """Jobs that are done: they are in no other list any more."""
        answer = await self._send(Request("GET", "/platform/3/job/recent"))
        return parse(models.RecentAnswer, answer, self.channel.array).recent_jobs

    async def start_scan(self) -> None:
        """Start a QuotaScan; one that runs already is success."""
        with suppress(Exists):
            await self._send(Request("POST", "/platform/3/job/jobs", json={"type": "QuotaScan"}))


def _cookies(answer: Answer) -> dict[str, str]:
    """Return the headers of the session that an answer brings, none if it brings none."""
    found = answer.cookies
    if "isisessid" not in found:
        return {}
    headers = {"Cookie": f"isisessid={found['isisessid']}"}
    if "isicsrf" in found:
        headers["X-CSRF-Token"] = found["isicsrf"]
    return headers


def _replaced(session: Session, answer: Answer) -> Session | None:
    """Take the new cookie that comes when half of the session's time is over (since 9.3)."""
    headers = _cookies(answer)
    return Session({**session.headers, **headers}, session.seconds) if headers else None

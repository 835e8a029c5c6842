"""VAST's management service (VMS), one method per call.

Every path ends with a slash. A list is a bare array, or, when asked for by pages, an object with
`results` and `next`. A refusal has status 400 or 503, and a reason in one of three forms. A session
that is over is told by status 403 and a text.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final, TypeVar

from vfolder_backends.config import BackendConfig
from vfolder_backends.errors import Misconfigured, PermissionDenied
from vfolder_backends.port import Limits
from vfolder_backends.transport.channel import Channel
from vfolder_backends.transport.messages import Answer, Request
from vfolder_backends.transport.paging import Page, following, pages
from vfolder_backends.transport.parsing import parse
from vfolder_backends.transport.refusals import Exists, Missing, Refusal, kind_of_status
from vfolder_backends.transport.sessions import Auth, Door, HeaderAuth, Session, SessionAuth
from vfolder_backends.vendors.vast import models

ItemT = TypeVar("ItemT")

_OVER: Final = b"token is invalid or expired"
_PAGE: Final = 500
_NAMES: Final = 64  # the longest name that VAST's own CSI driver gives a quota
# Which words are used is not documented; what is not recognised is told as it comes.
_EXISTS: Final = ("already exists", "must be unique", "must make a unique set")
_MISSING: Final = ("no such directory", "does not exist", "not found", "no such file")
_NO_QUOTA: Final = 0  # ids begin at 1


def session_is_over(answer: Answer) -> bool:
    """Whether a new login may help."""
    return answer.status == 401 or (answer.status == 403 and _OVER in answer.body.lower())


def classify(answer: Answer) -> Refusal | None:
    """Read `{"detail": text}`, `{"field": [texts]}`, or a bare text or list."""
    if answer.ok:
        return None
    try:
        text = "; ".join(_texts(answer.json()))
    except ValueError:
        return None
    kind = kind_of_status(answer.status)
    if answer.status in (400, 404, 409, 503):
        low = text.lower()
        if any(words in low for words in _EXISTS):
            kind = Exists
        elif any(words in low for words in _MISSING):
            kind = Missing
    if kind is PermissionDenied and not session_is_over(answer):
        text = f"{text} (the manager's role needs create, view, edit and delete in Logical)"
    return Refusal(kind, "", text)


def _texts(body: object) -> Sequence[str]:
    if isinstance(body, Mapping):
        return [
            text if name == "detail" else f"{name}: {text}"
            for name, below in body.items()
            for text in _texts(below)
        ]
    if isinstance(body, list):
        return [text for below in body for text in _texts(below)]
    return [str(body)] if body else []


class VastClient:
    """The calls; `channel` has the rest."""

    def __init__(self, config: BackendConfig, api_version: str, tenant: int) -> None:
        self._credentials = config.credentials
        self._tenant = tenant
        self._base = f"/api/{api_version}"
        self.channel = Channel(config, self._auth(), self._base, classify)

    def _auth(self) -> Auth:
        token = self._credentials.get("token")
        if token:
            return HeaderAuth("Authorization", f"Api-Token {token}")
        if self._credentials.get("username") and self._credentials.get("password"):
            return SessionAuth(self._log_in, self._renew, session_is_over)
        raise Misconfigured(
            "credentialsSecretRef: the Secret needs the key 'token' (VAST 5.3 or newer), or the"
            " keys 'username' and 'password'"
        )

    async def _log_in(self, door: Door) -> Session:
        body = {key: self._credentials[key] for key in ("username", "password")}
        request = Request("POST", "/token/", json=body, repeatable=True)
        return self._session(await door.knock(request))

    async def _renew(self, door: Door, old: Session) -> Session:
        request = Request("POST", "/token/refresh/", json={"refresh": old.renewal})
        return self._session(await door.knock(request))

    def _session(self, answer: Answer) -> Session:
        tokens = parse(models.Tokens, answer, self.channel.array)
        header = {"Authorization": f"Bearer {tokens.access}"}
        return Session(header, renewal=tokens.refresh)

    async def clusters(self) -> list[models.Cluster]:
        """The cluster, as a list of one."""
        return [
            x
            async for x in self._list(models.Listing[models.Cluster], Request("GET", "/clusters/"))
        ]

    async def versions(self) -> list[models.Version]:
        """What is installed, the present one first."""
        request = Request("GET", "/versions/", query={"status": "success"})
        return [x async for x in self._list(models.Listing[models.Version], request)]

    async def require_directory(self, path: str) -> None:
        """Look at a directory (`Missing`)."""
        body = {"path": path, "tenant_id": self._tenant}
        await self.channel.send(Request("POST", "/folders/stat_path/", json=body, repeatable=True))

    async def views(self, path: str) -> list[models.View]:
        """The views on a path."""
        request = self._of_tenant("/views/", path=path)
        return [x async for x in self._list(models.Listing[models.View], request) if x.path == path]

    async def policy(self, number: int) -> models.ViewPolicy:
        """One view policy (`Missing`)."""
        answer = await self.channel.send(Request("GET", "/viewpolicies/{id}/", {"id": number}))
        return parse(models.ViewPolicy, answer, self.channel.array)

    async def quotas_at(self, path: str) -> list[models.Quota]:
        """The quotas on one path; a cluster that does not know the filter sends all."""
        request = self._of_tenant("/quotas/", path=path)
        return [
            x
            async for x in self._list(models.Listing[models.Quota], request)
            if self._is_at(x, path)
        ]

    async def quotas_named(self, name: str) -> list[models.Quota]:
        """The quotas of that name, wherever they are."""
        request = self._of_tenant("/quotas/", name=name[:_NAMES])
        return [
            x
            async for x in self._list(models.Listing[models.Quota], request)
            if x.name == name[:_NAMES]
        ]

    def quotas(self) -> AsyncIterator[models.Quota]:
        """All quotas of the tenant, page by page."""
        return self._list(
            models.Listing[models.Quota],
            self._of_tenant("/quotas/", page="1", page_size=str(_PAGE)),
        )

    def _is_at(self, quota: models.Quota, path: str) -> bool:
        return quota.place == path and quota.tenant_id in (None, self._tenant)

    async def create_quota(self, name: str, path: str, limits: Limits) -> None:
        """Put a quota on a directory that is there (`Exists`)."""
        body: dict[str, object] = {
            "name": name[:_NAMES],
            "path": path,
            "tenant_id": self._tenant,
            "create_dir": False,
        }
        if limits.bytes is not None:
            body["hard_limit"] = limits.bytes
        if limits.files is not None:
            body["hard_limit_inodes"] = limits.files
        await self.channel.send(Request("POST", "/quotas/", json=body))

    async def change_quota(self, number: int, limits: Limits) -> None:
        """Set both limits of a quota; null, which is to remove one, may be refused (`Invalid`)."""
        body = {"hard_limit": limits.bytes, "hard_limit_inodes": limits.files}
        await self.channel.send(
            Request("PATCH", "/quotas/{id}/", {"id": number}, json=body, repeatable=True)
        )

    async def try_change(self) -> None:
        """Change a quota that cannot be there (`Missing`): shows what the role may do."""
        request = Request("PATCH", "/quotas/{id}/", {"id": _NO_QUOTA}, json={}, repeatable=True)
        await self.channel.send(request)

    async def remove_quota(self, number: int) -> None:
        """Remove one quota by its id; the directory stays."""
        await self.channel.send(Request("DELETE", "/quotas/{id}/", {"id": number}))

    def _of_tenant(self, path: str, /, **query: str) -> Request:
        return Request("GET", path, query={**query, "tenant_id": str(self._tenant)})

    def _list(self, listing: type[models.Listing[ItemT]], request: Request) -> AsyncIterator[ItemT]:
        def read(request: Request, answer: Answer) -> Page[ItemT]:
            page = parse(listing, answer, self.channel.array)
            rest = following(request, page.next, self._base) if page.next else None
            return Page(page.results, rest)

        return pages(self.channel.send, request, read)

"""WEKA's REST v2, one method per call.

The quota calls are `PUT`, `GET`, `PATCH` and `DELETE /fileSystems/{uid}/quota/{inode}`. Values go
into the body, as the CSI plugin sends them, though the document shows query parameters; some
clusters remove only by the path `/quotas/`, which the CSI plugin uses.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Final

from vfolder_backends.config import BackendConfig
from vfolder_backends.errors import PermissionDenied, Unavailable
from vfolder_backends.transport.channel import Channel
from vfolder_backends.transport.messages import Answer, Request
from vfolder_backends.transport.paging import Page, pages
from vfolder_backends.transport.parsing import parse
from vfolder_backends.transport.refusals import Missing, Refusal, kind_of_status
from vfolder_backends.transport.sessions import Door, Session, SessionAuth
from vfolder_backends.vendors.weka import models

_BASE: Final = "/api/v2"
_QUOTA: Final = "/fileSystems/{uid}/quota/{inode}"
_PLURAL: Final = "/fileSystems/{uid}/quotas/{inode}"
# A directory without a quota, or a path that is not there, comes with different statuses.
_MISSING: Final = ("Directory has no quota", "PATH_NOT_FOUND")


def classify(answer: Answer) -> Refusal | None:
    """Read WEKA's error bodies: `message`, and in `data` a text or what is wrong with the call."""
    if answer.ok:
        return None
    try:
        body = answer.json()
    except ValueError:
        return None
    if not isinstance(body, Mapping):
        return None
    data = body.get("data")
    words = [body.get("message"), *(data.values() if isinstance(data, Mapping) else [data])]
    text = "; ".join(str(word) for word in words if word)
    kind = kind_of_status(answer.status)
    if any(known in text for known in _MISSING):
        kind = Missing
    if kind is PermissionDenied and answer.status == 403:
        text = f"{text} (setting quotas needs the role CSI, OrgAdmin or ClusterAdmin)"
    return Refusal(kind, "", text)


class WekaClient:
    """The calls; `channel` has the rest."""

    def __init__(self, config: BackendConfig, organization: str) -> None:
        self._credentials = config.credentials
        self._organization = organization
        auth = SessionAuth(self._log_in, self._renew)
        self.channel = Channel(config, auth, _BASE, classify)

    async def _log_in(self, door: Door) -> Session:
        body = {key: self._credentials[key] for key in ("username", "password")}
        if self._organization:
            body["org"] = self._organization
        return self._session(
            await door.knock(Request("POST", "/login", json=body, repeatable=True))
        )

    async def _renew(self, door: Door, old: Session) -> Session:
        body = {"refresh_token": old.renewal}
        return self._session(await door.knock(Request("POST", "/login/refresh", json=body)))

    def _session(self, answer: Answer) -> Session:
        tokens = parse(models.TokensAnswer, answer, self.channel.array).data
        header = {"Authorization": f"Bearer {tokens.access_token}"}
        return Session(header, tokens.expires_in, tokens.refresh_token)

    async def cluster(self) -> models.Cluster:
        """Version, state and rates."""
        answer = await self.channel.send(Request("GET", "/cluster"))
        return parse(models.ClusterAnswer, answer, self.channel.array).data

    async def file_systems(self) -> list[models.FileSystem]:
        """All file systems that the account sees, with figures of now."""
        request = Request("GET", "/fileSystems", query={"force_fresh": "true"})
        answer = await self.channel.send(request)
        return parse(models.FileSystemsAnswer, answer, self.channel.array).data

    async def inode(self, uid: str, path: str) -> int:
        """Return a directory's number (`Missing`)."""
        request = Request(
            "GET", "/fileSystems/{uid}/resolvePath", {"uid": uid}, query={"path": path}
        )
        answer = await self.channel.send(request)
        return parse(models.ResolvedAnswer, answer, self.channel.array).data.inode_id

    async def quota(self, uid: str, inode: int) -> models.Quota:
        """Read a directory's quota (`Missing`)."""
        answer = await self.channel.send(Request("GET", _QUOTA, {"uid": uid, "inode": inode}))
        return parse(models.QuotaAnswer, answer, self.channel.array).data

    async def set_quota(self, uid: str, inode: int, hard: int | None) -> None:
        """Make or replace a directory's quota; None is unlimited, and still counts."""
        # Soft as hard, no grace: the document wants all three, and a soft limit of 0 means none.
        body = {
            "hard_limit_bytes": hard or 0,
            "soft_limit_bytes": hard or 0,
            "grace_seconds": 0,
        }
        await self.channel.send(Request("PUT", _QUOTA, {"uid": uid, "inode": inode}, json=body))

    async def touch_quota(self, uid: str, inode: int) -> None:
        """Change nothing of a quota (`Missing`, `PermissionDenied`): shows what the role may do."""
        request = Request("PATCH", _QUOTA, {"uid": uid, "inode": inode}, json={}, repeatable=True)
        await self.channel.send(request)

    async def remove_quota(self, uid: str, inode: int) -> None:
        """Remove a directory's quota; none is success, and is what it leaves."""
        for path in (_QUOTA, _PLURAL):
            with suppress(Missing):  # no quota, or no such call: only reading it tells
                await self.channel.send(Request("DELETE", path, {"uid": uid, "inode": inode}))
            try:
                left = await self.quota(uid, inode)
            except Missing:
                return
            if left.status == "DELETING":
                break
        raise Unavailable(f"{self.channel.array}: the quota of inode {inode} is not removed yet")

    def quotas(self, uid: str) -> AsyncIterator[models.Quota]:
        """Read all quotas of a file system; neither soft limits nor states are in the list."""

        def read(request: Request, answer: Answer) -> Page[models.Quota]:
            page = parse(models.QuotasAnswer, answer, self.channel.array)
            token = page.next_token
            return Page(page.data, request.asking(next_token=token) if token else None)

        return pages(
            self.channel.send, Request("GET", "/fileSystems/{uid}/quota", {"uid": uid}), read
        )

    async def processes(self) -> list[models.Process]:
        """What each process of the cluster does now."""
        answer = await self.channel.send(Request("GET", "/stats/realtime"))
        return parse(models.RealtimeAnswer, answer, self.channel.array).data

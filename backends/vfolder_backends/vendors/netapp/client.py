"""ONTAP's REST interface, one method per call.

A change is answered when it is done, or with a job. A job that cannot be found any more says
nothing: jobs are kept for five minutes, so whoever waited looks at the object itself.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from typing import Any, Final, TypeVar

from vfolder_backends.config import BackendConfig
from vfolder_backends.errors import Misconfigured, Unavailable
from vfolder_backends.port import Limits
from vfolder_backends.transport.channel import Channel
from vfolder_backends.transport.messages import Answer, Request
from vfolder_backends.transport.paging import Page, following, pages
from vfolder_backends.transport.parsing import parse
from vfolder_backends.transport.refusals import Missing
from vfolder_backends.transport.retries import pause
from vfolder_backends.transport.sessions import Auth, BasicAuth, HeaderAuth
from vfolder_backends.vendors.netapp import models
from vfolder_backends.vendors.netapp.codes import Busy, Pending, classify, kind_of_code

ItemT = TypeVar("ItemT")
Started = Callable[[str], None]

_BASE: Final = "/api"
_PAGE: Final = 1000
_LONGEST_WAIT: Final = 15.0  # seconds; what ONTAP waits before it answers with a job
_WAIT_SHARE: Final = 0.2  # of a call's deadline
_JOB_SHARE: Final = 0.5
_TRIES: Final = 4
_NOBODY: Final = "00000000-0000-0000-0000-000000000000"
_VOLUME: Final = "uuid,name,svm,state,type,nas.path,nas.export_policy,space,quota.state,metric"
_DIRECTORY_MODE: Final = 711  # the digits are octal


class NetappClient:
    """The calls; `channel` has the rest."""

    def __init__(self, config: BackendConfig) -> None:
        self._credentials = config.credentials
        self._timeout = config.call_timeout
        self.channel = Channel(config, self._auth(), _BASE, classify)

    def _auth(self) -> Auth:
        given = self._credentials
        if given.get("token"):
            return HeaderAuth("Authorization", f"Bearer {given['token']}")
        if given.get("username") and given.get("password"):
            return BasicAuth(given["username"], given["password"])
        raise Misconfigured(
            "credentialsSecretRef: the Secret needs the keys 'username' and 'password', or 'token'"
            " (OAuth 2.0, ONTAP 9.14.1 or newer)"
        )

    async def version(self) -> models.Version:
        """The cluster's version; accounts of an SVM may not be allowed to see it."""
        answer = await self.channel.send(Request("GET", "/cluster", query={"fields": "version"}))
        return parse(models.Cluster, answer, self.channel.array).version

    async def volumes(self, svm: str, name: str) -> list[models.Volume]:
        """The volumes of that name in an SVM: one, or none."""
        query = {"svm.name": svm, "name": name, "fields": _VOLUME}
        request = Request("GET", "/storage/volumes", query=query)
        found = self._list(models.Listing[models.Volume], request)
        return [volume async for volume in found if volume.name == name and volume.svm.name == svm]

    async def export_policy(self, svm: str, name: str) -> models.ExportPolicy | None:
        """An export policy with the clients of its rules."""
        query = {"svm.name": svm, "name": name, "fields": "name,rules.clients"}
        request = Request("GET", "/protocols/nfs/export-policies", query=query)
        found = self._list(models.Listing[models.ExportPolicy], request)
        return next(iter([policy async for policy in found if policy.name == name]), None)

    async def require_directory(self, volume: str, below: str) -> None:
        """Look at a directory of a volume whose path begins with a dot (`Missing`)."""
        # A dot has to be written as %2E in this one path.
        request = Request(
            "GET",
            "/storage/volumes/{uuid}/files/%2E{path}",
            {"uuid": volume, "path": below.removeprefix(".")},
            {"return_metadata": "true"},
        )
        await self.channel.send(request)

    async def enable_quotas(self, volume: str) -> None:
        """Turn quotas on; the volume is scanned before they are kept."""
        request = Request(
            "PATCH",
            "/storage/volumes/{uuid}",
            {"uuid": volume},
            json={"quota": {"enabled": True}},
            repeatable=True,
        )
        await self._change(request)

    async def qtree(self, volume: str, name: str) -> models.Qtree | None:
        """A qtree by its name."""
        query = {"volume.uuid": volume, "name": name, "fields": "id,name"}
        found = self._list(
            models.Listing[models.Qtree], Request("GET", "/storage/qtrees", query=query)
        )
        return next(iter([qtree async for qtree in found if qtree.name == name]), None)

    async def create_qtree(
        self, volume: models.Volume, name: str, export_policy: str, started: Started
    ) -> None:
        """Make a qtree (`Exists`); `started` gets the id of the job, if there is one."""
        body: dict[str, Any] = {
            "svm": {"uuid": volume.svm.uuid},
            "volume": {"uuid": volume.uuid},
            "name": name,
            "security_style": "unix",
            "unix_permissions": _DIRECTORY_MODE,
        }
        if export_policy:
            body["export_policy"] = {"name": export_policy}
        await self._change(Request("POST", "/storage/qtrees", json=body), started)

    async def rename_qtree(self, volume: str, number: int, name: str) -> None:
        """Give a qtree another name; its rules follow."""
        request = Request(
            "PATCH",
            "/storage/qtrees/{volume}/{id}",
            {"volume": volume, "id": number},
            json={"name": name},
            repeatable=True,
        )
        await self._change(request)

    async def rules(self, volume: str, *names: str) -> list[models.Rule]:
        """The tree rules of a volume, all of them or those of some qtrees."""
        query = {"volume.uuid": volume, "type": "tree", "fields": "uuid,qtree"}
        if names:
            query["qtree.name"] = "|".join(names)
        request = Request("GET", "/storage/quota/rules", query=self._paged(query))
        found = self._list(models.Listing[models.Rule], request)
        return [rule async for rule in found if not names or rule.qtree.name in names]

    async def create_rule(self, volume: models.Volume, name: str, limits: Limits) -> None:
        """Make the rule of a qtree (`Exists`, `NotInForce`); no name makes the default rule."""
        body = {
            "svm": {"uuid": volume.svm.uuid},
            "volume": {"uuid": volume.uuid},
            "type": "tree",
            "qtree": {"name": name},
            **({} if not name else _wanted(limits)),
        }
        await self._change(Request("POST", "/storage/quota/rules", json=body))

    async def change_rule(self, rule: str, limits: Limits) -> None:
        """Set both limits of a rule."""
        body = _wanted(limits)
        await self._change(
            Request(
                "PATCH", "/storage/quota/rules/{uuid}", {"uuid": rule}, json=body, repeatable=True
            )
        )

    async def remove_rule(self, rule: str) -> None:
        """Remove one rule."""
        await self._change(Request("DELETE", "/storage/quota/rules/{uuid}", {"uuid": rule}))

    async def try_change(self) -> None:
        """Change a rule that cannot be there (`Missing`): shows what the role may do."""
        request = Request(
            "PATCH", "/storage/quota/rules/{uuid}", {"uuid": _NOBODY}, json={}, repeatable=True
        )
        await self.channel.send(request)

    async def report(self, volume: str, name: str) -> models.Report | None:
        """What is in force on a qtree; None where nothing is, or quotas are off."""
        found = self._list(models.Listing[models.Report], self._reports(volume, name))
        return next(iter([report async for report in found if report.qtree.name == name]), None)

    def reports(self, volume: str) -> AsyncIterator[models.Report]:
        """What is in force in a volume, page by page."""
        return self._list(models.Listing[models.Report], self._reports(volume))

    def _reports(self, volume: str, name: str = "") -> Request:
        query = {"volume.uuid": volume, "type": "tree", "fields": "qtree,space,files"}
        if name:
            query["qtree.name"] = name
        return Request("GET", "/storage/quota/reports", query=self._paged(query))

    async def job(self, number: str) -> models.Job | None:
        """A job, None when there is no record of it."""
        query = {"fields": "state,code,message,error"}
        request = Request("GET", "/cluster/jobs/{uuid}", {"uuid": number}, query)
        try:
            answer = await self.channel.send(request)
        except Missing:
            return None
        return parse(models.Job, answer, self.channel.array)

    async def finished(self, number: str) -> models.Job | None:
        """Wait for a job and return it as it ended, None when there is no record of it.

        Raises:
            Pending: it takes longer than we can wait.
        """
        stop_at, attempt = time.monotonic() + self._timeout * _JOB_SHARE, 0
        while True:
            job = await self.job(number)
            if job is None or job.state not in models.PENDING:
                return job
            attempt += 1
            wait = pause(attempt)
            if time.monotonic() + wait > stop_at:
                raise Pending(f"{self.channel.array}: job {number} is {job.state}: {job.message}")
            await asyncio.sleep(wait)

    async def _change(self, request: Request, started: Started = lambda number: None) -> None:
        """Send a change and wait until it is done, or nobody knows any more."""
        wait = int(min(_LONGEST_WAIT, self._timeout * _WAIT_SHARE))
        request = request.asking(return_timeout=wait)
        answer = await self._send_when_free(request)
        if answer.status != 202:
            return
        number = parse(models.Accepted, answer, self.channel.array).job.uuid
        started(number)
        job = await self.finished(number)
        if job is None or job.state == "success":
            return
        code, text = str(job.code or ""), job.message
        if job.error is not None:
            code, text = job.error.code or code, job.error.message or text
        kind = kind_of_code(code)
        message = f"{self.channel.array}: {request.call}: job {number} failed: {code}: {text}"
        raise (Unavailable if kind is Busy else kind)(self.channel.clean(message))

    async def _send_when_free(self, request: Request) -> Answer:
        """Send a change; one that is refused as too much was not begun, and is sent again."""
        for attempt in range(1, _TRIES):
            with suppress(Busy):
                return await self.channel.send(request)
            await asyncio.sleep(pause(attempt))
        try:
            return await self.channel.send(request)
        except Busy as error:
            raise Unavailable(str(error)) from error

    def _paged(self, query: Mapping[str, str]) -> dict[str, str]:
        return {**query, "max_records": str(_PAGE)}

    def _list(self, listing: type[models.Listing[ItemT]], request: Request) -> AsyncIterator[ItemT]:
        def read(request: Request, answer: Answer) -> Page[ItemT]:
            page = parse(listing, answer, self.channel.array)
            link = page.links.next
            return Page(page.records, following(request, link.href, _BASE) if link else None)

        return pages(self.channel.send, request, read)


def _wanted(limits: Limits) -> dict[str, Any]:
    """Both limits; -1 removes one."""
    return {
        "space": {"hard_limit": -1 if limits.bytes is None else limits.bytes},
        "files": {"hard_limit": -1 if limits.files is None else limits.files},
    }

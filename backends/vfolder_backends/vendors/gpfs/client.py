"""Storage Scale's management interface, REST v2, one method per call.

Changes are answered with a job before anything is done; what became of it stands in the job's
`stderr`. A job that nobody knows any more says nothing: whoever waited looks at the object itself.
Sizes are sent with their unit, because IBM's pages name two for a bare number: bytes
(mmsetquota), KiB (the endpoint for defaults).
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final

from vfolder_backends.config import BackendConfig
from vfolder_backends.errors import BackendError, NotEmpty, PermissionDenied, Unavailable
from vfolder_backends.port import Limits
from vfolder_backends.transport.channel import Channel
from vfolder_backends.transport.messages import Answer, Request
from vfolder_backends.transport.paging import Page, pages
from vfolder_backends.transport.parsing import parse
from vfolder_backends.transport.refusals import Exists, Invalid, Missing, Refusal, kind_of_status
from vfolder_backends.transport.sessions import BasicAuth
from vfolder_backends.vendors.gpfs import models
from vfolder_backends.vendors.gpfs.options import GpfsOptions, InodeSpace, QuotaPath

_BASE: Final = "/scalemgmt/v2"
_FS: Final = "/filesystems/{fs}"
_FILESETS: Final = "/filesystems/{fs}/filesets"
_FILESET: Final = "/filesystems/{fs}/filesets/{fileset}"
_QUOTAS: Final = "/filesystems/{fs}/quotas"
_CODE = re.compile(r"EFSS[A-Z][0-9]{4}[A-Z]")
_CODES: Final[Mapping[str, type[BackendError]]] = {
    "EFSSP1102C": Exists,  # fileset
    "EFSSG0072C": Missing,  # fileset
    "EFSSG0264C": Missing,  # path
}
_UNKNOWN_FILESET = re.compile(r"Invalid value in '(filesetName|fsetName|objectName)'")
_NOT_EMPTY = re.compile(r"not empty", re.IGNORECASE)
_DONE: Final = "COMPLETED"
_ENDED: Final = frozenset({_DONE, "FAILED", "CANCELLED"})
_JOB_SHARE: Final = 0.4  # of a call's deadline
_SLOWEST: Final = 8  # times the first pause

Started = Callable[[int], None]


class Pending(Unavailable):
    """A job takes longer than a call may wait; the next call looks at what became of it."""

    reason = "JobRunning"


def classify(answer: Answer) -> Refusal | None:
    """Read `status.message`; an unknown fileset comes with status 400."""
    if answer.ok:
        return None
    try:
        body = answer.json()
    except ValueError:
        return None
    status = body.get("status") if isinstance(body, Mapping) else None
    if not isinstance(status, Mapping):
        return None
    text = str(status.get("message", ""))
    kind = kind_of_text(text)
    if kind is None:
        # Only what names the object says that it is not there, never a bare 404.
        kind = kind_of_status(answer.status)
        kind = Invalid if kind is Missing else kind
    if kind is PermissionDenied and answer.status == 403:
        text = f"{text} (the account must be in the GUI group CsiAdmin, or one with its rights)"
    return Refusal(kind, "", text)


def kind_of_text(text: str) -> type[BackendError] | None:
    """Return what a message of a call or a job stands for, None where it tells nothing."""
    for code in _CODE.findall(text):
        if code in _CODES:
            return _CODES[code]
    if _UNKNOWN_FILESET.search(text):
        return Missing
    return NotEmpty if _NOT_EMPTY.search(text) else None


class GpfsClient:
    """The calls on one file system; `channel` has the rest."""

    def __init__(self, config: BackendConfig, options: GpfsOptions) -> None:
        auth = BasicAuth(config.credentials["username"], config.credentials["password"])
        self.channel = Channel(config, auth, _BASE, classify)
        self._options = options
        self._timeout = config.call_timeout
        self._fs = {"fs": options.file_system}

    async def version(self) -> str:
        """Of the server."""
        answer = await self.channel.send(Request("GET", "/info"))
        return parse(models.InfoAnswer, answer, self.channel.array).info.server_version

    async def file_system(self) -> models.FileSystem:
        """The file system (`Invalid`)."""
        answer = await self.channel.send(Request("GET", _FS, self._fs))
        found = parse(models.FileSystemsAnswer, answer, self.channel.array).filesystems
        if not found:
            raise Invalid(f"{self.channel.array}: no file system {self._fs['fs']!r} in the answer")
        return found[0]

    async def pools(self) -> list[models.Pool]:
        """All storage pools, with their sizes."""
        request = Request("GET", f"{_FS}/pools", self._fs, {"fields": ":all:"})
        answer = await self.channel.send(request)
        return parse(models.PoolsAnswer, answer, self.channel.array).pools

    async def config(self) -> models.Config:
        """What mmlsconfig shows."""
        request = Request("GET", "/config", query={"fields": ":all:"})
        return parse(models.Config, await self.channel.send(request), self.channel.array)

    async def look_at(self, path: str) -> None:
        """Ask for the owner of a directory, its path relative to the file system (`Missing`)."""
        params = {**self._fs, "path": path.lstrip("/")}
        await self.channel.send(Request("GET", f"{_FS}/owner/{{path}}", params))

    async def fileset(self, name: str) -> models.FilesetConfig | None:
        """A fileset, None where there is none."""
        request = Request("GET", _FILESET, {**self._fs, "fileset": name})
        try:
            answer = await self.channel.send(request)
        except Missing:
            return None
        found = parse(models.FilesetsAnswer, answer, self.channel.array).filesets
        return next((f.config for f in found if f.config.name == name), None)

    def filesets(self) -> AsyncIterator[models.FilesetConfig]:
        """All filesets of the file system, page by page."""

        def read(request: Request, answer: Answer) -> Page[models.FilesetConfig]:
            page = parse(models.FilesetsAnswer, answer, self.channel.array)
            found = [fileset.config for fileset in page.filesets]
            return Page(found, _following(request, page.paging))

        request = Request("GET", _FILESETS, self._fs, {"fields": ":all:"})
        return pages(self.channel.send, request, read)

    async def refresh(self) -> None:
        """Let the server read its filesets anew: what was just made may not be seen yet."""
        query = {"taskId": "FILESETS", "maxDelay": "0"}
        request = Request("POST", "/refreshTask/enqueue", query=query, repeatable=True)
        await self._change(request)

    async def make_fileset(self, name: str, path: str, comment: str, started: Started) -> None:
        """Make a fileset and link it (`Exists`); `started` gets the job's number."""
        body = {
            "filesetName": name,
            "path": path,
            "owner": "0:0",
            "permissions": "711",
            "comment": comment,
            "inodeSpace": "root",
        }
        if self._options.inode_space is InodeSpace.INDEPENDENT:
            body |= {"inodeSpace": "new", "maxNumInodes": str(self._options.max_inodes)}
        await self._change(Request("POST", _FILESETS, self._fs, json=body), started)

    async def set_max_inodes(self, name: str, inodes: int) -> None:
        """Change how many inodes an independent fileset may have."""
        body = {"maxNumInodes": str(inodes)}
        await self._change(Request("PUT", _FILESET, {**self._fs, "fileset": name}, json=body))

    async def link(self, name: str, path: str) -> None:
        """Show a fileset in the tree."""
        params = {**self._fs, "fileset": name}
        request = Request("POST", f"{_FILESET}/link", params, json={"path": path}, repeatable=True)
        await self._change(request)

    async def unlink(self, name: str) -> None:
        """Take a fileset out of the tree; refused while files in it are open."""
        await self._change(Request("DELETE", f"{_FILESET}/link", {**self._fs, "fileset": name}))

    async def remove_fileset(self, name: str) -> None:
        """Remove an unlinked, empty fileset (`NotEmpty`); never with force."""
        await self._change(Request("DELETE", _FILESET, {**self._fs, "fileset": name}))

    async def quota(self, name: str) -> models.Quota | None:
        """A fileset's quota, None where there is no line of it."""
        async for quota in self._list(f"objectName={name},quotaType=FILESET"):
            if quota.type == "FILESET" and quota.name == name:
                return quota
        return None

    async def quotas(self) -> AsyncIterator[models.Quota]:
        """All filesets' quotas, page by page."""
        async for quota in self._list("quotaType=FILESET"):
            if quota.type == "FILESET":
                yield quota

    def _list(self, which: str) -> AsyncIterator[models.Quota]:
        def read(request: Request, answer: Answer) -> Page[models.Quota]:
            page = parse(models.QuotasAnswer, answer, self.channel.array)
            return Page(page.quotas, _following(request, page.paging))

        request = Request("GET", _QUOTAS, self._fs, {"filter": which})
        return pages(self.channel.send, request, read)

    async def set_quota(self, name: str, limits: Limits) -> None:
        """Set both hard limits; bytes are a whole number of KiB (`Missing`)."""
        params, path = dict(self._fs), _QUOTAS
        if self._options.quota_path is QuotaPath.FILESET:
            params, path = {**params, "fileset": name}, f"{_FILESET}/quotas"
        body: dict[str, Any] = {
            "operationType": "setQuota",
            "quotaType": "FILESET",
            "objectName": name,
            "blockSoftLimit": "0",
            "blockHardLimit": f"{(limits.bytes or 0) // models.KIB}K",
            "filesSoftLimit": "0",
            "filesHardLimit": str(limits.files or 0),
        }
        await self._change(Request("POST", path, params, json=body, repeatable=True))

    async def _change(self, request: Request, started: Started = lambda number: None) -> None:
        """Send a change and wait for its job, as far as anything is known of it."""
        answer = await self.channel.send(request)
        for job in parse(models.JobsAnswer, answer, self.channel.array).jobs:
            started(job.id)
            ended = await self._finished(job)
            if ended is None or ended.status == _DONE:
                continue
            text = "; ".join(ended.result.stderr) or f"exit code {ended.result.exit_code}"
            kind = kind_of_text(text) or Invalid
            message = f"{self.channel.array}: {request.call}: job {job.id} {ended.status}: {text}"
            raise kind(self.channel.clean(message))

    async def _finished(self, job: models.Job) -> models.Job | None:
        """Wait for a job and return it as it ended, None when there is no record of it."""
        stop_at = time.monotonic() + self._timeout * _JOB_SHARE
        wait, slowest = self._options.job_pause, self._options.job_pause * _SLOWEST
        found: models.Job | None = job
        while found is not None and found.status not in _ENDED:
            if time.monotonic() + wait > stop_at:
                raise Pending(f"{self.channel.array}: job {job.id} is {found.status}")
            await asyncio.sleep(wait)
            wait = min(wait * 2, slowest)
            found = await self._job(job.id)
        return found

    async def _job(self, number: int) -> models.Job | None:
        request = Request("GET", "/jobs/{id}", {"id": number}, {"fields": ":all:"})
        try:
            answer = await self.channel.send(request)
        except (Missing, Invalid):
            return None
        found = parse(models.JobsAnswer, answer, self.channel.array).jobs
        return found[0] if found else None


def _following(request: Request, paging: models.Paging) -> Request | None:
    """Ask for what comes after a page, with the same filter: the link's own base may be another."""
    if not paging.next or paging.last_id is None:
        return None
    return request.asking(lastId=paging.last_id)

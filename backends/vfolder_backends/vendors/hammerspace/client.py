"""Hammerspace's REST v1.2, one method per call.

Changes are answered with the place of a task. A task that failed has failed, whatever the CSI
plugin takes it for; one that nobody knows any more says nothing, so the share itself is looked at.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from vfolder_backends.config import BackendConfig
from vfolder_backends.errors import BackendError, PermissionDenied, Unavailable
from vfolder_backends.transport.channel import Channel
from vfolder_backends.transport.messages import Answer, Request
from vfolder_backends.transport.parsing import parse
from vfolder_backends.transport.refusals import Exists, Missing, Refusal, kind_of_status
from vfolder_backends.transport.sessions import Auth, BasicAuth, Door, Session, SessionAuth
from vfolder_backends.vendors.hammerspace import models
from vfolder_backends.vendors.hammerspace.options import (
    HammerspaceOptions,
    Login,
    Spelling,
    Unlimited,
)

_BASE: Final = "/mgmt/v1.2/rest"
_TAKEN: Final = ("already exist", "is running")
_TASK_SHARE: Final = 0.4  # of a call's deadline
_SLOWEST: Final = 8  # times the first pause


class Pending(Unavailable):
    """A task takes longer than a call may wait; the next call looks at what became of it."""

    reason = "TaskRunning"


def classify(answer: Answer) -> Refusal | None:
    """Read the errors' texts; a share that is there already comes with status 400."""
    if answer.ok:
        return None
    try:
        body = answer.json()
    except ValueError:
        return None
    found = body if isinstance(body, list) else [body]
    texts = [
        str(one.get("message") or one.get("error") or "")
        for one in found
        if isinstance(one, Mapping)
    ]
    text = "; ".join(text for text in texts if text)
    kind = kind_of_status(answer.status)
    if any(word in text for word in _TAKEN):
        kind = Exists
    if kind is PermissionDenied and answer.status == 403:
        text = f"{text} (the account's role must allow to change shares)"
    return Refusal(kind, "", text) if text else None


def _over(answer: Answer) -> bool:
    return answer.status in (401, 403)


class Found:
    """A share as it was read: what we know of, and all its fields."""

    def __init__(self, share: models.Share, fields: Mapping[str, Any]) -> None:
        self.share = share
        self.fields = dict(fields)


class HammerspaceClient:
    """The calls; `channel` has the rest."""

    def __init__(self, config: BackendConfig, options: HammerspaceOptions) -> None:
        self._credentials = config.credentials
        self._options = options
        self._timeout = config.call_timeout
        auth: Auth = SessionAuth(self._log_in, rejected=_over)
        if options.login is Login.BASIC:
            auth = BasicAuth(config.credentials["username"], config.credentials["password"])
        self.channel = Channel(config, auth, _BASE, classify)

    async def _log_in(self, door: Door) -> Session:
        form = {key: self._credentials[key] for key in ("username", "password")}
        answer = await door.knock(Request("POST", "/login", form=form, repeatable=True))
        if not answer.cookies:
            raise Unavailable(f"{self.channel.array}: the login brought no cookie")
        for value in answer.cookies.values():
            door.keep_secret(value)
        return Session({"Cookie": "; ".join(f"{k}={v}" for k, v in answer.cookies.items())})

    async def state(self) -> models.State:
        """Capacity of the whole system."""
        answer = await self.channel.send(Request("GET", "/cntl/state"))
        return parse(models.State, answer, self.channel.array)

    async def share(self, name: str) -> Found | None:
        """A share, None where there is none: two calls must say so."""
        try:
            answer = await self.channel.send(Request("GET", "/shares/{name}", {"name": name}))
        except Missing:
            return await self._listed(name)
        return self._found(answer, self._whole(answer))

    async def _listed(self, name: str) -> Found | None:
        return (await self._list({"spec": f"name=eq={name}"})).get(name)

    async def shares(self) -> dict[str, Found]:
        """All shares by name; the list has no pages."""
        return await self._list({})

    async def _list(self, query: Mapping[str, str]) -> dict[str, Found]:
        answer = await self.channel.send(Request("GET", "/shares", query=dict(query)))
        try:
            listed = models.Shares.model_validate(answer.json()).root
        except ValueError as error:
            raise Unavailable(f"{self.channel.array}: {answer.call}: no list came") from error
        found = [self._found(answer, fields) for fields in listed]
        return {one.share.name: one for one in found}

    def _whole(self, answer: Answer) -> dict[str, Any]:
        try:
            return models.Whole.model_validate(answer.json()).root
        except ValueError as error:
            raise Unavailable(f"{self.channel.array}: {answer.call}: no object came") from error

    def _found(self, answer: Answer, fields: Mapping[str, Any]) -> Found:
        try:
            return Found(models.Share.model_validate(fields), fields)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise BackendError(
                f"{self.channel.array}: {answer.call}: the answer's field {where!r}: {first['msg']}"
            ) from None

    async def make_share(
        self, name: str, path: str, comment: str, limit: int | None, *, only_ask: bool = False
    ) -> None:
        """Make a share of an existing directory (`Exists`), or ask whether that would work."""
        body: dict[str, Any] = {
            "name": name,
            "path": path,
            "comment": comment,
            "exportOptions": self._options.exports(),
            "shareSizeLimit": limit if limit is not None else self._nothing(),
        }
        query = {"create-path": str(self._options.create_path).lower()}
        if only_ask:
            query["validate-only"] = "true"
        request = Request("POST", "/shares", query=query, json=body, repeatable=only_ask)
        await self._change(request)

    def _nothing(self) -> int | None:
        return 0 if self._options.unlimited is Unlimited.ZERO else None

    async def set_limit(self, found: Found, limit: int | None) -> None:
        """Change the limit: the whole object goes back, what is left out would be reset."""
        body = {**found.fields, "shareSizeLimit": limit if limit is not None else self._nothing()}
        await self._change(Request("PUT", "/shares/{name}", {"name": found.share.name}, json=body))

    async def remove_share(self, uuid: str) -> None:
        """Remove a share and nothing of what lies in it; its directory stays."""
        mark = "-" if self._options.removal is Spelling.DASHES else "_"
        query = {f"delete{mark}path": "false", f"delete{mark}delay": "0"}
        await self._change(Request("DELETE", "/shares/{uuid}", {"uuid": uuid}, query))

    async def _change(self, request: Request) -> None:
        """Send a change and wait for its task, as far as anything is known of it."""
        answer = await self.channel.send(request)
        place = answer.header("location")
        if answer.status != 202 or not place:
            return
        uuid = place.rstrip("/").rpartition("/")[2]
        task = await self._finished(uuid)
        if task is None or task.status == models.DONE:
            return
        text = f"{self.channel.array}: {request.call}: task {uuid} {task.status}: {task.message}"
        raise BackendError(self.channel.clean(text))

    async def _finished(self, uuid: str) -> models.Task | None:
        """Wait for a task and return it as it ended, None when there is no record of it."""
        stop_at = time.monotonic() + self._timeout * _TASK_SHARE
        wait, slowest = self._options.task_pause, self._options.task_pause * _SLOWEST
        while True:
            if time.monotonic() + wait > stop_at:
                raise Pending(f"{self.channel.array}: task {uuid} is not finished")
            await asyncio.sleep(wait)
            wait = min(wait * 2, slowest)
            try:
                answer = await self.channel.send(Request("GET", "/tasks/{uuid}", {"uuid": uuid}))
            except Missing:
                return None
            task = parse(models.Task, answer, self.channel.array)
            if task.status in models.ENDED:
                return task

"""FlashBlade's REST API 2, one method per call; fields are those that 2.0 has already.

A file system is changed and removed by its id: one object, whatever it is called meanwhile.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Final

from vfolder_backends.config import BackendConfig
from vfolder_backends.errors import BackendError, PermissionDenied, VersionTooOld
from vfolder_backends.transport.channel import Channel
from vfolder_backends.transport.messages import Answer, Request
from vfolder_backends.transport.paging import Page, pages
from vfolder_backends.transport.parsing import parse
from vfolder_backends.transport.refusals import Exists, Invalid, Missing, Refusal, kind_of_status
from vfolder_backends.transport.sessions import Door, Session, SessionAuth
from vfolder_backends.vendors.flashblade import models

_NEWEST: Final = 28  # of API 2: the newest whose document we know
_FILE_SYSTEMS: Final = "/api/{version}/file-systems"
_NOBODY: Final = "vfolder-nobody-0"
_PAGE: Final = 500


def classify(answer: Answer) -> Refusal | None:
    """Read FlashBlade's error bodies: a list of messages, each about one object.

    Most comes with status 400. With 207 some of it was done; we never ask for that.
    """
    if answer.ok and answer.status != 207:
        return None
    try:
        body = answer.json()
    except ValueError:
        return None
    errors = body.get("errors") if isinstance(body, Mapping) else None
    if not isinstance(errors, list):
        return None
    found = [error for error in errors if isinstance(error, Mapping)]
    text = "; ".join(
        ": ".join(str(error[key]) for key in ("context", "message") if error.get(key))
        for error in found
    )
    kind = Invalid if answer.status == 207 else kind_of_status(answer.status)
    if kind is Invalid and "does not exist" in text:
        kind = Missing
    if kind is Invalid and "already exists" in text:
        kind = Exists
    return Refusal(kind, "", text)


class FlashBladeClient:
    """The calls; `channel` has the rest."""

    def __init__(self, config: BackendConfig) -> None:
        self._token = config.credentials["apiToken"]
        self._version = ""
        self.channel = Channel(config, SessionAuth(self._log_in), "", classify)

    async def _log_in(self, door: Door) -> Session:
        header = {"api-token": self._token}
        request = Request("POST", "/api/login", headers=header, repeatable=True)
        answer = await door.knock(request)
        token = answer.header("x-auth-token")
        if not token:
            raise BackendError(f"{self.channel.array}: the login was answered without x-auth-token")
        return Session({"x-auth-token": token})

    async def version(self) -> str:
        """Return the newest version of the API that both sides know.

        Raises:
            VersionTooOld: the array has no API 2.
        """
        if not self._version:
            answer = await self.channel.knock(Request("GET", "/api/api_version"))
            known = parse(models.Versions, answer, self.channel.array).versions
            minors = [
                int(minor)
                for major, _, minor in (text.partition(".") for text in known)
                if major == "2" and minor.isdigit() and int(minor) <= _NEWEST
            ]
            if not minors:
                raise VersionTooOld(
                    f"{self.channel.array}: has the API versions {', '.join(known)}; 2.0 or newer"
                    " is needed (Purity//FB 3.0)"
                )
            self._version = f"2.{max(minors)}"
        return self._version

    async def _send(
        self,
        method: str,
        what: str,
        query: Mapping[str, str | int] | None = None,
        json: object = None,
        repeatable: bool | None = None,
    ) -> Answer:
        version = await self.version()
        return await self.channel.send(
            Request(
                method,
                f"/api/{{version}}/{what}",
                {"version": version},
                query or {},
                json,
                repeatable=repeatable,
            )
        )

    async def array(self) -> models.ArrayInfo:
        """Name and version."""
        answer = await self._send("GET", "arrays")
        return parse(models.ArraysAnswer, answer, self.channel.array).items[0]

    async def space(self) -> models.ArraySpace:
        """Capacity and state of redundancy."""
        answer = await self._send("GET", "arrays/space")
        return parse(models.SpacesAnswer, answer, self.channel.array).items[0]

    async def alerts(self) -> list[models.Alert]:
        """Open alerts."""
        answer = await self._send("GET", "alerts", {"filter": "state='open'"})
        return parse(models.AlertsAnswer, answer, self.channel.array).items

    async def performance(self) -> models.Performance | None:
        """Rates of the whole array, by NFS and all else."""
        answer = await self._send("GET", "arrays/performance")
        items = parse(models.PerformanceAnswer, answer, self.channel.array).items
        return items[0] if items else None

    async def find(self, name: str) -> models.FileSystem:
        """Read a file system, a destroyed one, too (`Missing`)."""
        answer = await self._send("GET", "file-systems", {"names": name})
        for found in parse(models.FileSystemsAnswer, answer, self.channel.array).items:
            if found.name == name:
                return found
        raise Missing(f"{self.channel.array}: no file system {name}")

    async def file_systems(self) -> AsyncIterator[models.FileSystem]:
        """Read all file systems that are not destroyed."""

        def read(request: Request, answer: Answer) -> Page[models.FileSystem]:
            page = parse(models.FileSystemsAnswer, answer, self.channel.array)
            token = page.continuation_token
            return Page(page.items, request.asking(continuation_token=token) if token else None)

        version = {"version": await self.version()}
        first = Request("GET", _FILE_SYSTEMS, version, {"destroyed": "false", "limit": _PAGE})
        async for found in pages(self.channel.send, first, read):
            yield found

    async def create(self, name: str, rules: str, nfs_v4: bool) -> None:
        """Make a file system, exported by `rules` (`Exists` or `Invalid` when it is there)."""
        body = {
            # Never left out: without rules it would be exported to everybody, root and all.
            "nfs": {"rules": rules, "v3_enabled": not nfs_v4, "v4_1_enabled": nfs_v4},
            # Both would be directories of the array's own in the scope's root.
            "fast_remove_directory_enabled": False,
            "snapshot_directory_enabled": False,
        }
        await self._send("POST", "file-systems", {"names": name}, body)

    async def limit(self, file_system: models.FileSystem, hard: int | None) -> None:
        """Set or remove the limit, whatever is used already."""
        body: dict[str, object] = {"hard_limit_enabled": hard is not None}
        if hard is not None:
            body["provisioned"] = hard
        await self._change(file_system, body, {"ignore_usage": "true"})

    async def rename(self, file_system: models.FileSystem, name: str) -> None:
        """Give it another name."""
        await self._change(file_system, {"name": name})

    async def destroy(self, file_system: models.FileSystem) -> None:
        """Take it away; it can be recovered until the array's eradication delay is over."""
        await self._change(file_system, {"destroyed": True})

    async def _change(
        self,
        file_system: models.FileSystem,
        body: Mapping[str, object],
        query: Mapping[str, str] | None = None,
    ) -> None:
        ids = {"ids": file_system.id, **(query or {})}
        await self._send("PATCH", "file-systems", ids, body, repeatable=True)

    async def eradicate(self, file_system: models.FileSystem) -> None:
        """Remove a destroyed one for good; gone is success."""
        with suppress(Missing):
            await self._send("DELETE", "file-systems", {"ids": file_system.id})

    async def touch(self) -> None:
        """Try to change the file system that nobody has: shows what the role may do.

        Raises:
            PermissionDenied: it may not change file systems.
        """
        try:
            await self._send(
                "PATCH",
                "file-systems",
                {"names": _NOBODY},
                {"hard_limit_enabled": True},
                repeatable=True,
            )
        except Missing:
            return
        except (Invalid, PermissionDenied) as error:
            raise PermissionDenied(
                f"{error}; changing file systems needs the role storage_admin"
            ) from error

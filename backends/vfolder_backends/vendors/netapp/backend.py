"""ONTAP: a scope is a qtree with an explicit tree quota rule; bytes and files.

Qtrees are made and renamed by ONTAP, whose rules then follow, and removed through the mount:
ONTAP's own removal takes everything in a qtree with it. A rule outlives a qtree that is removed
through a mount, and keeps a new one of its name from being limited; so it is removed after it,
under a name that no scope has.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Final

from vfolder_backends import containers
from vfolder_backends.access import RootAccess
from vfolder_backends.backend import TreeBackend
from vfolder_backends.config import BackendConfig, Options, parse_options
from vfolder_backends.driver import DriverHealth, ScopeQuota
from vfolder_backends.errors import BackendError, NotEmpty, Unavailable
from vfolder_backends.facts import (
    Capabilities,
    Enforcement,
    Level,
    Link,
    PerformanceMetrics,
    Tristate,
)
from vfolder_backends.ids import ScopeHex
from vfolder_backends.openat import directory
from vfolder_backends.port import (
    BackendRef,
    Limits,
    Progress,
    StorageBackend,
    Survey,
    Usage,
)
from vfolder_backends.sizes import round_up
from vfolder_backends.transport.refusals import Exists, Missing
from vfolder_backends.transport.retries import pause
from vfolder_backends.tree import files
from vfolder_backends.vendors.netapp import models
from vfolder_backends.vendors.netapp.client import NetappClient
from vfolder_backends.vendors.netapp.codes import NotInForce, ResizeFailed
from vfolder_backends.vendors.netapp.health import Prober, rates
from vfolder_backends.vendors.netapp.options import NetappOptions
from vfolder_backends.vendors.netapp.volume import QuotaVolume

_GRANULARITY: Final = 1024  # less is rounded up to it; whole ones leave nothing to round
_LOOKS: Final = 5

_ENFORCEMENT: Final = Enforcement(
    Level.ENFORCED,
    Level.ENFORCED,
    Tristate.NO,
    "enforced by ONTAP, for root as well; snapshots fill the volume, not the quota, so a writer can"
    " be out of space below the limit",
)
_NOT_IN_FORCE: Final = Enforcement(
    Level.NONE, Level.NONE, Tristate.UNKNOWN, "ONTAP's quota report does not show this qtree"
)

CAPABILITIES: Final = Capabilities(
    _ENFORCEMENT,
    over_limit_errno="EDQUOT",  # NFS3ERR_DQUOT
    error_at="Close",
    accounting="Logical",
    df_shows="Backend",
    isolation="NodeOnly",
    granularity_bytes=_GRANULARITY,
    fast_usage=True,
)


class NetappDriver:
    """A `driver.QuotaDriver`; what counts is ONTAP's report, which shows what is in force."""

    def __init__(self, access: RootAccess, client: NetappClient, options: NetappOptions) -> None:
        self._access = access
        self._client = client
        self._options = options
        self._volume = QuotaVolume(client, options)
        self._prober = Prober(access, client, options, self._volume, CAPABILITIES)
        self._jobs: dict[ScopeHex, str] = {}
        self._rules = asyncio.Lock()  # changes in quick succession lost resizes once

    @property
    def link(self) -> Link:
        """How the connection to ONTAP does."""
        return self._client.channel.link

    def check_root(self, root: int) -> None:
        """Any directory: whether it is the volume's root is looked at by `probe`, with the API."""

    def folder_usage(self, folder: int) -> Usage | None:
        """None: only scopes have a quota."""
        return None

    def stored(self, limits: Limits) -> Limits:
        """Bytes in whole KiB."""
        if limits.bytes is None:
            return limits
        return Limits(round_up(limits.bytes, _GRANULARITY), limits.files)

    async def probe(self) -> DriverHealth:
        """See `health.Prober`."""
        return await self._prober.probe()

    async def metrics(self) -> PerformanceMetrics | None:
        """Averages of the volume."""
        return rates(await self._volume.look())

    async def prepare(self, scope: ScopeHex, ref: BackendRef) -> BackendRef:
        """The job that makes the qtree, if one was begun and nobody saw it end."""
        job = self._jobs.get(scope) or ref.get("job")
        return {"job": job} if job else {}

    async def create(self, scope: ScopeHex, ref: BackendRef) -> None:
        """Make the qtree, after a job that may be making it already."""
        volume = await self._volume.ready()
        job = self._jobs.get(scope) or ref.get("job")
        if job:
            await self._client.finished(str(job))  # how it ended is seen in the qtree
        if await self._client.qtree(volume.uuid, scope.value) is None:
            await self._sweep(volume, scope)
            with suppress(Exists):
                await self._client.create_qtree(
                    volume,
                    scope.value,
                    self._options.export_policy,
                    lambda number: self._jobs.__setitem__(scope, number),
                )
        self._jobs.pop(scope, None)
        await self._until_shown(scope)

    async def _until_shown(self, scope: ScopeHex) -> None:
        for attempt in range(1, _LOOKS):
            if scope.value in await self._access.run(containers.present):
                return
            await asyncio.sleep(pause(attempt))
        raise Unavailable(
            f"scope {scope}: the mount does not show its qtree yet, or it is not made"
        )

    async def settle(self, scope: ScopeHex) -> Progress | None:
        """None: a rule on a qtree takes effect at once, once the volume is ready."""
        return None

    async def read(self, scope: ScopeHex) -> ScopeQuota:
        """Read what is in force on one qtree."""
        await self._access.run(containers.inode, scope)  # a lost root, or container, is told first
        volume = await self._volume.find()
        report = await self._client.report(volume.uuid, scope.value)
        if report is None:
            await self._volume.require_kept()
        return _as_read(report)

    async def read_all(
        self, scopes: Sequence[ScopeHex]
    ) -> AsyncIterator[tuple[ScopeHex, ScopeQuota]]:
        """Read the one report of the volume, and once more if something is not in it."""
        there = await self._access.run(containers.present)
        wanted = {scope.value: scope for scope in scopes if scope.value in there}
        if not wanted:
            return
        volume = await self._volume.find()
        for _ in range(2):
            async for report in self._client.reports(volume.uuid):
                scope = wanted.pop(report.qtree.name, None)
                if scope is not None:
                    yield scope, _as_read(report)
            if not wanted:
                return
            # Quotas may be off, and the report empty: then nothing can be said of any scope.
            await self._volume.require_kept()
        there = await self._access.run(containers.present)
        for scope in wanted.values():
            if scope.value in there:
                yield scope, _as_read(None)

    async def survey(self, scope: ScopeHex) -> Survey | None:
        """None: ONTAP refuses renames and links from one qtree to another."""
        return None

    async def write(self, scope: ScopeHex, limits: Limits) -> None:
        """Set both limits by the qtree's rule; the report then shows what is in force."""
        await self._access.run(containers.inode, scope)
        volume = await self._volume.ready()
        wanted = self.stored(limits)
        async with self._rules:
            try:
                if await self._set_rule(volume, scope, wanted):
                    return
            except ResizeFailed:
                pass  # or not: the report tells
            except NotInForce as error:
                raise self._volume.restart_needed(str(error)) from error
        for attempt in range(1, _LOOKS):
            report = await self._client.report(volume.uuid, scope.value)
            if report is not None and _limits(report) == wanted:
                return
            await asyncio.sleep(pause(attempt))
        raise Unavailable(
            f"scope {scope}: its rule is set, and ONTAP's report does not show it; if that stays"
            f" so, turn the quotas of {self._volume.name} off and on"
        )

    async def _set_rule(self, volume: models.Volume, scope: ScopeHex, limits: Limits) -> bool:
        """Make or change the rule; return whether it is a new one: it is told if not in force."""
        rules = await self._client.rules(volume.uuid, scope.value)
        if not rules:
            try:
                await self._client.create_rule(volume, scope.value, limits)
            except Exists:
                # Made by a quicker actor, or by a call of ours whose answer was lost.
                rules = await self._client.rules(volume.uuid, scope.value)
                if not rules:
                    raise
            else:
                return True
        await self._client.change_rule(rules[0].uuid, limits)
        return False

    async def release(self, scope: ScopeHex) -> None:
        """Rename the empty qtree aside, remove it through the mount, then its rule."""
        volume = await self._volume.find()
        job = self._jobs.get(scope)
        if job is not None:  # what is still being made would lie there afterwards
            await self._client.finished(job)
            self._jobs.pop(scope, None)
        for attempt in range(1, _LOOKS):
            if not await self._set_aside(volume, scope):
                break
            if not await self._access.run(files.remove_if_empty, _aside(scope)):
                await self._bring_back(volume, scope)
                raise NotEmpty(f"scope {scope} is not empty any more")
            if attempt > 1:
                await asyncio.sleep(pause(attempt))
        else:
            raise Unavailable(f"scope {scope}: ONTAP still shows its qtree {_aside(scope)}")
        await self._sweep(volume, scope)

    async def _set_aside(self, volume: models.Volume, scope: ScopeHex) -> bool:
        """Rename an empty container aside; return whether one lies there now, be it from before."""
        if await self._client.qtree(volume.uuid, _aside(scope)) is None:
            entry = await self._access.run(_first_entry, scope.value)
            if entry is None:
                return False
            if entry:
                raise NotEmpty(f"scope {scope} is not empty: {entry} lies in it")
            qtree = await self._client.qtree(volume.uuid, scope.value)
            if qtree is None:
                # A plain directory that was taken over: it has no quota, and only has to go.
                if not await self._access.run(files.remove_if_empty, scope.value):
                    raise NotEmpty(f"scope {scope} is not empty any more")
                return False
            with suppress(Missing):  # another actor was quicker; the next look tells how far it got
                await self._client.rename_qtree(volume.uuid, qtree.id, _aside(scope))
        if await self._access.run(_first_entry, _aside(scope)):
            await self._bring_back(volume, scope)
            raise NotEmpty(f"scope {scope} is not empty any more")
        return True

    async def _bring_back(self, volume: models.Volume, scope: ScopeHex) -> None:
        qtree = await self._client.qtree(volume.uuid, _aside(scope))
        if qtree is not None:
            # One made meanwhile in its place stays where it is; another actor may be quicker.
            with suppress(Exists, Missing):
                await self._client.rename_qtree(volume.uuid, qtree.id, scope.value)

    async def _sweep(self, volume: models.Volume, scope: ScopeHex) -> None:
        """Remove the rules of qtrees that are gone, each by its id.

        Looked up first, then compared with what is there: a qtree made meanwhile has a rule of its
        own with another id, and whoever makes one sweeps before.
        """
        names = (scope.value, _aside(scope))
        found = await self._client.rules(volume.uuid, *names)
        its_own = [rule for rule in found if rule.qtree.name == scope.value]
        if its_own and await self._client.qtree(volume.uuid, scope.value) is not None:
            if scope.value not in await self._access.run(containers.present):
                raise Unavailable(
                    f"scope {scope}: ONTAP shows a qtree that is gone from the mount; try again"
                )
            found = [rule for rule in found if rule not in its_own]
        if not found:
            return
        async with self._rules:
            for rule in found:
                with suppress(Missing, ResizeFailed, NotInForce):  # gone; the next look tells
                    await self._client.remove_rule(rule.uuid)
        removed = {rule.uuid for rule in found}
        if any(rule.uuid in removed for rule in await self._client.rules(volume.uuid, *names)):
            raise BackendError(f"scope {scope}: its rule is still there after its removal")

    async def cancel(self, scope: ScopeHex) -> None:
        """Forget the job of a scope that was never made."""
        self._jobs.pop(scope, None)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.channel.close()


def _aside(scope: ScopeHex) -> str:
    return f"vfolder_gone_{scope}"


def _first_entry(root: int, name: str) -> str | None:
    """Return the name of something in a directory, "" for an empty one, None for none at all."""
    try:
        with directory(root, name) as place, os.scandir(place) as entries:
            return next((entry.name for entry in entries), "")
    except FileNotFoundError:
        return None


def _limits(report: models.Report) -> Limits:
    return Limits(report.space.hard_limit or None, report.files.hard_limit or None)


def _as_read(report: models.Report | None) -> ScopeQuota:
    if report is None:
        return ScopeQuota(Limits(), None, _NOT_IN_FORCE)
    usage = Usage(report.space.used.total, report.files.used.total, time.time())
    ref: BackendRef = {} if report.qtree.id is None else {"qtree": report.qtree.id}
    return ScopeQuota(_limits(report), usage, _ENFORCEMENT, ref)


class Factory:
    """Makes `netapp` backends."""

    options: type[Options] = NetappOptions
    required_credentials: tuple[str, ...] = ()  # a name and a password, or a token

    def build(self, config: BackendConfig) -> StorageBackend:
        """Return a backend over the volume whose root is mounted at `config.root`."""
        options = parse_options(NetappOptions, config.parameters)
        client = NetappClient(config)
        return TreeBackend(config, lambda access: NetappDriver(access, client, options))

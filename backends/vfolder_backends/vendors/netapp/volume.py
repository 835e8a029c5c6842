"""The volume of one backend: where it is, and whether limits are kept on it."""

import asyncio
from contextlib import suppress
from typing import Final

from vfolder_backends.errors import Misconfigured, QuotaOff, Unavailable, Unsupported
from vfolder_backends.port import Limits
from vfolder_backends.transport.refusals import Exists
from vfolder_backends.vendors.netapp import models
from vfolder_backends.vendors.netapp.client import NetappClient
from vfolder_backends.vendors.netapp.codes import NotInForce, ResizeFailed
from vfolder_backends.vendors.netapp.options import NetappOptions

_KEPT: Final = ("on", "resizing")


class QuotaVolume:
    """Finds the volume once, and sees to it that rules take effect on it.

    A rule takes effect by a resize, and that reaches only qtrees which have a quota already. So
    there has to be a default tree rule, without limits: by it every new qtree has one.
    """

    def __init__(self, client: NetappClient, options: NetappOptions) -> None:
        self._client = client
        self._options = options
        self._known: models.Volume | None = None
        self._ready = False
        self._once = asyncio.Lock()

    @property
    def name(self) -> str:
        """For messages."""
        return f"volume {self._options.volume!r} of SVM {self._options.svm!r}"

    async def find(self) -> models.Volume:
        """Return the volume, as it was seen last."""
        return self._known or await self.look()

    async def look(self) -> models.Volume:
        """Return the volume as it is now.

        Raises:
            Misconfigured: there is none of that name.
            Unsupported: nobody can write to it.
            Unavailable: it is not online.
        """
        found = await self._client.volumes(self._options.svm, self._options.volume)
        if not found:
            raise Misconfigured(
                f"parameters.volume: this account sees no volume {self._options.volume!r} in SVM"
                f" {self._options.svm!r}"
            )
        volume = found[0]
        if volume.type != "rw":
            raise Unsupported(f"{self.name} is of type {volume.type!r}; it has to be 'rw'")
        if volume.state != "online":
            raise Unavailable(f"{self.name} is {volume.state!r}, not online")
        self._known = volume
        return volume

    async def require_kept(self) -> None:
        """Raise unless quotas are on, for a caller that misses what is then there."""
        self._check(await self.look())

    async def ready(self) -> models.Volume:
        """Return the volume once rules take effect on it; looks only until they do."""
        async with self._once:
            if not self._ready:
                await self.make_ready()
        return await self.find()

    async def make_ready(self) -> models.Volume:
        """See to the default rule, and that quotas are on.

        Raises:
            Misconfigured: quotas are off, or have to be turned off and on once.
            Unavailable: the volume is scanned.
        """
        volume = await self.look()
        rules = await self._client.rules(volume.uuid)
        if not any(rule.qtree.name == "" for rule in rules):
            await self._make_default(volume)
        if volume.quota.state == "off" and self._options.enable_quotas:
            with suppress(Exists):  # on already, by somebody else
                await self._client.enable_quotas(volume.uuid)
            volume = await self.look()
        self._check(volume)
        self._ready = True
        return volume

    async def _make_default(self, volume: models.Volume) -> None:
        try:
            await self._client.create_rule(volume, "", Limits())
        except (Exists, ResizeFailed):
            return
        except NotInForce as error:
            raise self.restart_needed(str(error)) from error

    def restart_needed(self, why: str) -> Misconfigured:
        """Return the error of a volume whose quotas have to be turned off and on."""
        return Misconfigured(
            f"{self.name}: a new rule is not enforced ({why}); turn quotas off and on once, with"
            " some minutes between (this interrupts all limits of the volume)"
        )

    def _check(self, volume: models.Volume) -> None:
        state = volume.quota.state
        if state in _KEPT:
            return
        self._ready = False
        if state == "off":
            raise QuotaOff(
                f"{self.name}: quotas are off, so no limit is kept; turn them on, or set"
                " parameters.enableQuotas to 'true'"
            )
        if state == "corrupt":
            raise QuotaOff(f"{self.name}: the quotas are corrupt; turn them off and on")
        raise Unavailable(f"{self.name}: quotas are {state!r}; limits hold once they are 'on'")

"""Looks whether an ONTAP volume, the role and the exports are as they must be."""

import time
from typing import Final

from vfolder_backends import containers
from vfolder_backends.access import RootAccess
from vfolder_backends.driver import DriverHealth
from vfolder_backends.errors import Misconfigured, PermissionDenied, VersionTooOld
from vfolder_backends.facts import Capabilities, Capacity, PerformanceMetrics
from vfolder_backends.transport.refusals import Invalid, Missing
from vfolder_backends.vendors.netapp import models
from vfolder_backends.vendors.netapp.client import NetappClient
from vfolder_backends.vendors.netapp.options import NetappOptions
from vfolder_backends.vendors.netapp.volume import QuotaVolume

_OLDEST: Final = (9, 8)  # before that, many changes in a row lost resizes
_EVERYBODY: Final = ("0.0.0.0/0", "::/0", "0/0", "*")


class Prober:
    """The probe of one backend; what cannot change while it lives is looked at once."""

    def __init__(
        self,
        access: RootAccess,
        client: NetappClient,
        options: NetappOptions,
        volume: QuotaVolume,
        capabilities: Capabilities,
    ) -> None:
        self._access = access
        self._client = client
        self._options = options
        self._volume = volume
        self._capabilities = capabilities
        self._same_tree = False

    async def probe(self) -> DriverHealth:
        """Look at version, role, volume, quotas and exports, and whether the mount is the volume.

        Raises:
            Misconfigured: no such volume, another mount, quotas off, or an export for everybody.
            Unsupported: a version that is too old, or a volume that cannot be written to.
            PermissionDenied: a role that may not change rules.
            Unavailable: the volume is offline or being scanned.
        """
        # The mount first: a lost root is told before anything else.
        await self._access.run(containers.present)
        warnings = [*self._client.channel.warnings, *await self._check_version()]
        if not self._same_tree:
            await self._try_role()
            await self._compare_trees((await self._volume.look()).uuid)
            self._same_tree = True
        volume = await self._volume.make_ready()
        warnings += await self._check_exports(volume)
        capacity = Capacity(volume.space.size, volume.space.used, time.time())
        return DriverHealth(self._capabilities, capacity, tuple(warnings))

    async def _check_version(self) -> list[str]:
        try:
            version = await self._client.version()
        except PermissionDenied:
            return ["the account may not see ONTAP's version (/api/cluster), so it is not checked"]
        if (version.generation, version.major) < _OLDEST:
            raise VersionTooOld(
                f"{self._client.channel.array}: ONTAP {version.generation}.{version.major} is not"
                f" supported; {'.'.join(map(str, _OLDEST))} or newer is needed"
            )
        return []

    async def _try_role(self) -> None:
        try:
            await self._client.try_change()
        except (Missing, Invalid):
            return  # answered after the role was looked at: there is no such rule

    async def _compare_trees(self, volume: str) -> None:
        """Make a directory through the mount, and look for it through the API."""
        made = await self._access.run(containers.make_probe)
        try:
            await self._client.require_directory(volume, made)
        except (Missing, Invalid) as error:
            raise Misconfigured(
                f"parameters.volume: the root of {self._volume.name} is not what is mounted at"
                f" {self._access.path}: {error}"
            ) from error
        finally:
            await self._access.run(containers.remove_probe, made)

    async def _check_exports(self, volume: models.Volume) -> list[str]:
        """Look at the policy that new qtrees have."""
        name = self._options.export_policy or volume.nas.export_policy.name
        if not name:
            return [f"{self._volume.name} shows no export policy"]
        try:
            policy = await self._client.export_policy(volume.svm.name, name)
        except PermissionDenied:
            return [
                f"the account may not see export policy {name!r}, so it is not checked whether"
                " everybody may mount"
            ]
        if policy is None:
            raise Misconfigured(f"parameters.exportPolicy: there is no export policy {name!r}")
        for number, rule in enumerate(policy.rules, 1):
            for client in rule.clients:
                if client.match in _EVERYBODY:
                    raise Misconfigured(
                        f"export policy {name!r}: its rule {number} is for {client.match!r}, which"
                        " is every host; name the nodes, with superuser for the operator's host"
                        " alone"
                    )
        return []


def rates(volume: models.Volume) -> PerformanceMetrics:
    """Return the volume's averages; its latencies are in microseconds."""
    metric = volume.metric
    read, write = metric.latency.read, metric.latency.write
    return PerformanceMetrics(
        metric.iops.read,
        metric.iops.write,
        metric.throughput.read,
        metric.throughput.write,
        None if read is None else read / 1e6,
        None if write is None else write / 1e6,
    )

"""What a probe of a OneFS cluster looks at: version, licence, role, tree, exports, state."""

import time
from typing import Final

from vfolder_backends import containers
from vfolder_backends.access import RootAccess
from vfolder_backends.errors import (
    LicenseMissing,
    Misconfigured,
    PermissionDenied,
    Unavailable,
    VersionTooOld,
)
from vfolder_backends.facts import Capacity
from vfolder_backends.transport.refusals import Missing
from vfolder_backends.vendors.onefs import models
from vfolder_backends.vendors.onefs.client import OneFSClient
from vfolder_backends.vendors.onefs.options import OneFSOptions

_OLDEST: Final = 4  # of the platform API: OneFS 8.0.1, the oldest whose schema we know
_LICENSED: Final = ("Licensed", "Activated", "Evaluation")  # since 8.1, before, both


class Inspection:
    """Looks at everything each time, at what cannot change only until it was right once."""

    def __init__(self, access: RootAccess, client: OneFSClient, options: OneFSOptions) -> None:
        self._access = access
        self._client = client
        self._options = options
        self._array = client.channel.array
        self._same_tree = False

    async def look(self) -> tuple[Capacity | None, list[str]]:
        """Return the capacity and what is worth a warning.

        Raises:
            Misconfigured: the mount shows another directory than `parameters.path`.
            VersionTooOld: the calls that are needed are not there.
            LicenseMissing: SmartQuotas is not licensed.
            PermissionDenied: a role that may not set quotas.
            Unavailable: a cluster without quorum.
        """
        # The mount first: a lost root is told before anything else.
        await self._access.run(containers.present)
        latest = await self._client.latest()
        if latest < _OLDEST:
            raise VersionTooOld(
                f"{self._array}: the platform API's version {latest} is too old; OneFS 8.0.1"
                f" (API {_OLDEST}) or newer is needed"
            )
        status = await self._client.license(latest)
        if status not in _LICENSED:
            raise LicenseMissing(
                f"{self._array}: SmartQuotas is {status!r}; without its licence no limit can be set"
            )
        cluster = await self._client.cluster()
        if not cluster.has_quorum:
            raise Unavailable(f"{self._array}: cluster {cluster.name!r} has no quorum")
        warnings = list(self._client.channel.warnings)
        warnings += [f"node {node.lnn} is down" for node in cluster.devices if not node.is_up]
        if not self._same_tree:
            await self._client.touch_quotas()
            warnings += await self._compare_trees()
        warnings += await self._exports()
        capacity = None
        try:
            capacity = _capacity(await self._client.pools())
        except PermissionDenied as error:
            warnings.append(f"the capacity is not known: {error}")
        return capacity, warnings

    async def _compare_trees(self) -> list[str]:
        """Make a directory through the mount, and look for it through the API."""
        path = await self._access.run(containers.make_probe)
        try:
            await self._client.look(f"{self._options.path}/{path}")
        except Missing as error:
            raise Misconfigured(
                f"parameters.path: {self._options.path!r} is not what is mounted at"
                f" {self._access.path}: {error}"
            ) from error
        except PermissionDenied as error:
            return [f"whether parameters.path is what is mounted could not be looked at: {error}"]
        finally:
            await self._access.run(containers.remove_probe, path)
        self._same_tree = True
        return []

    async def _exports(self) -> list[str]:
        """Warn of exports that let anybody in, or root be root, and of none at all."""
        try:
            shown = [
                export
                async for export in self._client.exports(self._options.zone)
                if any(self._covers(path) for path in export.paths)
            ]
        except PermissionDenied as error:
            return [f"the NFS exports could not be looked at: {error}"]
        if not shown:
            return [f"no NFS export of zone {self._options.zone!r} shows {self._options.path}"]
        found = []
        for export in shown:
            if not export.clients and not export.root_clients:
                found.append(f"NFS export {export.id} is open to every client: name its clients")
            if not export.map_root.enabled:
                found.append(f"NFS export {export.id} lets every client's root be root")
        return found

    def _covers(self, path: str) -> bool:
        return f"{self._options.path}/".startswith(f"{path.rstrip('/')}/")


def _capacity(pools: list[models.Pool]) -> Capacity | None:
    # Tiers are made of node pools: counting both would count everything twice.
    usages = [pool.usage for pool in pools if pool.type == "nodepool"]
    if not usages:
        return None
    total = sum(usage.total_bytes for usage in usages)
    return Capacity(total, total - sum(usage.free_bytes for usage in usages), time.time())

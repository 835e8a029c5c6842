"""Looks whether a VAST cluster, the role and the exports are as they must be."""

import time
from typing import Final

from vfolder_backends import containers
from vfolder_backends.access import RootAccess
from vfolder_backends.driver import DriverHealth
from vfolder_backends.errors import Misconfigured, PermissionDenied, Unavailable, VersionTooOld
from vfolder_backends.facts import Capabilities, Capacity, PerformanceMetrics
from vfolder_backends.transport.refusals import Invalid, Missing
from vfolder_backends.vendors.vast import models
from vfolder_backends.vendors.vast.client import VastClient
from vfolder_backends.vendors.vast.options import VastOptions

_OLDEST: Final = (4, 7)
_PUBLISHED: Final = (5, 3)  # the oldest version whose document our calls are compared with
_EVERYBODY: Final = ("*", "0.0.0.0/0", "::/0")
_NFS: Final = ("NFS", "NFS4")


class Prober:
    """The probe of one backend; what cannot change while it lives is looked at once."""

    def __init__(
        self,
        access: RootAccess,
        client: VastClient,
        options: VastOptions,
        capabilities: Capabilities,
    ) -> None:
        self._access = access
        self._client = client
        self._path = options.path
        self._capabilities = capabilities
        self._same_tree = False

    async def probe(self) -> DriverHealth:
        """Look at version, state, role and exports, and whether API and mount show the same.

        Raises:
            Misconfigured: the mount shows another directory, or everybody may mount it.
            VersionTooOld: a version that is too old.
            Unavailable: the cluster is not online.
            PermissionDenied: a role that may not change quotas.
        """
        # The mount first: a lost root is told before anything else.
        await self._access.run(containers.present)
        warnings = list(self._client.channel.warnings)
        cluster = await _cluster(self._client)
        if cluster is None:
            warnings.append(
                "the role may not view Hardware: neither state nor capacity nor rates are known"
            )
        elif cluster.state != "ONLINE":
            raise Unavailable(
                f"{self._client.channel.array}: the cluster's state is {cluster.state!r}"
            )
        warnings += await self._check_version(cluster)
        if not self._same_tree:
            await self._try_role()
            await self._compare_trees()
            self._same_tree = True
        warnings += await self._check_exports()
        return DriverHealth(self._capabilities, _capacity(cluster), tuple(warnings))

    async def _check_version(self, cluster: models.Cluster | None) -> list[str]:
        told = cluster.sw_version if cluster else ""
        if not told:
            found = await self._client.versions()
            told = found[0].sys_version if found else ""
        version = _numbers(told)
        if version < _OLDEST:
            raise VersionTooOld(
                f"{self._client.channel.array}: VAST {told or '(no version shown)'} is not"
                f" supported; {'.'.join(map(str, _OLDEST))} or newer is needed"
            )
        if version < _PUBLISHED:
            return [f"VAST {told} is older than the published interface, and works untested"]
        return []

    async def _try_role(self) -> None:
        try:
            await self._client.try_change()
        except (Missing, Invalid):
            return  # answered after the role was looked at: there is no such quota

    async def _compare_trees(self) -> None:
        """Make a directory through the mount, and look for it through the API."""
        made = await self._access.run(containers.make_probe)
        path = f"{self._path.rstrip('/')}/{made}"
        try:
            await self._client.require_directory(path)
        except (Missing, Invalid) as error:
            raise Misconfigured(
                f"parameters.path: {self._path!r} is not what is mounted at"
                f" {self._access.path}: {error}"
            ) from error
        finally:
            await self._access.run(containers.remove_probe, made)

    async def _check_exports(self) -> list[str]:
        """Look at the view that shows the root: the nearest one, at the root or above it."""
        path = self._path
        while True:
            for view in await self._client.views(path):
                if set(view.protocols) & set(_NFS):
                    self._require_closed(view, await self._client.policy(view.policy_id))
                    return []
            if path == "/":
                return ["no NFS view shows parameters.path, as far as this role can see"]
            path = path.rpartition("/")[0] or "/"

    def _require_closed(self, view: models.View, policy: models.ViewPolicy) -> None:
        for field in ("nfs_read_write", "nfs_read_only", "nfs_no_squash"):
            for host in getattr(policy, field):
                if host in _EVERYBODY:
                    raise Misconfigured(
                        f"view policy {policy.name!r} of view {view.path!r}: {field} holds"
                        f" {host!r}, which lets in every host; name the nodes, and give no_squash"
                        " to the operator's host alone"
                    )


async def _cluster(client: VastClient) -> models.Cluster | None:
    """Return the cluster, None for a role that may not see it."""
    try:
        found = await client.clusters()
    except PermissionDenied:
        return None
    return found[0] if found else None


def _capacity(cluster: models.Cluster | None) -> Capacity | None:
    """Return the logical space: what users can write, not what the drives hold."""
    if cluster is None or cluster.logical_space is None or cluster.logical_space_in_use is None:
        return None
    return Capacity(cluster.logical_space, cluster.logical_space_in_use, time.time())


async def metrics_of(client: VastClient) -> PerformanceMetrics | None:
    """Return the cluster's rates; its latencies are in microseconds."""
    cluster = await _cluster(client)
    if cluster is None:
        return None
    return PerformanceMetrics(
        cluster.rd_iops,
        cluster.wr_iops,
        cluster.rd_bw,
        cluster.wr_bw,
        None if cluster.rd_latency is None else cluster.rd_latency / 1e6,
        None if cluster.wr_latency is None else cluster.wr_latency / 1e6,
    )


def _numbers(version: str) -> tuple[int, ...]:
    """Read `5.3.0.123` or `release-5.3`; unreadable is older than all."""
    numbers = []
    for part in version.replace("-", ".").split("."):
        if part.isdigit():
            numbers.append(int(part))
        elif numbers:
            break
    return tuple(numbers)

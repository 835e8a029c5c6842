"""Leadership by a Lease of our own.

The library's election renews for ever after the work has died and keeps believing it leads while
the API hangs, so this one is written out: every call has a deadline well below the lease, time is
the monotonic clock of this process, and `hold` returns as soon as leadership can no longer be
proven. The caller then ends the process. A Lease does not fence: two leaders may overlap for a
moment, which is why every step on the storage is safe under two actors.
"""

import asyncio
import logging
from dataclasses import dataclass
from datetime import UTC, datetime

from vfolder_operator.kube import Body, Conflict, Kinds, Kube, KubeError, NotFound

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """Seconds: how long a lease lasts, when its holder gives up, how often it renews and asks."""

    duration: float = 15.0
    renew_deadline: float = 10.0
    retry: float = 2.0


class Lease:
    """One Lease object and our claim to it."""

    def __init__(
        self, kube: Kube, namespace: str, name: str, identity: str, times: LeaseTimes | None = None
    ) -> None:
        self._kube = kube
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._times = times or LeaseTimes()
        self._seen: tuple[str, str, float] = ("", "", 0.0)  # holder, renewTime, when we saw it
        self._renewed_at = float("-inf")

    @property
    def held(self) -> bool:
        """Whether our last renewal still stands."""
        return _now() - self._renewed_at < self._times.renew_deadline

    async def acquire(self) -> None:
        """Return once we lead; waits as long as it takes."""
        if await self._try():
            log.info("leading", extra={"identity": self._identity})
            return
        log.info("standing by", extra={"identity": self._identity, "holder": self._seen[0]})
        while not await self._try():  # noqa: ASYNC110 - the Lease is elsewhere
            await asyncio.sleep(self._times.retry)
        log.info("leading", extra={"identity": self._identity})

    async def hold(self) -> None:
        """Renew until that fails for the renew deadline; returns when leadership is lost."""
        while self.held:
            await asyncio.sleep(self._times.retry)
            await self._try()
        log.error("leadership lost", extra={"identity": self._identity})

    async def release(self) -> None:
        """Let the next one lead at once; best effort, as the lease ends by itself."""
        if not self.held:
            return
        try:
            async with asyncio.timeout(self._times.retry):
                lease = await self._kube.get(Kinds.LEASE, self._name, self._namespace)
                if lease["spec"].get("holderIdentity") == self._identity:
                    lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
                    await self._kube.replace(Kinds.LEASE, self._name, self._namespace, lease)
        except (KubeError, TimeoutError) as error:
            log.warning("lease not released, it will run out", extra={"error": str(error)})
        self._renewed_at = float("-inf")

    async def _try(self) -> bool:
        """Take or renew the lease once; False when somebody else has it or there is no answer."""
        started = _now()
        try:
            async with asyncio.timeout(self._times.renew_deadline / 3):
                taken = await self._take()
        except (KubeError, TimeoutError) as error:
            log.warning("lease not renewed", extra={"error": str(error) or repr(error)})
            return False
        if taken:
            self._renewed_at = started
        return taken

    async def _take(self) -> bool:
        try:
            lease = await self._kube.get(Kinds.LEASE, self._name, self._namespace)
        except NotFound:
            body: Body = {
                "metadata": {"name": self._name, "namespace": self._namespace},
                "spec": self._spec(transitions=0),
            }
            try:
                await self._kube.create(Kinds.LEASE, body, self._namespace)
            except Conflict:
                return False
            return True
        spec = lease["spec"]
        holder, renewed = spec.get("holderIdentity") or "", spec.get("renewTime") or ""
        if holder and holder != self._identity and not self._expired(holder, renewed, spec):
            self._renewed_at = float("-inf")  # whatever we believed: somebody else leads
            return False
        transitions = int(spec.get("leaseTransitions") or 0)
        acquired = spec.get("acquireTime") if holder == self._identity else None
        lease["spec"] = self._spec(transitions + (holder != self._identity), acquired)
        try:
            await self._kube.replace(Kinds.LEASE, self._name, self._namespace, lease)
        except Conflict:
            return False
        return True

    def _expired(self, holder: str, renewed: str, spec: Body) -> bool:
        """Whether the holder's lease ran out since we first saw this renewal, by our own clock."""
        if self._seen[:2] != (holder, renewed):
            self._seen = (holder, renewed, _now())
        return _now() - self._seen[2] >= float(spec.get("leaseDurationSeconds") or 1)

    def _spec(self, transitions: int, acquired: str | None = None) -> Body:
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": int(self._times.duration),
            "renewTime": stamp,
            "acquireTime": acquired or stamp,
            "leaseTransitions": transitions,
        }


def _now() -> float:
    return asyncio.get_running_loop().time()

"""Kubernetes Events: what people see under `kubectl describe`.

Posting is best effort and never holds up a reconcile; the same event about the same object is not
posted twice in a row within its silence.
"""

import asyncio
import logging
from datetime import UTC, datetime
from typing import Final

from vfolder_operator.kube import Body, Kinds, Kube, KubeError
from vfolder_operator.names import CONTROLLER

log = logging.getLogger(__name__)

SILENCE: Final = 600.0
"""Seconds in which the same event is not repeated."""

QUEUE: Final = 1000
"""Events that wait to be posted; more are dropped, and logged."""


class Recorder:
    """Posts events one after another in the background."""

    def __init__(self, kube: Kube, identity: str) -> None:
        self._kube = kube
        self._identity = identity
        self._queue: asyncio.Queue[Body] = asyncio.Queue(QUEUE)
        self._posted: dict[tuple[str, str, str], float] = {}

    def warning(self, about: Body, reason: str, message: str, action: str = "Reconcile") -> None:
        """Something a person should look at."""
        self._put(about, "Warning", reason, message, action)

    def normal(self, about: Body, reason: str, message: str, action: str = "Reconcile") -> None:
        """Something worth knowing."""
        self._put(about, "Normal", reason, message, action)

    async def run(self) -> None:
        """Post until cancelled."""
        while True:
            event = await self._queue.get()
            try:
                await self._kube.create(Kinds.EVENT, event, event["metadata"]["namespace"])
            except KubeError as error:
                log.warning("event not posted", extra={"error": str(error)})

    def _put(self, about: Body, type_: str, reason: str, message: str, action: str) -> None:
        meta = about["metadata"]
        now = asyncio.get_running_loop().time()
        key = (meta.get("uid", ""), reason, message)
        if now - self._posted.get(key, -SILENCE) < SILENCE:
            return
        # Events about cluster-scoped objects belong into the default namespace.
        namespace = meta.get("namespace") or "default"
        event: Body = {
            "metadata": {
                "generateName": f"{meta['name'][:200].rstrip('.')}-",
                "namespace": namespace,
            },
            "type": type_,
            "reason": reason,
            "note": message[:1024],
            "action": action,
            "eventTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "reportingController": CONTROLLER,
            "reportingInstance": self._identity[:128],
            "regarding": {
                "apiVersion": about.get("apiVersion", ""),
                "kind": about.get("kind", ""),
                "name": meta["name"],
                "namespace": meta.get("namespace", ""),
                "uid": meta.get("uid", ""),
                "resourceVersion": meta.get("resourceVersion", ""),
            },
        }
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            log.warning("event dropped", extra={"reason_": reason, "note": message})
            return
        self._posted = {k: t for k, t in self._posted.items() if now - t < SILENCE}
        self._posted[key] = now

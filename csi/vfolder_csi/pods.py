"""Refuses pods that do not run in a user namespace of their own, where the site asks for that.

An admission policy refuses most of them earlier; it cannot see a pod that is made before its claim.
Here nothing gets past: a folder appears in a pod only if the pod, as the API server knows it, says
`hostUsers: false`.
"""

import http.client
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from vfolder_csi.errors import FailedPrecondition, Unavailable
from vfolder_csi.kubeapi import LANE, ApiServer, json_object
from vfolder_csi.pool import Pool

_INFO: Final = "csi.storage.k8s.io/pod."


class UserNamespaces:
    """Looks a pod up before a folder is published to it."""

    def __init__(self, server: ApiServer, pool: Pool) -> None:
        self._server = server
        self._pool = pool

    async def check(self, context: Mapping[str, str]) -> None:
        """Return if the pod that kubelet names runs with `hostUsers: false`.

        Args:
            context: the volume context of the publish, with what `podInfoOnMount` adds.

        Raises:
            FailedPrecondition: it does not, or kubelet does not name it.
            Unavailable: the API server does not answer.
        """
        names = [context.get(f"{_INFO}{key}", "") for key in ("namespace", "name", "uid")]
        namespace, name, uid = names
        if not all(names):
            raise FailedPrecondition(
                "user namespaces are required, and kubelet does not say for which pod this is; "
                "the CSIDriver object must have podInfoOnMount: true"
            )
        pod = await self._read(namespace, name)
        if (pod.get("metadata") or {}).get("uid") != uid:
            raise FailedPrecondition(f"pod {namespace}/{name} is another one by now")
        if (pod.get("spec") or {}).get("hostUsers") is not False:
            raise FailedPrecondition(
                f"pod {namespace}/{name} does not run in a user namespace of its own, and this "
                "site requires that for VFolder claims: set hostUsers: false in its spec"
            )

    async def _read(self, namespace: str, name: str) -> Mapping[str, Any]:
        path = f"/api/v1/namespaces/{quote(namespace, safe='')}/pods/{quote(name, safe='')}"
        what = f"pod {namespace}/{name}"
        try:
            status, body = await self._pool.run(
                LANE, self._server.timeout * 1.5, lambda: self._server.get(path)
            )
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"API server: reading {what}: {error!r}") from error
        if status == http.client.NOT_FOUND:
            raise FailedPrecondition(f"{what} is gone")
        if status != http.client.OK:
            raise Unavailable(
                f"API server: reading {what}: HTTP {status}; the node plugin's ClusterRole must "
                "allow it to get pods"
            )
        return json_object(what, body)

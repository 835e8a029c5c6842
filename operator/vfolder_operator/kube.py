"""The Kubernetes API as the operator uses it: plain objects in and out, a deadline on every call.

A thin layer over kubernetes_asyncio, whose own calls have no deadline unless one is given. kopf
does the watching; everything that is read live or written goes through here.
"""

import enum
import json
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import aiohttp
import kubernetes_asyncio.client
import kubernetes_asyncio.config
from kubernetes_asyncio.client.exceptions import ApiException
from kubernetes_asyncio.config import incluster_config

from vfolder_operator.names import CONTROLLER, GROUP, VERSION

Body = dict[str, Any]

log = logging.getLogger(__name__)

_DRY_RUN = {"dryRun": "All"}


class KubeError(Exception):
    """The API server refused or did not answer.

    Attributes:
        status: HTTP status, 0 when there was no answer.
        reason: the API's word for it, such as AlreadyExists.
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{reason or status}: {message}")
        self.status = status
        self.reason = reason
        self.message = message


class NotFound(KubeError):
    """404."""


class Conflict(KubeError):
    """409: the object exists, or changed meanwhile."""


class Refused(KubeError):
    """403 or 422: admission, quota, validation or rights said no."""


_BY_STATUS: Mapping[int, type[KubeError]] = {
    404: NotFound,
    409: Conflict,
    403: Refused,
    422: Refused,
}


@dataclass(frozen=True, slots=True)
class Resource:
    """Where objects of one kind live in the API."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """The `apiVersion` of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL path of a collection, an object or a subresource."""
        parts = ["apis", self.group] if self.group else ["api"]
        parts.append(self.version)
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts += [self.plural, *filter(None, (name, subresource))]
        return "/" + "/".join(parts)


class Kinds(enum.Enum):
    """All kinds the operator touches."""

    BACKEND = Resource(GROUP, VERSION, "storagebackends", "StorageBackend", namespaced=False)
    SCOPE = Resource(GROUP, VERSION, "quotascopes", "QuotaScope")
    FOLDER = Resource(GROUP, VERSION, "vfolders", "VFolder")
    CLAIM = Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
    VOLUME = Resource("", "v1", "persistentvolumes", "PersistentVolume", namespaced=False)
    POD = Resource("", "v1", "pods", "Pod")
    SECRET = Resource("", "v1", "secrets", "Secret")
    NAMESPACE = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
    LEASE = Resource("coordination.k8s.io", "v1", "leases", "Lease")
    CONFIG_MAP = Resource("", "v1", "configmaps", "ConfigMap")
    POLICY = Resource(
        "admissionregistration.k8s.io",
        "v1",
        "validatingadmissionpolicies",
        "ValidatingAdmissionPolicy",
        namespaced=False,
    )
    POLICY_BINDING = Resource(
        "admissionregistration.k8s.io",
        "v1",
        "validatingadmissionpolicybindings",
        "ValidatingAdmissionPolicyBinding",
        namespaced=False,
    )
    EVENT = Resource("events.k8s.io", "v1", "events", "Event")


@dataclass(frozen=True, slots=True)
class Connection:
    """Where the API server is and how we log in; `token_file` is re-read at each login."""

    configuration: kubernetes_asyncio.client.Configuration
    token_file: str = ""


class Kube:
    """A client of the API server; `timeout` is the deadline of each call in seconds."""

    def __init__(self, connection: Connection, timeout: float = 15.0) -> None:
        self.connection = connection
        self._client = kubernetes_asyncio.client.ApiClient(connection.configuration)
        self._client.user_agent = "vfolder-operator"
        self._timeout = timeout

    @classmethod
    async def connect(cls, kubeconfig: str = "", timeout: float = 15.0) -> Self:
        """Connect as the pod's service account, or by a kubeconfig."""
        configuration, token_file = kubernetes_asyncio.client.Configuration(), ""
        if kubeconfig:
            await kubernetes_asyncio.config.load_kube_config(
                config_file=kubeconfig, client_configuration=configuration
            )
        else:
            # Re-reads the token file by itself, so rotated tokens are picked up.
            token_file = incluster_config.SERVICE_TOKEN_FILENAME
            kubernetes_asyncio.config.load_incluster_config(  # type: ignore[no-untyped-call]
                client_configuration=configuration
            )
        configuration.connection_pool_maxsize = 64
        return cls(Connection(configuration, token_file), timeout)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    async def get(self, kind: Kinds, name: str, namespace: str = "") -> Body:
        """Read one object (`NotFound`)."""
        return await self._call("GET", kind.value.path(namespace, name))

    async def find(self, kind: Kinds, name: str, namespace: str = "") -> Body | None:
        """Read one object, None when there is none."""
        try:
            return await self.get(kind, name, namespace)
        except NotFound:
            return None

    async def list(
        self, kind: Kinds, namespace: str = "", *, labels: str = "", fields: str = ""
    ) -> AsyncIterator[Body]:
        """Read a collection page by page."""
        query = {"limit": "500"}
        if labels:
            query["labelSelector"] = labels
        if fields:
            query["fieldSelector"] = fields
        while True:
            page = await self._call("GET", kind.value.path(namespace), query=query)
            for item in page.get("items", []):
                yield item
            token = page.get("metadata", {}).get("continue", "")
            if not token:
                return
            query["continue"] = token

    async def create(
        self, kind: Kinds, body: Body, namespace: str = "", *, dry_run: bool = False
    ) -> Body:
        """Create an object (`Conflict` when it exists), or only have it checked."""
        resource = kind.value
        typed = {"apiVersion": resource.api_version, "kind": resource.kind, **body}
        query = _DRY_RUN if dry_run else None
        return await self._call("POST", resource.path(namespace), query=query, body=typed)

    async def patch(
        self,
        kind: Kinds,
        name: str,
        namespace: str,
        body: Body,
        *,
        subresource: str = "",
        dry_run: bool = False,
    ) -> Body:
        """Change an object by a merge patch.

        With `metadata.resourceVersion` in the patch, a change in between is a `Conflict`.
        """
        return await self._call(
            "PATCH",
            kind.value.path(namespace, name, subresource),
            query=_DRY_RUN if dry_run else None,
            body=body,
            content_type="application/merge-patch+json",
        )

    async def apply(self, kind: Kinds, body: Body) -> Body:
        """Server-side apply a cluster-scoped object; fields that we once set and left out go."""
        resource = kind.value
        return await self._call(
            "PATCH",
            resource.path(name=body["metadata"]["name"]),
            query={"fieldManager": CONTROLLER, "force": "true"},
            body={"apiVersion": resource.api_version, "kind": resource.kind, **body},
            content_type="application/apply-patch+yaml",
        )

    async def replace(self, kind: Kinds, name: str, namespace: str, body: Body) -> Body:
        """Replace an object; its resourceVersion makes a change in between a `Conflict`."""
        return await self._call("PUT", kind.value.path(namespace, name), body=body)

    async def delete(self, kind: Kinds, name: str, namespace: str, *, uid: str) -> None:
        """Delete the object of that uid; one that is gone or another one is left alone."""
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}}
        try:
            await self._call("DELETE", kind.value.path(namespace, name), body=body)
        except (NotFound, Conflict):
            log.debug("nothing to delete", extra={"kind": kind.value.kind, "name_": name})

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Body | None = None,
        content_type: str = "application/json",
    ) -> Body:
        try:
            result = await self._client.call_api(
                path,
                method,
                query_params=list((query or {}).items()),
                header_params={"Content-Type": content_type, "Accept": "application/json"},
                body=body,
                auth_settings=["BearerToken"],
                response_types_map={200: "object", 201: "object", 202: "object"},
                _return_http_data_only=True,
                _request_timeout=self._timeout,
            )
        except ApiException as error:
            raise _translate(error) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise KubeError(0, "NoAnswer", f"{method} {path}: {error!r}") from error
        return result if isinstance(result, dict) else {}


def _translate(error: ApiException) -> KubeError:
    status = int(error.status or 0)
    reason, message = str(error.reason or ""), ""
    try:
        answer = json.loads(error.body or "{}")
        reason, message = answer.get("reason", reason), answer.get("message", "")
    except (ValueError, AttributeError):
        message = str(error.body)[:500]
    return _BY_STATUS.get(status, KubeError)(status, reason, message)


def merge_patch(old: Body, new: Body) -> Body:
    """The JSON merge patch (RFC 7386) that turns `old` into `new`; empty when they are equal."""
    patch: Body = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            if inner := merge_patch(before, value):
                patch[key] = inner
        elif key not in old or before != value:
            patch[key] = value
    return patch

"""A StorageBackend's spec as the configuration its storage is built from."""

import base64

from vfolder_backends.config import BackendConfig
from vfolder_operator.crds.backend import StorageBackendSpec
from vfolder_operator.kube import Kinds, Refused
from vfolder_operator.reconcile.context import Context
from vfolder_operator.reconcile.hold import Hold
from vfolder_operator.reconcile.user_namespaces import UserNamespaces
from vfolder_operator.store import Key


class BackendConfigs:
    """Makes configurations; what they cannot promise is told as a warning."""

    def __init__(self, context: Context, namespaces: UserNamespaces) -> None:
        self._ctx = context
        self._namespaces = namespaces
        self._warnings: dict[str, list[str]] = {}

    def warnings(self, name: str) -> list[str]:
        """What was found wanting when the configuration of that storage was made last."""
        return self._warnings.get(name, [])

    async def make(self, key: Key, spec: StorageBackendSpec) -> BackendConfig:
        """The configuration (`Hold` where it cannot be complete)."""
        settings = self._ctx.settings
        missing = await self._namespaces.missing()
        self._warnings[key.name] = [missing] if missing else []
        return BackendConfig(
            name=key.name,
            type=spec.type,
            root=spec.operator_path or f"/backends/{key.name}",
            parameters=spec.parameters,
            endpoint=spec.endpoint,
            credentials=await self._credentials(spec),
            ca_bundle=spec.tls.ca_bundle,
            insecure_skip_verify=spec.tls.insecure_skip_verify,
            max_concurrent=spec.limits.max_concurrent,
            call_timeout=settings.call_seconds,
            node_fs_type=spec.mount.fs_type if spec.mount is not None else "",
            user_namespaces=settings.require_user_namespaces and not missing,
            ids=self._ctx.ids,
        )

    async def _credentials(self, spec: StorageBackendSpec) -> dict[str, str]:
        """The values of the Secret; read anew each time, so a change is seen within a refresh."""
        if spec.credentials_secret_ref is None:
            return {}
        name, namespace = spec.credentials_secret_ref.name, self._ctx.settings.namespace
        where = f"Secret {name!r} in namespace {namespace!r} (spec.credentialsSecretRef)"
        try:
            secret = await self._ctx.kube.find(Kinds.SECRET, name, namespace)
        except Refused as error:
            raise Hold(
                "CredentialsMissing",
                f"{where} may not be read; add it to the chart's operator.secretNames",
            ) from error
        if secret is None:
            raise Hold("CredentialsMissing", f"{where} does not exist")
        data: dict[str, str] = secret.get("data") or {}
        return {name: _decoded(name, value, where) for name, value in data.items()}


def _decoded(name: str, value: str, where: str) -> str:
    try:
        return base64.b64decode(value).decode()
    except ValueError as error:  # never with the value in the message
        raise Hold("CredentialsInvalid", f"{where}: the key {name!r} is not UTF-8 text") from error

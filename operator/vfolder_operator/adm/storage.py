"""From --backend or --type to a storage to work with, and to the API server where one is named."""

import argparse
import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import kubernetes_asyncio.config
import yaml
from kubernetes_asyncio.config import incluster_config, kube_config
from pydantic import ValidationError

from vfolder_backends.config import BackendConfig
from vfolder_backends.ids import check_backend_name
from vfolder_backends.port import StorageBackend
from vfolder_operator.adm.world import UsageError, World
from vfolder_operator.crds.backend import StorageBackendSpec
from vfolder_operator.kube import Body, Kinds, Kube, KubeError


@dataclass(frozen=True, slots=True)
class Described:
    """A StorageBackend as it is written down.

    Attributes:
        body: the object, from a file or the API server.
        in_cluster: whether the API server has it.
    """

    body: Body
    spec: StorageBackendSpec
    in_cluster: bool = False
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.body["metadata"]["name"])


def add_cluster_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what leads to an API server."""
    parser.add_argument(
        "--kubeconfig",
        default="",
        metavar="FILE",
        help="kubeconfig of the cluster; default: the pod's own account, else $KUBECONFIG or "
        "~/.kube/config",
    )
    parser.add_argument(
        "--operator-namespace",
        default="vfolder-system",
        metavar="NS",
        help="namespace of the Secrets that StorageBackends name (default: %(default)s)",
    )


def add_deadlines(parser: argparse.ArgumentParser) -> None:
    """Add the deadlines of storage calls."""
    parser.add_argument(
        "--answer-seconds",
        type=seconds,
        default=60.0,
        metavar="S",
        help="deadline of one answer of the file system (default: %(default)g)",
    )
    add_call_deadline(parser)


def add_call_deadline(parser: argparse.ArgumentParser) -> None:
    """Add the deadline of calls to the storage and the API server."""
    parser.add_argument(
        "--call-seconds",
        type=seconds,
        default=60.0,
        metavar="S",
        help="deadline of one call to the storage or the API server (default: %(default)g)",
    )


def seconds(text: str) -> float:
    """A positive number of seconds."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number of seconds")
    return value


async def connect(args: argparse.Namespace) -> Kube:
    """Connect to the API server.

    Raises:
        UsageError: there is no configuration to do it with.
    """
    try:
        return await Kube.connect(args.kubeconfig or _kubeconfig(), args.call_seconds)
    except (kubernetes_asyncio.config.ConfigException, OSError) as error:
        raise UsageError(
            f"no API server to ask: {error}; name one with --kubeconfig, or a file with --backend"
        ) from error


def _kubeconfig() -> str:
    """The usual kubeconfig; empty in a pod, which has an account of its own."""
    in_pod = Path(incluster_config.SERVICE_TOKEN_FILENAME).exists()
    return "" if in_pod else str(kube_config.KUBE_CONFIG_DEFAULT_LOCATION)


async def cluster_uid(kube: Kube) -> str:
    """The uid by which owner marks name a cluster."""
    namespace = await kube.get(Kinds.NAMESPACE, "kube-system")
    return str(namespace["metadata"]["uid"])


def read_manifest(path: Path, argument: str = "--backend") -> Described:
    """Read a StorageBackend from a file of YAML or JSON documents.

    Raises:
        UsageError: with file, field and value.
    """
    try:
        documents = list(yaml.safe_load_all(path.read_text()))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{argument} {path}: cannot be read: {error}") from error
    found = [d for d in documents if isinstance(d, dict) and d.get("kind") == "StorageBackend"]
    if len(found) != 1:
        raise UsageError(f"{argument} {path}: holds {len(found)} StorageBackends, one is wanted")
    return described(found[0], f"{argument} {path}")


def described(body: Body, where: str, *, in_cluster: bool = False) -> Described:
    """Check a StorageBackend."""
    try:
        check_backend_name(str((body.get("metadata") or {}).get("name", "")))
        spec = StorageBackendSpec.model_validate(body.get("spec") or {})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{where}: spec.{place}: {first['msg']}") from error
    except ValueError as error:
        raise UsageError(f"{where}: metadata.name: {error}") from error
    return Described(body, spec, in_cluster)


def is_file(name: str) -> bool:
    """Whether --backend names a file, not an object."""
    return "/" in name or name.endswith((".yaml", ".yml", ".json"))


async def find(name: str, kube: Kube, operator_namespace: str) -> Described:
    """Read a StorageBackend and its Secret from the API server."""
    body = await kube.find(Kinds.BACKEND, name)
    if body is None:
        raise UsageError(
            f"--backend {name}: there is no such StorageBackend; to name a file, give its path"
        )
    found = described(body, f"StorageBackend {name}", in_cluster=True)
    if found.spec.credentials_secret_ref is None:
        return found
    secret = found.spec.credentials_secret_ref.name
    try:
        data: dict[str, str] = (await kube.get(Kinds.SECRET, secret, operator_namespace))["data"]
    except (KubeError, KeyError) as error:
        raise UsageError(
            f"Secret {secret!r} in namespace {operator_namespace!r}"
            f" (spec.credentialsSecretRef) cannot be read: {error}"
        ) from error
    values = {key: base64.b64decode(value).decode() for key, value in data.items()}
    return Described(found.body, found.spec, in_cluster=True, credentials=values)


def read_credentials(folder: str) -> dict[str, str]:
    """Read a Secret that is mounted as files."""
    if not folder:
        return {}
    try:
        files = [p for p in Path(folder).iterdir() if p.is_file() and not p.name.startswith(".")]
        return {path.name: path.read_text() for path in files}
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--credentials {folder}: cannot be read: {error}") from error


def build(
    world: World, args: argparse.Namespace, root: Path, found: Described | None, *, read_only: bool
) -> StorageBackend:
    """Build the storage over `root`, of the kind that was described or named by --type."""
    more: dict[str, Any] = {}
    if found is not None:
        more = {
            "parameters": found.spec.parameters,
            "endpoint": found.spec.endpoint,
            "credentials": found.credentials or read_credentials(args.credentials),
            "ca_bundle": found.spec.tls.ca_bundle,
            "insecure_skip_verify": found.spec.tls.insecure_skip_verify,
            "node_fs_type": found.spec.mount.fs_type if found.spec.mount is not None else "",
        }
    config = BackendConfig(
        name=found.name if found is not None else "adm",
        type=found.spec.type if found is not None else args.type,
        root=str(root),
        call_timeout=args.call_seconds,
        read_only=read_only,
        **more,
    )
    return world.registry.build(config)


def add_storage_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --credentials, for manifests whose Secret is not at hand."""
    parser.add_argument(
        "--credentials",
        default="",
        metavar="DIR",
        help="directory with one file per key of the Secret that --backend FILE refers to",
    )


def root_path(text: str) -> Path:
    """An existing directory."""
    path = Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is not a directory")
    return path

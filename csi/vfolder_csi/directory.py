"""Where a backend is on the nodes, as its StorageBackend object says.

It is looked up when a folder is mounted, never carried in a volume: so an edited server address
holds for every later mount, and nobody can smuggle a path into a volume.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from vfolder_csi.errors import FailedPrecondition


@dataclass(frozen=True, slots=True)
class HostPath:
    """The host has the backend mounted at `path`; `root_id` is None if none is recorded."""

    path: str
    root_id: str | None


@dataclass(frozen=True, slots=True)
class NetworkMount:
    """The plugin mounts each folder itself, from `<source>/<path of the folder>`."""

    fs_type: str
    source: str
    options: tuple[str, ...] = ()
    has_secret: bool = False


@dataclass(frozen=True, slots=True)
class Backend:
    """What the node plugin knows of a StorageBackend; `kind` is its type, such as `cephfs`."""

    name: str
    where: HostPath | NetworkMount
    kind: str = ""


class BackendDirectory(Protocol):
    """Knows the backends of the cluster."""

    async def get(self, name: str) -> Backend:
        """Return a backend.

        Raises:
            NotFound: there is none of that name.
            FailedPrecondition: the object cannot be understood.
            Unavailable: nobody answers, and nothing is remembered.
        """
        ...


ROOT_ID_ANNOTATION = "vfolder.dev/root-id"


def parse_backend(name: str, body: Mapping[str, Any]) -> Backend:
    """Read a StorageBackend object.

    Raises:
        FailedPrecondition: it has neither or both of hostPath and mount, or odd values in them.
    """
    try:
        spec, metadata = body["spec"], body["metadata"]
        host_path, mount = spec.get("hostPath"), spec.get("mount")
        kind = str(spec.get("type", ""))
        if bool(host_path) == bool(mount):
            raise FailedPrecondition(
                f"StorageBackend {name}: exactly one of spec.hostPath and spec.mount must be set"
            )
        if host_path:
            root_id = (metadata.get("annotations") or {}).get(ROOT_ID_ANNOTATION)
            return Backend(name, HostPath(str(host_path), root_id), kind)
        where = NetworkMount(
            fs_type=mount["fsType"],
            source=mount["source"],
            options=tuple(mount.get("options") or ()),
            has_secret=bool(mount.get("secretRef")),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise FailedPrecondition(
            f"StorageBackend {name}: spec.hostPath or spec.mount cannot be read ({error!r})"
        ) from error
    return Backend(name, where, kind)

"""What callers may ask for: fields are checked here, once, before anything is touched."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from vfolder_backends.ids import MAX_HANDLE_LENGTH, VolumeHandle
from vfolder_csi._proto import csi_pb2
from vfolder_csi.errors import FailedPrecondition, InvalidArgument
from vfolder_csi.mounts.flags import parse_mount_flags

MAX_PATH: Final = 4095
MAX_MOUNT_FLAGS: Final = 4096
CONTEXT_PREFIXES: Final = ("csi.storage.k8s.io/", "storage.kubernetes.io/")

_Mode = csi_pb2.VolumeCapability.AccessMode
_READ_ONLY: Final = frozenset({_Mode.SINGLE_NODE_READER_ONLY, _Mode.MULTI_NODE_READER_ONLY})
_MODES: Final = _READ_ONLY | {
    _Mode.SINGLE_NODE_WRITER,
    _Mode.SINGLE_NODE_SINGLE_WRITER,
    _Mode.SINGLE_NODE_MULTI_WRITER,
    _Mode.MULTI_NODE_SINGLE_WRITER,
    _Mode.MULTI_NODE_MULTI_WRITER,
}


@dataclass(frozen=True, slots=True)
class Access:
    """A checked volume capability.

    Attributes:
        words: the mount flags, as `parse_mount_flags` gives them.
        single: at most one target on a node.
    """

    words: frozenset[str]
    single: bool


def required(field: str, value: str, longest: int) -> str:
    """Return a text field.

    Raises:
        InvalidArgument: it is empty, too long, or holds what no path and no id holds.
    """
    if not value:
        raise InvalidArgument(f"{field} is missing")
    if len(value.encode()) > longest:
        raise InvalidArgument(f"{field} has more than {longest} bytes")
    if not value.isprintable():
        raise InvalidArgument(f"{field} {value!r} holds a control character")
    return value


def volume_id(value: str) -> str:
    """Return a volume id whose form does not matter, as where something is only taken away."""
    return required("volume_id", value, MAX_HANDLE_LENGTH)


def volume_handle(value: str) -> VolumeHandle:
    """Return a parsed volume id.

    Raises:
        InvalidArgument: it is missing or not a handle of ours.
    """
    try:
        return VolumeHandle.parse(volume_id(value))
    except ValueError as error:
        raise InvalidArgument(
            f"volume_id: {error}; it must be <backend>/<scope: 32 hex>/<folder: 32 hex>"
        ) from error


def target_path(value: str) -> str:
    """Return the target path; where it may lie is checked where it is opened."""
    return required("target_path", value, MAX_PATH)


def staging_path(value: str) -> str:
    """Return the staging path of a stage or unstage."""
    return required("staging_target_path", value, MAX_PATH)


def published_staging_path(value: str) -> str:
    """Return the staging path of a publish; the specification has a code of its own for none."""
    if not value:
        raise FailedPrecondition("staging_target_path is missing; stage the volume first")
    return staging_path(value)


def access(
    message: csi_pb2.NodePublishVolumeRequest | csi_pb2.NodeStageVolumeRequest, read_only: bool
) -> Access:
    """Check the volume capability of a request.

    Raises:
        InvalidArgument: it is missing, or asks for what folders cannot do.
    """
    if not message.HasField("volume_capability"):
        raise InvalidArgument("volume_capability is missing")
    capability = message.volume_capability
    kind = capability.WhichOneof("access_type")
    if kind != "mount":
        raise InvalidArgument(
            f"volume_capability.access_type is {kind or 'missing'}; a folder can only be mounted"
        )
    mode = capability.access_mode.mode
    if mode not in _MODES:
        known = ", ".join(_Mode.Mode.Name(value) for value in sorted(_MODES))
        raise InvalidArgument(
            f"volume_capability.access_mode.mode {int(mode)} is not one of {known}"
        )
    flags = capability.mount.mount_flags
    if sum(len(flag) for flag in flags) > MAX_MOUNT_FLAGS:
        raise InvalidArgument(
            f"volume_capability.mount.mount_flags has more than {MAX_MOUNT_FLAGS} bytes"
        )
    return Access(
        parse_mount_flags(flags, read_only or mode in _READ_ONLY),
        mode == _Mode.SINGLE_NODE_SINGLE_WRITER,
    )


def check_context(context: Mapping[str, str]) -> None:
    """Accept only what Kubernetes itself adds to a volume context.

    Where a folder lies follows from its handle alone: a path in here would be a way round that.

    Raises:
        InvalidArgument: any other key.
    """
    for key in sorted(context):
        if not key.startswith(CONTEXT_PREFIXES):
            raise InvalidArgument(
                f"volume_context: key {key!r} is not allowed; VFolder volumes have no attributes "
                f"beyond those beginning with {' or '.join(CONTEXT_PREFIXES)}"
            )

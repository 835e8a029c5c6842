"""Everything a call can fail with, as one tree; each class knows its gRPC status code.

    CsiError
    ├── InvalidArgument       a field of the request is missing, too long or not allowed
    ├── NotFound              no such backend, folder or published volume
    ├── TargetTaken           something else is mounted there, or the same with other flags
    ├── FailedPrecondition    somebody must change something first
    │   └── RootLost          the backend's root mark is missing or another one
    ├── OperationPending      the same call is still under way
    ├── Unavailable           the storage or the API server does not answer: retry
    │   ├── DeadlineExceeded  it did not answer in time
    │   └── StageGone         a volume's stage has to be mounted again
    ├── ResourceExhausted     the node ran out of something
    ├── Unimplemented         a call this plugin does not offer
    └── Internal              a kernel call failed in a way nobody foresaw

The message goes to the caller, and from kubelet into an event that users read: it says what is
wrong and what to do, and never holds a secret.
"""

import errno
import os
from typing import ClassVar

import grpc


class CsiError(Exception):
    """Base of the tree."""

    code: ClassVar[grpc.StatusCode] = grpc.StatusCode.INTERNAL


class InvalidArgument(CsiError):
    """The message names the field, the value and what is allowed."""

    code = grpc.StatusCode.INVALID_ARGUMENT


class NotFound(CsiError):
    """What the volume handle or the path names is not there."""

    code = grpc.StatusCode.NOT_FOUND


class TargetTaken(CsiError):
    """A mount at the target that is not the one asked for; it is left alone."""

    code = grpc.StatusCode.ALREADY_EXISTS


class FailedPrecondition(CsiError):
    """The request is fine and the node, the backend or the storage is not."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class RootLost(FailedPrecondition):
    """The storage is not mounted, or another one is: nothing may be mounted from it."""


class OperationPending(CsiError):
    """A call for the same volume and path has not ended; the caller tries again later."""

    code = grpc.StatusCode.ABORTED


class Unavailable(CsiError):
    """Nobody answers now."""

    code = grpc.StatusCode.UNAVAILABLE


class DeadlineExceeded(Unavailable):
    """No answer in time; what was begun may still end."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED


class StageGone(Unavailable):
    """Nothing is mounted at the staging path, or what is has lost its server for good."""


class ResourceExhausted(CsiError):
    """No memory, file descriptors, mounts or space on the node."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED


class Unimplemented(CsiError):
    """The call is not among the announced capabilities."""

    code = grpc.StatusCode.UNIMPLEMENTED


class Internal(CsiError):
    """An unforeseen answer of the kernel; the message names the step and the errno."""


GONE: frozenset[int] = frozenset({errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN, errno.ESHUTDOWN})
"""What a mount answers whose server or session is gone for good: it must be mounted anew."""

_CLASSES: dict[int, type[CsiError]] = {
    errno.ENOENT: NotFound,
    errno.ENOTDIR: FailedPrecondition,
    errno.ELOOP: FailedPrecondition,
    errno.EXDEV: FailedPrecondition,
    errno.EACCES: FailedPrecondition,
    errno.EPERM: FailedPrecondition,
    errno.ENODEV: FailedPrecondition,
    errno.EIO: Unavailable,
    errno.ETIMEDOUT: Unavailable,
    errno.ECONNREFUSED: Unavailable,
    errno.EHOSTUNREACH: Unavailable,
    errno.ENETUNREACH: Unavailable,
    errno.EINTR: Unavailable,
    errno.EAGAIN: Unavailable,
    512: Unavailable,  # ERESTARTSYS: slips out of NFS calls that `umount -f` ended
    errno.ENOMEM: ResourceExhausted,
    errno.ENOSPC: ResourceExhausted,
    errno.EMFILE: ResourceExhausted,
    errno.ENFILE: ResourceExhausted,
}


def from_os_error(error: OSError, doing: str) -> CsiError:
    """Return the error of the tree that fits an errno; `doing` names the step and the path."""
    number = error.errno or 0
    kind = Unavailable if number in GONE else _CLASSES.get(number, Internal)
    return kind(f"{doing}: {os.strerror(number)} ({errno.errorcode.get(number, number)})")

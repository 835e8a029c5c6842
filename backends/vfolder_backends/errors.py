"""Everything that can go wrong on a storage, as one tree.

    BackendError
    ├── Misconfigured          the StorageBackend is wrong: wait until somebody edits it
    │   ├── RootMissing        the root directory is not there at all: not mounted into us
    │   ├── QuotaOff           the storage keeps no quotas, since somebody has to switch them on
    │   └── UnknownOption      a key in `parameters` that this backend does not have
    ├── Unavailable            the storage does not answer now: retry
    │   ├── DeadlineExceeded   it did not answer in time; whether it acted is unknown
    │   └── AnswerLost         the answer to a change got lost; whether it acted is unknown
    ├── PermissionDenied       our credentials or privileges do not suffice
    ├── RootLost               the root mark is missing or another one: nothing may be touched
    ├── NotOurs                the owner mark names somebody else, or there is none
    ├── DataMissing            a mark without its directory: what was made once is gone
    ├── PathConflict           something that is not our directory lies where ours belongs
    ├── NotFound               no such scope or folder
    ├── NotEmpty               a scope that still holds folders
    ├── NoSpace                the storage or the quota is full
    └── Unsupported            this storage cannot do that
        ├── LicenseMissing     it could with a licence
        └── VersionTooOld      it could with a newer release

Every error carries a `reason`, a CamelCase word that ends up in a status condition and as a metric
label, and a message that says what to do. No message ever holds a secret.
"""

from typing import ClassVar


class BackendError(Exception):
    """Base of the tree.

    Attributes:
        reason: CamelCase word for conditions and metrics.
        retryable: whether the same call may succeed later without anybody's help.
    """

    reason: ClassVar[str] = "BackendError"
    retryable: ClassVar[bool] = True


class Misconfigured(BackendError):
    """The StorageBackend object or its Secret cannot work as written."""

    reason = "Misconfigured"
    retryable = False


class RootMissing(Misconfigured):
    """The root directory does not exist where this process looks for it."""

    reason = "RootMissing"


class QuotaOff(Misconfigured):
    """Limits would not hold: quotas are off, and the message says how to switch them on."""

    reason = "QuotaOff"


class UnknownOption(Misconfigured):
    """A key in `parameters` that the backend does not have; the message names the nearest one."""

    reason = "UnknownOption"


class Unavailable(BackendError):
    """The storage or its management interface does not answer."""

    reason = "Unavailable"


class DeadlineExceeded(Unavailable):
    """A call passed its deadline; what it was doing may still happen."""

    reason = "DeadlineExceeded"


class AnswerLost(Unavailable):
    """A call went out and its answer never came; what it asked for may have been done."""

    reason = "AnswerLost"


class PermissionDenied(BackendError):
    """Credentials or process privileges do not suffice."""

    reason = "PermissionDenied"


class RootLost(BackendError):
    """The root mark is missing or another one: not mounted, or a different storage."""

    reason = "RootLost"


class NotOurs(BackendError):
    """The owner mark names somebody else, or data lies there without a mark."""

    reason = "NotOurs"
    retryable = False


class DataMissing(BackendError):
    """The mark says that the directory was made once, and it is not there."""

    reason = "DataMissing"


class PathConflict(BackendError):
    """A link, a file or something else lies where our directory belongs."""

    reason = "PathConflict"
    retryable = False


class NotFound(BackendError):
    """No such scope or folder on the storage."""

    reason = "NotFound"


class NotEmpty(BackendError):
    """The scope still holds folders."""

    reason = "NotEmpty"


class NoSpace(BackendError):
    """The file system, or the quota that applies to it, is full (ENOSPC or EDQUOT)."""

    reason = "NoSpace"


class Unsupported(BackendError):
    """This storage, version or licence cannot do that."""

    reason = "Unsupported"
    retryable = False


class LicenseMissing(Unsupported):
    """The array lacks the licence for its quotas."""

    reason = "LicenseMissing"


class VersionTooOld(Unsupported):
    """The array, or its interface, is older than what this backend speaks."""

    reason = "VersionTooOld"

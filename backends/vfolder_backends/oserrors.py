"""The one place where an `OSError` becomes a `BackendError`.

Inside `tree/` and the file-system drivers code works with plain `OSError`, because ENOENT and
EEXIST are how two actors notice each other. What is left when a call ends is translated here.
"""

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from vfolder_backends.errors import (
    BackendError,
    NoSpace,
    NotEmpty,
    PathConflict,
    PermissionDenied,
    Unavailable,
    Unsupported,
)

_KINDS: Final[Mapping[int, type[BackendError]]] = {
    errno.ENOSPC: NoSpace,
    errno.EDQUOT: NoSpace,
    # A link, a file, or (EXDEV, by openat2) a way out of the tree lies where a directory belongs.
    errno.ELOOP: PathConflict,
    errno.ENOTDIR: PathConflict,
    errno.EXDEV: PathConflict,
    errno.EACCES: PermissionDenied,
    errno.EPERM: PermissionDenied,
    errno.EROFS: PermissionDenied,
    errno.ENOTEMPTY: NotEmpty,
    errno.EOPNOTSUPP: Unsupported,
    errno.ENOSYS: Unsupported,
    errno.EIO: Unavailable,
    errno.ESTALE: Unavailable,
    errno.ENOTCONN: Unavailable,
    errno.ECONNABORTED: Unavailable,
    errno.ECONNREFUSED: Unavailable,
    errno.ECONNRESET: Unavailable,
    errno.EHOSTDOWN: Unavailable,
    errno.EHOSTUNREACH: Unavailable,
    errno.ENODEV: Unavailable,
    errno.ENXIO: Unavailable,
    errno.ESHUTDOWN: Unavailable,
    errno.ETIMEDOUT: Unavailable,
    errno.EAGAIN: Unavailable,
    errno.EMFILE: Unavailable,
    errno.ENFILE: Unavailable,
    errno.ENOMEM: Unavailable,
}


def backend_error(error: OSError, root: str) -> BackendError:
    """Return what `error`, met somewhere below `root`, means to the port's caller."""
    kind = _KINDS.get(error.errno or 0, BackendError)
    reason = os.strerror(error.errno) if error.errno else str(error)
    where = f"{root}: {error.filename}" if isinstance(error.filename, str) else root
    if kind is PathConflict:
        return kind(
            f"{where}: a link, a file or a mount lies where our directory belongs ({reason})"
        )
    return kind(f"{where}: {reason}")


@contextmanager
def translated(root: str) -> Iterator[None]:
    """Raise the `BackendError` in place of any `OSError` from inside."""
    try:
        yield
    except OSError as error:
        raise backend_error(error, root) from error

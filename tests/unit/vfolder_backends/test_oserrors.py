import errno

import pytest

from vfolder_backends.errors import (
    BackendError,
    NoSpace,
    NotEmpty,
    PathConflict,
    PermissionDenied,
    Unavailable,
    Unsupported,
)
from vfolder_backends.oserrors import translated


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.ENOSPC, NoSpace),
        (errno.EDQUOT, NoSpace),
        (errno.ELOOP, PathConflict),
        (errno.ENOTDIR, PathConflict),
        (errno.EACCES, PermissionDenied),
        (errno.EROFS, PermissionDenied),
        (errno.ENOTEMPTY, NotEmpty),
        (errno.EOPNOTSUPP, Unsupported),
        (errno.EIO, Unavailable),
        (errno.ESTALE, Unavailable),
        (errno.ENOTCONN, Unavailable),
        (errno.ENOENT, BackendError),
        (errno.EINVAL, BackendError),
    ],
)
def test_each_errno_has_its_meaning(code, kind):
    with (
        pytest.raises(BackendError, match="/backends/b: a/b: ") as caught,
        translated("/backends/b"),
    ):
        raise OSError(code, "text", "a/b")
    assert type(caught.value) is kind
    assert isinstance(caught.value.__cause__, OSError)


def test_other_errors_pass():
    with pytest.raises(KeyError), translated("/x"):
        raise KeyError

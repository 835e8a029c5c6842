import errno

import grpc
import pytest

from vfolder_csi import errors


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOENT, grpc.StatusCode.NOT_FOUND),
        (errno.ELOOP, grpc.StatusCode.FAILED_PRECONDITION),
        (errno.EPERM, grpc.StatusCode.FAILED_PRECONDITION),
        (errno.ESTALE, grpc.StatusCode.UNAVAILABLE),
        (errno.EIO, grpc.StatusCode.UNAVAILABLE),
        (errno.EMFILE, grpc.StatusCode.RESOURCE_EXHAUSTED),
        (errno.EDOM, grpc.StatusCode.INTERNAL),
    ],
)
def test_an_errno_becomes_a_code_and_a_sentence(number, code):
    error = errors.from_os_error(OSError(number, "text that may hold anything"), "opening x")
    assert error.code is code
    assert str(error).startswith("opening x: ")
    assert errno.errorcode[number] in str(error)
    assert "may hold anything" not in str(error)


def test_every_class_has_a_code_the_specification_knows():
    def below(kind):
        return {kind} | {found for sub in kind.__subclasses__() for found in below(sub)}

    drawn = errors.__doc__
    for kind in below(errors.CsiError):
        assert kind.__name__ in drawn
        assert isinstance(kind.code, grpc.StatusCode)

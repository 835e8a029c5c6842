"""Unix sockets: where they may be, who may already be on them, and how they are bound."""

import contextlib
import os
import socket
import stat
from collections.abc import Iterator
from typing import Final

_SCHEME: Final = "unix://"
_LONGEST: Final = 107
"""What fits into the kernel's socket address."""


class EndpointError(RuntimeError):
    """A socket cannot be served there; the message says why."""


def socket_path(endpoint: str) -> str:
    """Return the path of `unix:///path` or of a bare absolute path.

    Raises:
        EndpointError: it is neither, or longer than a socket's path may be.
    """
    path = endpoint.removeprefix(_SCHEME)
    if not path.startswith("/") or "\0" in path:
        raise EndpointError(f"endpoint {endpoint!r} is not unix:///absolute/path")
    if len(os.fsencode(path)) > _LONGEST:
        raise EndpointError(f"socket path {path!r} is longer than {_LONGEST} bytes")
    return path


def make_free(path: str) -> None:
    """Remove what a dead process left at a socket path.

    A live socket is never taken: its owner would lose its callers without noticing.

    Raises:
        EndpointError: somebody answers there, or it is not a socket.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise EndpointError(f"{path} exists and is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            return
        except OSError as error:
            raise EndpointError(f"{path} is in an unclear state: {error}") from error
    raise EndpointError(f"another process serves {path}; it is not taken from it")


@contextlib.contextmanager
def private_umask() -> Iterator[None]:
    """Let only our own user use the sockets that are bound inside.

    The mask is the whole process's: only for the start, when nothing else makes files.
    """
    before = os.umask(0o177)
    try:
        yield
    finally:
        os.umask(before)

"""How a backend gets at its tree: in the bounded pool, on a root whose mark was just compared."""

import errno
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Concatenate, Final, ParamSpec, TypeVar

from vfolder_backends.errors import RootLost
from vfolder_backends.oserrors import translated
from vfolder_backends.pool import BoundedPool
from vfolder_backends.tree import root as roots

P = ParamSpec("P")
T = TypeVar("T")

_STALE: Final = 8
"""How often a call begins again because what it worked on was removed."""


class RootAccess:
    """Runs functions on the root's descriptor; only `BackendError` comes out.

    Args:
        name: the backend's name, for messages.
        path: the root directory.
        size: how many calls may be under way.
        timeout: deadline of each call in seconds.
        read_only: whoever looks promises to change nothing, so a root without a mark will do.
    """

    def __init__(
        self, name: str, path: str, size: int, timeout: float, *, read_only: bool = False
    ) -> None:
        self.path = path
        self.timeout = timeout
        self._read_only = read_only
        self._pool = BoundedPool(name, size, timeout)
        self._root_id: str | None = None

    async def attach(
        self, root_id: str | None, check: Callable[[int], None], initialise: bool = True
    ) -> str:
        """Learn which root this is; see `port.StorageBackend.attach`.

        Args:
            root_id: the id it must have, None to take or write one.
            check: raises when the open root is not of the right kind; runs before anything is
                written.
            initialise: whether a root without a mark may get one.
        """
        self._root_id = await self._pool.run(self._attach, root_id, check, initialise)
        return self._root_id

    def _attach(self, root_id: str | None, check: Callable[[int], None], initialise: bool) -> str:
        with translated(self.path), roots.opened_root(self.path) as root:
            # An unmounted path fails both; that it is unmounted explains more than its kind.
            if root_id is not None:
                roots.compare(root, self.path, root_id)
            check(root)
            if root_id is None and (self._read_only or not initialise):
                root_id = roots.read_root_id(root)
                if root_id is None and self._read_only:
                    return ""
                if root_id is None:
                    raise RootLost(f"{self.path} has no root mark, and may not be given one")
            return root_id or roots.initialise(root)

    async def run(
        self, call: Callable[Concatenate[int, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `call` with the descriptor of the verified root before the other arguments.

        Raises:
            RootLost: the root is not the one that was attached.
            DeadlineExceeded: no answer in time.
        """
        return await self._pool.run(self._run, call, *args, **kwargs)

    def _run(
        self, call: Callable[Concatenate[int, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        if self._root_id is None:
            raise RootLost(f"{self.path}: nobody attached this backend yet")
        with translated(self.path):
            for _ in range(_STALE):
                # On NFS what another actor removed while we had it open is stale: whoever begins
                # again from the root sees what is there now.
                with _unless_stale(), self._opened() as root:
                    return call(root, *args, **kwargs)
            with self._opened() as root:
                return call(root, *args, **kwargs)

    def _opened(self) -> AbstractContextManager[int]:
        if self._root_id:
            return roots.verified_root(self.path, self._root_id)
        return roots.opened_root(self.path)  # read only, and there was no mark

    def close(self) -> None:
        """Take no more calls; never blocks."""
        self._pool.close()


@contextmanager
def _unless_stale() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.ESTALE:
            raise

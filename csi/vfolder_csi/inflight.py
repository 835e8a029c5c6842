"""One operation at a time per key, where a key is a volume and a path.

A caller may go away in the middle of a mount, and a mount cannot be stopped. So the body of a call
runs as a task of its own: the caller waits at most until its deadline, while the key stays taken
until the body has really ended. Whoever comes meanwhile is told to try again (ABORTED).
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from vfolder_csi.errors import CsiError, DeadlineExceeded, OperationPending

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(slots=True)
class _Taken:
    since: float = field(default_factory=time.monotonic)
    free: asyncio.Event = field(default_factory=asyncio.Event)


class InFlight:
    """The keys taken now."""

    def __init__(self) -> None:
        self._taken: dict[tuple[str, ...], _Taken] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    @asynccontextmanager
    async def hold(self, *key: str) -> AsyncIterator[None]:
        """Wait for a key and take it for the length of a block inside the body of `run`.

        The caller of `run` stops waiting at its deadline, so this wait needs none of its own.
        """
        while (taken := self._taken.get(key)) is not None:
            await taken.free.wait()
        self._taken[key] = _Taken()
        try:
            yield
        finally:
            self._taken.pop(key).free.set()

    async def run(
        self, key: tuple[str, ...], timeout: float, body: Callable[[], Coroutine[Any, Any, T]]
    ) -> T:
        """Run `body` under `key` and wait for it at most `timeout` seconds.

        When the wait ends early, by deadline or because the caller was cancelled, the body goes on
        and keeps the key.

        Raises:
            OperationPending: the key is taken; the body was not begun.
            DeadlineExceeded: the body has not ended yet.
        """
        where = " at ".join(key)
        if (taken := self._taken.get(key)) is not None:
            age = time.monotonic() - taken.since
            raise OperationPending(f"an operation on {where} has been under way for {age:.0f} s")
        self._taken[key] = _Taken()
        task = asyncio.create_task(body())
        self._tasks.add(task)
        task.add_done_callback(lambda ended: self._ended(key, ended))
        try:
            await asyncio.wait({task}, timeout=timeout)
        finally:
            if not task.done():
                task.add_done_callback(_log_late)
        if not task.done():
            raise DeadlineExceeded(
                f"no answer in {timeout:.0f} s; the operation on {where} goes on"
            )
        return task.result()

    def _ended(self, key: tuple[str, ...], task: asyncio.Task[Any]) -> None:
        self._taken.pop(key).free.set()
        self._tasks.discard(task)


def _log_late(task: asyncio.Task[Any]) -> None:
    if task.cancelled():
        return  # the process ends
    error = task.exception()
    logger.warning(
        "operation ended after its caller had gone",
        extra={"error": "none" if error is None else str(error)},
        exc_info=None if error is None or isinstance(error, CsiError) else error,
    )

"""A bounded set of threads for calls that a dead storage may never answer.

A system call on a hung NFS or CephFS mount cannot be interrupted. So the caller gets its deadline,
the thread stays behind and stays counted, and once every thread is behind, the backend says so at
once instead of collecting more of them. The threads are daemons of our own, because the standard
executor joins its threads when the interpreter ends, and one stuck thread would hold the process.
"""

import asyncio
import contextvars
import functools
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from vfolder_backends.errors import DeadlineExceeded, Unavailable

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(eq=False, slots=True)
class _Job:
    call: Callable[[], Any]
    future: asyncio.Future[Any]
    deadline: float  # in the loop's time


class BoundedPool:
    """Runs blocking calls for one backend; all state belongs to the event loop's thread.

    Args:
        name: the backend's name, for messages and thread names.
        size: how many calls may be under way; a call that waits for a place waits within its
            own deadline.
        timeout: deadline of each call in seconds.
    """

    def __init__(self, name: str, size: int, timeout: float) -> None:
        self._name = name
        self._size = size
        self._timeout = timeout
        self._places = asyncio.Semaphore(size)
        self._under_way: set[_Job] = set()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._threads = 0
        self._closed = False

    @property
    def stuck(self) -> int:
        """How many calls are past their deadline and still hold a thread."""
        if not self._under_way:
            return 0
        now = asyncio.get_running_loop().time()
        return sum(job.deadline <= now for job in self._under_way)

    async def run(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `call` in a thread and return what it returns.

        Raises:
            DeadlineExceeded: no place was free, or the call did not end, in time. It may still act.
            Unavailable: the pool is closed, or every thread is stuck.
        """
        if self._closed:
            raise Unavailable(f"backend {self._name!r} is closed")
        if self.stuck >= self._size:
            raise Unavailable(
                f"backend {self._name!r}: all {self._size} calls under way are past their deadline;"
                " the storage does not answer"
            )
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout
        limit = asyncio.timeout_at(deadline)
        try:
            async with limit:
                await self._places.acquire()
                bound = functools.partial(call, *args, **kwargs)
                return await self._start(loop, bound, deadline)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise DeadlineExceeded(
                f"backend {self._name!r}: no answer from the storage within {self._timeout:g} s"
            ) from error

    def _start(
        self, loop: asyncio.AbstractEventLoop, call: Callable[[], T], deadline: float
    ) -> asyncio.Future[T]:
        context = contextvars.copy_context()
        job = _Job(functools.partial(context.run, call), loop.create_future(), deadline)
        self._under_way.add(job)
        self._jobs.put(job)
        if self._threads < len(self._under_way):
            self._threads += 1
            name = f"{self._name}-{self._threads}"
            threading.Thread(target=self._work, args=(loop,), name=name, daemon=True).start()
        return job.future

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        while (job := self._jobs.get()) is not None:
            result, failure = None, None
            try:
                result = job.call()
            except BaseException as error:  # noqa: BLE001 - carried to the caller, as executors do
                failure = error
            try:
                loop.call_soon_threadsafe(self._finish, job, result, failure)
            except RuntimeError:
                return  # the loop was closed while we were away; nobody waits any more

    def _finish(self, job: _Job, result: object, failure: BaseException | None) -> None:
        self._under_way.discard(job)
        self._places.release()
        if job.future.done():
            return  # the caller left at its deadline
        if failure is None:
            job.future.set_result(result)
        else:
            job.future.set_exception(failure)

    def close(self) -> None:
        """Take no more calls and let idle threads end; a stuck one is left to itself."""
        self._closed = True
        for _ in range(self._threads):
            self._jobs.put(None)

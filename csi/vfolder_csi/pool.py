"""Blocking calls on paths that a dead server may hang, kept from hanging anything else.

Each call gets a thread of its own, because a thread that waits for a dead server cannot be taken
back. Calls are counted per lane (a backend and a kind of work): a lane has few threads, and one
whose threads are all stuck refuses at once, so a dead server costs a bounded number of threads and
no other lane waits for it. The threads are daemons: they never hold up the end of the process.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from vfolder_csi.errors import DeadlineExceeded, ResourceExhausted, Unavailable

T = TypeVar("T")

LANE_WIDTH: Final = 8


@dataclass(slots=True)
class _Lane:
    slots: asyncio.Semaphore
    users: int = 0
    overdue: dict[object, float] = field(default_factory=dict)


class Pool:
    """Runs blocking functions in threads, a few per lane."""

    def __init__(self, width: int = LANE_WIDTH) -> None:
        self._width = width
        self._lanes: dict[str, _Lane] = {}

    async def run(
        self,
        lane: str,
        timeout: float | None,
        call: Callable[[], T],
        late: Callable[[T], None] | None = None,
    ) -> T:
        """Run `call` in a thread and wait for it at most `timeout` seconds.

        Args:
            lane: what hangs together, such as `scratch/publish`.
            timeout: in seconds, with the wait for a free thread. None waits to the end: for calls
                that change something, and whose key must stay taken as long as they may.
            call: the blocking function.
            late: what to do with a result nobody waits for any more, such as closing a descriptor.

        Raises:
            ResourceExhausted: the node has no thread left.
            Unavailable: all threads of the lane are stuck.
            DeadlineExceeded: no answer in time; the call goes on in its thread.
        """
        state = self._lanes.setdefault(lane, _Lane(asyncio.Semaphore(self._width)))
        if len(state.overdue) >= self._width:
            age = time.monotonic() - min(state.overdue.values())
            raise Unavailable(
                f"{lane}: the storage has not answered {len(state.overdue)} calls, "
                f"the oldest for {age:.0f} s"
            )
        state.users += 1
        future: asyncio.Future[T] | None = None
        begun = time.monotonic()
        try:
            async with asyncio.timeout(timeout):
                await state.slots.acquire()
                future = self._start(lane, state, call)
                await asyncio.wait({future})
        except TimeoutError:
            if future is None or not future.done():
                what = "no free thread" if future is None else "the storage did not answer"
                raise DeadlineExceeded(f"{lane}: {what} in {timeout:.1f} s") from None
        except asyncio.CancelledError:
            if future is not None and late is not None and future.done():
                _dispose(future, late)
            raise
        finally:
            if future is None:
                self._leave(lane, state)
            elif not future.done():
                state.overdue[future] = begun
                if late is not None:
                    future.add_done_callback(lambda ended: _dispose(ended, late))
        return future.result()

    def _start(self, lane: str, state: _Lane, call: Callable[[], T]) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def end(result: T | None, error: BaseException | None) -> None:
            state.slots.release()
            state.overdue.pop(future, None)
            self._leave(lane, state)
            if error is not None:
                future.set_exception(error)
                future.exception()  # fetched here, so that a late error is not warned about
            else:
                future.set_result(result)  # type: ignore[arg-type]  # T may itself be None

        def work() -> None:
            result: T | None = None
            error: BaseException | None = None
            try:
                result = call()
            except BaseException as raised:  # noqa: BLE001  # handed over to the waiter
                error = raised
            try:
                loop.call_soon_threadsafe(end, result, error)
            except RuntimeError:
                return  # the loop has ended while the call hung: nobody is left to tell

        try:
            threading.Thread(target=work, name=f"pool-{lane}", daemon=True).start()
        except RuntimeError as error:
            state.slots.release()
            raise ResourceExhausted("the node plugin cannot start another thread") from error
        return future

    def _leave(self, lane: str, state: _Lane) -> None:
        state.users -= 1
        if state.users == 0:
            self._lanes.pop(lane, None)


def _dispose(ended: asyncio.Future[T], late: Callable[[T], None]) -> None:
    if not ended.cancelled() and ended.exception() is None:
        late(ended.result())

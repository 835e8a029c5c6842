"""Blocking steps and walks, with a deadline for each answer of the file system.

A walk may take hours, a single answer may not: work is done in slices of a fraction of a second in
the bounded pool, and a slice that does not come back in time means that the storage hangs.
"""

import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import Final, ParamSpec, TypeVar

from vfolder_backends.oserrors import translated
from vfolder_backends.pool import BoundedPool

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")

_SLICE_SECONDS: Final = 0.2
_SLICE_ITEMS: Final = 512


class Pace:
    """Runs what blocks below one root.

    Args:
        where: the root's path, for messages.
        timeout: seconds within which the file system has to answer.
    """

    def __init__(self, where: str, timeout: float) -> None:
        self._where = where
        self._pool = BoundedPool(where, 2, timeout)

    async def run(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run one step; only `BackendError` and the step's own errors come out."""
        return await self._pool.run(self._translated, call, *args, **kwargs)

    def _translated(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        with translated(self._where):
            return call(*args, **kwargs)

    async def each(self, items: Iterator[T]) -> AsyncIterator[T]:
        """Yield what a blocking iterator yields, drawn in slices."""
        while True:
            drawn, more = await self.run(_draw, items)
            for item in drawn:
                yield item
            if not more:
                return

    async def result(self, work: Generator[T, None, R], tell: Callable[[T], None]) -> R:
        """Run a blocking generator to its end and return what it returns; yields go to `tell`."""
        outcome: list[R] = []

        def items() -> Iterator[T]:
            outcome.append((yield from work))

        async for item in self.each(items()):
            tell(item)
        return outcome[0]

    def close(self) -> None:
        """Take no more steps; never blocks."""
        self._pool.close()


def _draw(items: Iterator[T]) -> tuple[list[T], bool]:
    end, drawn = time.monotonic() + _SLICE_SECONDS, []
    for item in items:
        drawn.append(item)
        if len(drawn) == _SLICE_ITEMS or time.monotonic() > end:
            return drawn, True
    return drawn, False

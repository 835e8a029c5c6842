"""Kills a backend at the n-th step that changes something, in a process of its own.

The steps are counted by Python's audit events, which the interpreter raises before each mutating
call of the `os` module: production code knows nothing of it.
"""

import asyncio
import multiprocessing
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Final

from vfolder_backends.port import StorageBackend
from vfolder_backends.testing.storages import StorageUnderTest

_MUTATING: Final = {
    "os.chmod",
    "os.chown",
    "os.link",
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.setxattr",
    "os.symlink",
    "os.truncate",
}
_WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_TIMEOUT: Final = 60.0

Operation = Callable[[StorageBackend], Awaitable[object]]


def run_and_kill(storage: StorageUnderTest, operation: Operation, step: int) -> bool:
    """Run `operation` on a fresh backend in a fresh process; kill it before its step `step`.

    Args:
        storage: can be pickled.
        operation: attaches the backend itself; can be pickled.
        step: counts from 1.

    Returns:
        Whether it was killed; False means that the operation has fewer steps, and succeeded.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "vfolder_backends.backend", "pytest"])
    child = context.Process(target=_live_dangerously, args=(storage, operation, step), daemon=True)
    child.start()
    child.join(_TIMEOUT)
    assert child.exitcode in (0, -signal.SIGKILL), f"exit status {child.exitcode} at step {step}"
    return child.exitcode != 0


def _live_dangerously(storage: StorageUnderTest, operation: Operation, step: int) -> None:
    steps = 0

    def count(event: str, args: tuple[object, ...]) -> None:
        nonlocal steps
        if event == "open":
            flags = args[2]
            if not isinstance(flags, int) or not flags & _WRITING:
                return
        elif event not in _MUTATING:
            return
        steps += 1
        if steps == step:
            os.kill(os.getpid(), signal.SIGKILL)

    backend = storage.build()
    sys.addaudithook(count)
    asyncio.run(_run(backend, operation))


async def _run(backend: StorageBackend, operation: Operation) -> None:
    await operation(backend)

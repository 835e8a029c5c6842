"""Stops a backend at the n-th step that changes something: for good, or while somebody else acts.

The backend runs in a process of its own. Its steps are counted by Python's audit events, which
the interpreter raises before each mutating call of `os`: production code knows nothing of it.
"""

import asyncio
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Final

from vfolder_backends.errors import BackendError
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
_TIMEOUT: Final = 30.0
_REFUSED: Final = 3

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
    child = _start(storage, operation, step, signal.SIGKILL)
    child.join(_TIMEOUT)
    assert child.exitcode in (0, -signal.SIGKILL), f"exit status {child.exitcode} at step {step}"
    return child.exitcode != 0


async def run_and_stop(
    storage: StorageUnderTest,
    operation: Operation,
    step: int,
    meanwhile: Callable[[], Awaitable[object]],
) -> bool:
    """Run `operation` as above, but hold it before its step `step` until `meanwhile` is done.

    What a leader suffers whose process, node or clock stood still. Afterwards it goes on, and may
    succeed or be refused with a `BackendError`.

    Returns:
        Whether it was held; False means that the operation has fewer steps.
    """
    child = _start(storage, operation, step, signal.SIGSTOP)
    try:
        held = await asyncio.to_thread(_wait_for_stop, child)
        await meanwhile()
    finally:
        if child.is_alive() and child.pid is not None:
            os.kill(child.pid, signal.SIGCONT)
        await asyncio.to_thread(child.join, _TIMEOUT)
    assert child.exitcode in (0, _REFUSED), f"exit status {child.exitcode} at step {step}"
    return held


def _wait_for_stop(child: ForkServerProcess) -> bool:
    deadline = time.monotonic() + _TIMEOUT
    while child.is_alive():
        # The third field, after a name in parentheses that may hold anything.
        try:
            state = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            break
        if state == "T":
            return True
        assert time.monotonic() < deadline, "the process neither ends nor stops"
        time.sleep(0.002)
    return False


def _start(
    storage: StorageUnderTest, operation: Operation, step: int, how: signal.Signals
) -> ForkServerProcess:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "vfolder_backends.backend", "pytest"])
    child = context.Process(
        target=_live_dangerously, args=(storage, operation, step, how), daemon=True
    )
    child.start()
    return child


def _live_dangerously(
    storage: StorageUnderTest, operation: Operation, step: int, how: signal.Signals
) -> None:
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
            # To this very thread: another one could let it run on for a moment.
            signal.pthread_kill(threading.get_ident(), how)

    backend = storage.build()
    sys.addaudithook(count)
    try:
        asyncio.run(_run(backend, operation))
    except BackendError:
        sys.exit(_REFUSED)


async def _run(backend: StorageBackend, operation: Operation) -> None:
    await operation(backend)

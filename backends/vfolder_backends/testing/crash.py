"""Stops a backend at the n-th step that changes something: for good, or while somebody else acts.

The backend runs in a process of its own. Its steps are counted by Python's audit events, which
the interpreter raises before each mutating call of `os`: production code knows nothing of it, but
for a call of its own that changes something, before which it raises such an event as well.

A process to be killed is made for each step, by a server that has all modules loaded; one process
is held again and again, since that is what most of the steps are for.
"""

import asyncio
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Final

from vfolder_backends.errors import BackendError
from vfolder_backends.port import StorageBackend
from vfolder_backends.projects import syscalls
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
    syscalls.QUOTA_CHANGE,
    "vfolder.journal",  # ours: a journal's next line
}
_WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_TIMEOUT: Final = 30.0
_HELD, _DONE, _REFUSED = "held", "done", "refused"

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
    child = _context(storage).Process(target=_die, args=(storage, operation, step), daemon=True)
    child.start()
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
    worker = _Worker.of(storage)
    worker.begin(storage, operation, step)
    said = _HELD
    try:
        said = await asyncio.to_thread(worker.hear)
        if said == _HELD:
            await asyncio.to_thread(worker.wait_until_stopped)
        await meanwhile()
    finally:
        if said == _HELD:
            worker.go_on()
            end = await asyncio.to_thread(worker.hear)
            assert end in (_DONE, _REFUSED), f"at step {step}: {end}"
    assert said in (_HELD, _DONE, _REFUSED), f"before step {step}: {said}"
    return said == _HELD


class _Worker:
    """The process that is held; one for each kind of storage, made anew if it died."""

    _only: "_Worker | None" = None

    def __init__(self, storage: StorageUnderTest) -> None:
        context = _context(storage)
        self._storage = type(storage)
        self._connection, theirs = context.Pipe()
        self._process: ForkServerProcess = context.Process(
            target=_serve, args=(theirs,), daemon=True
        )
        self._process.start()
        theirs.close()

    @classmethod
    def of(cls, storage: StorageUnderTest) -> "_Worker":
        """The worker, started with what this storage needs if there is none."""
        if cls._only is not None and not cls._only._fits(storage):
            cls._only._end()
            cls._only = None
        if cls._only is None:
            cls._only = cls(storage)
        return cls._only

    def _fits(self, storage: StorageUnderTest) -> bool:
        return self._storage is type(storage) and self._process.is_alive()

    def _end(self) -> None:
        self._connection.close()
        self._process.join(_TIMEOUT)

    def begin(self, storage: StorageUnderTest, operation: Operation, step: int) -> None:
        """Let it run an operation up to a step."""
        self._connection.send((storage, operation, step))

    def hear(self) -> str:
        """Wait for what it says."""
        assert self._connection.poll(_TIMEOUT), "the process neither ends nor stops"
        said: str = self._connection.recv()
        return said

    def wait_until_stopped(self) -> None:
        """Wait from its word that it will stop to the stop itself."""
        deadline = time.monotonic() + _TIMEOUT
        # The third field, after a name in parentheses that may hold anything.
        stat = Path(f"/proc/{self._process.pid}/stat")
        while stat.read_text().rpartition(")")[2].split()[0] != "T":
            assert time.monotonic() < deadline, "the process does not stop"
            time.sleep(0.002)

    def go_on(self) -> None:
        """End the stop."""
        assert self._process.pid is not None
        os.kill(self._process.pid, signal.SIGCONT)


def _context(storage: StorageUnderTest) -> ForkServerContext:
    """Child processes by a server that imports once what they need.

    It starts with the first child, so a session with several storages is prepared for the first of
    them, and the others' children import the rest themselves.
    """
    context = multiprocessing.get_context("forkserver")
    kind = getattr(storage, "kind", "")
    modules = ("vfolder_backends.testing.conformance", f"vfolder_backends.vendors.{kind}.backend")
    context.set_forkserver_preload(["__main__", *modules, type(storage).__module__])
    return context


class _Steps:
    """Counts what changes something; calls `reached` before step `step`."""

    def __init__(self, reached: Callable[[], None]) -> None:
        self._reached = reached
        self._left = 0
        sys.addaudithook(self._count)

    def expect(self, step: int) -> None:
        """Begin to count anew."""
        self._left = step

    def _count(self, event: str, args: tuple[object, ...]) -> None:
        if event == "open":
            flags = args[2]
            if not isinstance(flags, int) or not flags & _WRITING:
                return
        elif event == "fcntl.ioctl":
            if args[1] != syscalls.FS_IOC_FSSETXATTR:
                return
        elif event not in _MUTATING:
            return
        self._left -= 1
        if self._left == 0:
            self._reached()


def _stop_here(number: signal.Signals) -> None:
    # To this very thread: another one could let it run on for a moment.
    signal.pthread_kill(threading.get_ident(), number)


def _die(storage: StorageUnderTest, operation: Operation, step: int) -> None:
    backend = storage.build()
    _Steps(lambda: _stop_here(signal.SIGKILL)).expect(step)
    asyncio.run(_run(backend, operation))


def _serve(connection: Connection) -> None:
    def hold() -> None:
        connection.send(_HELD)
        _stop_here(signal.SIGSTOP)

    steps = _Steps(hold)
    while True:
        try:
            storage, operation, step = connection.recv()
        except EOFError:
            return
        backend = storage.build()
        steps.expect(step)
        try:
            asyncio.run(_run(backend, operation))
            said = _DONE
        except BackendError:
            said = _REFUSED
        except Exception:  # noqa: BLE001 - told to the test, which fails
            said = traceback.format_exc()
        steps.expect(0)
        connection.send(said)


async def _run(backend: StorageBackend, operation: Operation) -> None:
    try:
        await operation(backend)
    finally:
        await backend.close()

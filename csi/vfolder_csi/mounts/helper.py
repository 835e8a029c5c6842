"""Runs the mount program of a file system that the kernel cannot mount by itself, such as NFS."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping
from typing import Final

from vfolder_csi.errors import (
    CsiError,
    DeadlineExceeded,
    FailedPrecondition,
    NotFound,
    Unavailable,
)
from vfolder_csi.mounts.network import MountPlan

_LONGEST_MESSAGE: Final = 512
_MEANINGS: Final[Mapping[str, type[CsiError]]] = {
    "No such file or directory": NotFound,
    "timed out": Unavailable,
    "Connection refused": Unavailable,
    "No route to host": Unavailable,
    "Network is unreachable": Unavailable,
}
_ENVIRONMENT: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}


async def run_helper(plan: MountPlan, target: str, timeout: float) -> None:
    """Mount by the plan's helper program; it is killed when not done in `timeout` seconds.

    Returns or raises only when the program has ended, so that the caller's key stays taken while
    it may still mount something.

    Raises:
        NotFound: the server has no such folder.
        Unavailable: the server does not answer, the program says.
        FailedPrecondition: the program refused; the message is its own.
        DeadlineExceeded: it was killed.
    """
    if plan.helper is None:
        raise ValueError(f"{plan.fs_type} is mounted without a helper")
    process = await asyncio.create_subprocess_exec(
        plan.helper,
        plan.source,
        target,
        "-o",
        plan.data,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=_ENVIRONMENT,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(timeout):
            output, _ = await process.communicate()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        raise DeadlineExceeded(
            f"mounting {plan.source}: {plan.helper} did not end in {timeout:.0f} s and was killed"
        ) from None
    if process.returncode == 0:
        return
    said = " ".join(output.decode(errors="replace").split())[:_LONGEST_MESSAGE]
    kind = next((kind for words, kind in _MEANINGS.items() if words in said), FailedPrecondition)
    status = process.returncode
    raise kind(f"mounting {plan.source}: {plan.helper} ended with {status}: {said or 'silence'}")

"""Taking down whatever a state folder has started, from the folder alone.

Nothing here trusts that the rig ended in order: processes are found by their mark and by cgroup,
mounts by the kernel's table, namespaces and cgroups by the tag in their names.
"""

import contextlib
import time
from collections.abc import Iterator

from e2e.cluster import cgroups, commands, mounts, network, state
from e2e.cluster.errors import NotUp, RigError
from e2e.cluster.processes import Identity, find_marked, kill_all
from e2e.cluster.state import Kind, State

_PATIENCE = 20.0


def take_down(target: State) -> None:
    """Remove everything of a state; nothing if it is down.

    Raises:
        RigError: something survived; its folder is kept, so that another try is possible.
    """
    with contextlib.suppress(NotUp), target.locked():
        _dismantle(target)


@contextlib.contextmanager
def on_failure(target: State) -> Iterator[None]:
    """Take everything down if the body does not end well; the caller holds the lock."""
    try:
        yield
    except BaseException:
        _dismantle(target)
        raise


def remove_abandoned() -> None:
    """Take down what belonged to test sessions that are dead."""
    for kind in Kind:
        for one in state.load_all(kind):
            if one.abandoned():
                take_down(one)


def _dismantle(target: State) -> None:
    survivors = _kill(target)
    mounts.detach_below(target.folder)
    if survivors:
        # A process that hung on one of the mounts can end now.
        survivors = _kill(target)
    if survivors:
        pids = ", ".join(str(one.pid) for one in survivors)
        raise RigError(
            f"{target.kind} {target.name!r}: processes {pids} do not end; they may wait for a "
            "storage that does not answer: take that down, then try again"
        )
    network.delete_namespaces(target.tag)
    cgroups.remove(target.tag)
    # rm rather than shutil.rmtree: it can promise not to enter another file system.
    commands.run("rm", "-rf", "--one-file-system", "--", target.folder, timeout=120)


def _kill(target: State) -> list[Identity]:
    """SIGKILL everything of the state until no new process turns up; return what does not end."""
    end = time.monotonic() + _PATIENCE
    while True:
        targets = find_marked(target.folder) + cgroups.processes(target.tag)
        survivors = kill_all(targets, timeout=5)
        if not targets or (survivors and time.monotonic() > end):
            return survivors

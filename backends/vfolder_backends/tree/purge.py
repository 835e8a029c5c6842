"""Emptying the trash of a scope: oldest first, within a budget, resumable wherever it was killed.

A folder first gets the name from which there is no way back. It is emptied; then index entry and
mark go; and its empty directory goes last. So a mark without a directory always means lost data,
never a purge cut short, and an empty `.purge-` directory without a mark is only a name to remove.
"""

import errno
import os
from contextlib import suppress
from typing import Final

from vfolder_backends.driver import Freezing
from vfolder_backends.engine.budget import Budget
from vfolder_backends.engine.helpers import HELPERS
from vfolder_backends.engine.removal import remove_contents
from vfolder_backends.errors import BackendError, NotEmpty, NotOurs
from vfolder_backends.ids import FolderHex, ScopeHex
from vfolder_backends.layout import Aside, AsideName
from vfolder_backends.openat import directory
from vfolder_backends.port import PurgePolicy, PurgeResult
from vfolder_backends.tree import clones, files, marks, places
from vfolder_backends.tree.marks import Mark

_STILL_OPEN: Final = ".nfs"
_SHOWN: Final = 3


def purge(
    root: int,
    scope: ScopeHex,
    policy: PurgePolicy,
    stop_at: float,
    freezing: Freezing | None = None,
) -> PurgeResult:
    """Remove the trash that the policy names, and finish what an earlier purge began.

    A folder that resists, or is somebody else's, does not hold up the others; its error is raised
    at the end.

    Args:
        root: the root's descriptor.
        scope: whose trash.
        policy: which trash, and how many entries.
        stop_at: `time.monotonic()` after which nothing more is begun.
        freezing: how the storage holds folders still; they cannot be removed while it does.
    """
    files.sweep_temporaries(root)
    budget = Budget(policy.budget, stop_at, rate=policy.per_second)
    folders, disturbed = 0, False
    failures: list[OSError | BackendError] = []
    for folder, aside in places.asides_in(root, scope):
        try:
            mark = marks.read_mark(root, scope, folder.value)
            if mark is None:
                _drop_leftover(root, scope, folder, aside)
                continue
            expires = None if mark.keep is None else aside.since + mark.keep
            if aside.why is Aside.TRASH and not policy.due(folder, aside.since, expires):
                continue
            if policy.cluster not in (None, mark.owner.cluster):
                raise NotOurs(f"folder {scope}/{folder} in the trash belongs to {mark.owner}")
            if budget.spent:
                return PurgeResult(folders, budget.removed, more=True)
            if _purge_one(root, scope, folder, mark, aside, budget, freezing):
                folders += 1
            else:
                return PurgeResult(folders, budget.removed, more=True)
        except FileNotFoundError:
            continue  # restored, or another purge was quicker
        except (OSError, BackendError) as error:
            if isinstance(error, OSError) and error.errno == errno.ESTALE:
                disturbed = True  # on NFS: another purge took away what we had open
                continue
            failures.append(_explained(error, scope, folder))
    if failures:
        raise failures[0]
    return PurgeResult(folders, budget.removed, more=disturbed)


def _explained(
    error: OSError | BackendError, scope: ScopeHex, folder: FolderHex
) -> OSError | BackendError:
    if not isinstance(error, OSError) or error.errno != errno.EBUSY:
        return error
    # NFS gives what is removed while a process here has it open a name, until it is closed.
    if not str(error.filename).startswith(_STILL_OPEN):
        return error
    return BackendError(
        f"folder {scope}/{folder} in the trash: {error.filename} is still open in a process on this"
        " machine; it is removed when that has closed it"
    )


def _purge_one(
    root: int,
    scope: ScopeHex,
    folder: FolderHex,
    mark: Mark,
    aside: AsideName,
    budget: Budget,
    freezing: Freezing | None,
) -> bool:
    if aside.why is Aside.TRASH:
        doomed = AsideName(Aside.PURGE, aside.leaf, aside.since)
        aside = places.move_aside(root, scope, folder, str(aside), doomed)
    with places.opened(root, scope, folder, str(aside)) as top:
        try:
            if not remove_contents(top, budget, HELPERS):
                return False
        except OSError as error:
            if error.errno == errno.ENOTEMPTY:
                raise _held(top, str(error.filename), scope, folder, freezing) from error
            raise
        if freezing is not None:
            freezing.thaw(top)  # of a clone that is not complete yet, and now cannot be
    return _finish(root, scope, folder, mark, aside, freezing)


def _finish(
    root: int,
    scope: ScopeHex,
    folder: FolderHex,
    mark: Mark,
    aside: AsideName,
    freezing: Freezing | None,
) -> bool:
    place = places.look(root, scope, folder)
    others = place.live or place.unfinished or any(a != aside for a in place.asides)
    if not others:
        clones.discard(root, scope, folder, freezing)
        places.retire(root, scope, folder, mark, aside)
    with directory(root, places.prefix_path(scope, folder)) as prefix:
        gone = files.remove_if_empty(prefix, str(aside))
    if not gone:
        places.remark(root, scope, folder, mark)
        with places.opened(root, scope, folder, str(aside)) as top:
            if os.listdir(top):  # somebody who still had it open wrote into it
                return False
            raise _held(top, ".", scope, folder, freezing)
    places.remove_prefix(root, scope, folder)
    return True


def _held(
    top: int, path: str, scope: ScopeHex, folder: FolderHex, freezing: Freezing | None
) -> NotEmpty:
    """What keeps a directory that lists nothing from being removed."""
    names: list[str] = []
    if freezing is not None:
        with suppress(FileNotFoundError), directory(top, path) as held:
            names = freezing.others(held)
    where = f"folder {scope}/{folder} in the trash" + ("" if path == "." else f": {path}")
    if not names:
        return NotEmpty(f"{where} lists nothing and is not empty: it may have snapshots")
    shown = ", ".join(map(repr, names[:_SHOWN]))
    return NotEmpty(
        f"{where} has snapshots that somebody else made ({shown}); it is removed when they are"
    )


def _drop_leftover(root: int, scope: ScopeHex, folder: FolderHex, aside: AsideName) -> None:
    """Remove the empty name that a purge may leave; anything unmarked with content is not ours."""
    if aside.why is Aside.PURGE:
        with (
            suppress(FileNotFoundError),
            directory(root, places.prefix_path(scope, folder)) as prefix,
        ):
            if files.remove_if_empty(prefix, str(aside)):
                places.remove_prefix(root, scope, folder)

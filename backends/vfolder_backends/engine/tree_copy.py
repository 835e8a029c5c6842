"""A faithful copy of a tree: links as links, hard links among its names, holes, attributes, ACLs.

It keeps no notes on the storage, because what lies there tells enough. A directory is made before
what it holds, a file's time of change is set last, and its length grows in order. So a name with
the source's length and time is finished, whoever wrote it, and after a kill the rest is done again.
A cursor saves looking at what is finished. Directories get their attributes in a second pass, when
nothing changes their times any more.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from vfolder_backends.engine import attributes
from vfolder_backends.engine.copying import Copier, Finisher
from vfolder_backends.engine.helpers import HELPERS, HelpedWalk, Recipe
from vfolder_backends.engine.problems import Problems
from vfolder_backends.engine.spans import Cursor
from vfolder_backends.engine.stop import Stop
from vfolder_backends.engine.walk import Report, Walk

_DEFAULT_ACL: Final = "system.posix_acl_default"


@dataclass(frozen=True, slots=True)
class Copied:
    """How far a copy is.

    Attributes:
        entries: names in the target that are finished, found finished or made; its top not counted.
        bytes: of their data, holes included, as the sizes say.
        problems: what is not in the target, by reason, or not as in the source, as
            `owner: EPERM`. Sockets are never copied; devices only with the privilege to make them.
        cursor: where to go on; None when the copy is finished.
    """

    entries: int
    bytes: int
    problems: Problems
    cursor: str | None

    @property
    def done(self) -> bool:
        """Whether the copy is finished."""
        return self.cursor is None

    @property
    def faithful(self) -> bool:
        """Whether it is finished and nothing was left out."""
        return self.done and not self.problems


def copy_contents(
    source: int,
    target: int,
    *,
    stop: Stop | None = None,
    cursor: str | None = None,
    helpers: int = HELPERS,
    held: Sequence[int] = (),
    report: Callable[[Copied], None] | None = None,
    report_every: float = 1.0,
) -> Copied:
    """Make the open directory `target` like the open directory `source`, itself included.

    What lies in the target already is taken for what an earlier call made: finished if it looks
    so, else replaced. Nobody else may write into the target. Names that lie only in the target
    stay.

    Args:
        source: open for reading; on another file system or on the same.
        target: an existing directory.
        stop: when to stop.
        cursor: where an earlier call stopped, or was when it last reported. Without it everything
            is looked at again, which is correct and costs two looks for each entry.
        helpers: how many processes help when it takes longer than they need to start.
        held: descriptors that helpers keep open until they end, as with a lock on the target.
        report: told how far the copy is, with a cursor that is good for a kill at any later time.
        report_every: seconds between two reports.

    Raises:
        ValueError: the cursor is none.
        OSError: the target has no room (ENOSPC, EDQUOT), or refuses writing; the source's own
            top cannot be read.
    """
    stop = stop or Stop()
    at = Cursor.load(cursor) if cursor is not None else Cursor(state=["copy", None])
    phase, state = at.state

    def telling(phase: str) -> Report | None:
        if report is None:
            return None
        return lambda now: report(_copied(phase, now))

    if phase == "copy":
        # It would be inherited by all that is made here; the source's own comes last.
        if _DEFAULT_ACL in attributes.xattrs(target):
            os.removexattr(target, _DEFAULT_ACL)
        copier = Copier(source, target, stop, state)
        start = Cursor(at.spans, state)
        tell = telling("copy")
        recipe = Recipe("copying", (target,), held=held)
        now = HelpedWalk(source, copier, stop, start, helpers, recipe, tell, report_every).run()
        if not now.done:
            return _copied("copy", now)
        at, state = Cursor(), copier.summary()
    finisher = Finisher(target, state)
    start = Cursor(at.spans, state)
    now = Walk(source, finisher, stop, start, 1, telling("finish"), report_every).run()
    return _copied("finish", now)


def _copied(phase: str, now: Cursor) -> Copied:
    entries, size, problems = now.state[:3]
    text = None if phase == "finish" and now.done else Cursor(now.spans, [phase, now.state]).dump()
    return Copied(entries, size, Problems.restored(problems), text)

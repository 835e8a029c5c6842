"""The two passes of a copy: entries with their data, then the attributes of directories."""

import os
import threading
from collections.abc import Sequence
from typing import Any, Final

from vfolder_backends.engine import attributes
from vfolder_backends.engine.descent import Descent
from vfolder_backends.engine.entries import Born, Linked, Maker
from vfolder_backends.engine.problems import VANISHED, Problems, described, reason_of
from vfolder_backends.engine.spans import Path
from vfolder_backends.engine.stop import Stop, Stopped
from vfolder_backends.engine.visit import Entry, Kind, read_entries
from vfolder_backends.engine.walk import Deed, Handler

_FILE: Final = Kind.FILE


class _Own(threading.local):
    descent: Descent | None = None


class _Pass(Handler[Entry]):
    """Both passes walk the source and reach the same places in the target."""

    def __init__(self, target: int, state: Any) -> None:
        super().__init__()
        self._target = target
        self._own = _Own()
        self.entries = self.bytes = 0
        if state is not None:
            self.entries, self.bytes, problems = state[:3]
            self.problems = Problems.restored(problems)

    def name(self, item: Entry) -> str:
        return item.name

    def rest(self) -> None:
        if self._own.descent is not None:
            self._own.descent.close()
            self._own.descent = None

    def summary(self) -> list[Any]:
        """What both passes count."""
        return [self.entries, self.bytes, self.problems.state()]

    def state(self) -> Any:
        return self.summary()

    def _there(self, path: Path) -> int:
        if self._own.descent is None:
            self._own.descent = Descent(self._target)
        return self._own.descent.open(path)


class Copier(_Pass):
    """The first pass: makes every entry; directories stay open to us alone.

    Args:
        source: the open top of what is copied.
        target: the open top of the copy.
        stop: looked at between entries, and within the data of large files.
        state: of an earlier walk.
        helping: this is a helper process, which leaves inodes of several names to the other.
    """

    batch = 128

    def __init__(
        self, source: int, target: int, stop: Stop, state: Any, *, helping: bool = False
    ) -> None:
        super().__init__(target, state)
        self._source = source
        self._stop = stop
        links, partial = ([], []) if state is None else state[3:]
        self._maker = Maker(target, stop, lambda: self.pulse(), links, partial, helping=helping)

    def read(self, fd: int) -> list[Entry]:
        """See `Handler`."""
        return read_entries(fd)

    def act(self, fd: int, path: Path, items: Sequence[Entry]) -> Deed:
        """See `Handler`."""
        try:
            there = self._there(path)
        except OSError as error:  # we made it; whoever removed it ended this copy
            raise described(error, path) from error
        below: list[str] = []
        linked: list[tuple[str, str]] = []
        problems, born = Problems(), Born()
        count = made = size = 0
        for entry in items:
            if self._stop.reached:
                break
            try:
                if entry.kind is _FILE:
                    done = self._maker.make_small(fd, there, entry.name, born)
                else:
                    done = None
                if done is None:
                    done = self._maker.make(fd, there, (*path, entry.name), entry, problems)
            except Stopped:
                break
            except Linked:
                linked.append((entry.name, entry.kind.value))
            except OSError as error:
                problems.add((*path, entry.name), _tolerable(error, (*path, entry.name)))
            else:
                if done is not None:
                    made, size = made + 1, size + done
                if entry.kind is Kind.DIRECTORY:
                    below.append(entry.name)
            count += 1
        if not count:
            raise Stopped
        return Deed(count, below, [made, size, problems.state(), linked, list(path)])

    def settle(self, tally: Any) -> None:
        """See `Handler`."""
        # Only here is known where the other names of an inode went.
        made, size, state, linked, parts = tally
        if not linked:
            return
        path, problems = tuple(parts), Problems.restored(state)
        source, target = Descent(self._source), Descent(self._target)
        try:
            for name, kind in linked:
                entry = Entry(name, Kind(kind))
                try:
                    done = self._maker.make(
                        source.open(path), target.open(path), (*path, name), entry, problems
                    )
                except OSError as error:
                    problems.add((*path, name), _tolerable(error, (*path, name)))
                    continue
                if done is not None:
                    made, size = made + 1, size + done
        finally:
            source.close()
            target.close()
        tally[:3] = made, size, problems.state()

    def lend(self) -> Any:
        """See `Handler`."""
        return self._maker.state()[1]

    def borrow(self, lent: Any) -> None:
        """See `Handler`."""
        self._maker.continue_with(lent)

    def give_back(self) -> Any:
        """See `Handler`."""
        return self._maker.state()[1]

    def returned(self, given_back: Any) -> None:
        """See `Handler`."""
        self._maker.continue_with(given_back)

    def commit(self, tally: Any) -> None:
        """See `Handler`."""
        made, size, problems, _, _ = tally
        self.entries += made
        self.bytes += size
        self.problems.merge(Problems.restored(problems))

    def state(self) -> Any:
        """See `Handler`."""
        return [*self.summary(), *self._maker.state()]


def helping(fds: Sequence[int], given: Any, stop: Stop) -> Copier:
    """One in a helper process; `fds` are those of source and target."""
    return Copier(fds[0], fds[1], stop, None, helping=True)


class Finisher(_Pass):
    """The second pass: gives directories their attributes, each after all that it holds."""

    def read(self, fd: int) -> list[Entry]:
        """See `Handler`."""
        return [entry for entry in read_entries(fd) if entry.kind is Kind.DIRECTORY]

    def act(self, fd: int, path: Path, items: Sequence[Entry]) -> Deed:
        """See `Handler`."""
        return Deed(len(items), [entry.name for entry in items], None)

    def commit(self, tally: Any) -> None:
        """See `Handler`."""
        pass

    def unreadable(self, path: Path, error: OSError) -> None:
        """Counted by the first pass."""

    def leave(self, fd: int, path: Path) -> None:
        """See `Handler`."""

        def complain(reason: str) -> None:
            self.problems.add(path, reason)

        try:
            there = self._there(path)
        except FileNotFoundError:
            complain("appeared during the copy")
            return
        found, has = os.fstat(fd), os.fstat(there)
        attributes.apply(there, fd, found, has, complain, fresh=False)


def _tolerable(error: OSError, path: Path) -> str:
    """The reason why one entry is left out; raises what ends the copy."""
    if error.errno not in VANISHED and not isinstance(error, PermissionError):
        raise described(error, path) from error
    return reason_of(error)

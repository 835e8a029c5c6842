"""Where a walk is: the parts of the tree that are still to do, and what was counted so far.

Directories are ordered by their paths, component by component: each before what it holds, siblings
by name. A walk by several threads is several walks of one span each, so its place is a few spans,
whatever the size of the tree.

Here and in `walk` and `problems` there are no dataclasses: their making is a quarter of the time in
which a helper process starts.
"""

import json
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

Path = tuple[str, ...]
"""Components below the top, as `os.fsdecode` gives them; the top itself is `()`."""

_VERSION: Final = 1


class Span(NamedTuple):
    """The directories from `start` on and before `end`.

    Attributes:
        after: in `start` itself, entries up to and including this name are done already.
        end: None for the end of the tree.
    """

    start: Path = ()
    after: str | None = None
    end: Path | None = None

    def holds(self, path: Path) -> bool:
        """Whether the directory itself is part of it."""
        return path >= self.start and (self.end is None or path < self.end)

    def meets(self, path: Path) -> bool:
        """Whether the directory, or something below it, is part of it."""
        above = path == self.start[: len(path)]
        return (above or path > self.start) and (self.end is None or path < self.end)


class Cursor(NamedTuple):
    """The place of a walk, to be stored as text.

    Attributes:
        spans: what is still to do; empty when the walk is over.
        state: what the walk's user counted in all that is done, as JSON knows it.
    """

    spans: Sequence[Span] = (Span(),)
    state: Any = None

    @property
    def done(self) -> bool:
        """Whether nothing is left to do."""
        return not self.spans

    def dump(self) -> str:
        """As ASCII text; names that are not UTF-8 survive."""
        spans = [[span.start, span.after, span.end] for span in self.spans]
        whole = {"version": _VERSION, "spans": spans, "state": self.state}
        return json.dumps(whole, separators=(",", ":"))

    @classmethod
    def load(cls, text: str) -> "Cursor":
        """Read what `dump` wrote.

        Raises:
            ValueError: it is something else, or of another version.
        """
        try:
            whole = json.loads(text)
            version, state = whole["version"], whole["state"]
            spans = [
                Span(tuple(start), after, None if end is None else tuple(end))
                for start, after, end in whole["spans"]
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not the cursor of a walk: {error}") from error
        if version != _VERSION:
            raise ValueError(f"cursor of version {version!r}, known is {_VERSION}")
        return cls(spans, state)

"""Where numbers come from that no two may ever have: project ids of a file system.

A space is one file system, by its identity: all backends, and all operators of a cluster, draw from
the same one. What a ledger gives is a candidate; whoever gets it still claims it on the disk and
looks whether the file system knows it already, since other clusters and people use ids, too.
"""

from typing import Protocol


class IdLedger(Protocol):
    """Gives numbers in rising order, each at most once."""

    async def next(self, space: str, at_least: int) -> int:
        """Return a number of at least `at_least` that was not given in `space` before.

        Raises:
            Unavailable: the ledger cannot be read or written now; no number is given.
        """
        ...


class DiskLedger:
    """Remembers nothing: for one actor at a time, who relies on the claims on the disk alone."""

    async def next(self, space: str, at_least: int) -> int:
        """Return `at_least`."""
        return at_least

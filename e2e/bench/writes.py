"""Counts of API writes as figures: who wrote how often to what."""

from collections import Counter
from collections.abc import Iterator, Sequence

from e2e.bench import audit
from e2e.bench.report import Figure

#: Without what goes on anyway: leases, tokens, heartbeats.
_OBJECTS = frozenset(
    {
        "events",
        "persistentvolumeclaims",
        "persistentvolumes",
        "quotascopes",
        "storagebackends",
        "vfolders",
    }
)


def of_objects(
    ours: Sequence[audit.Write], peers: Sequence[audit.Write], count: int
) -> Iterator[Figure]:
    """Writes per object of `count`, by writer and resource; then how many of them were refused."""
    yield from _beside("writes to {0} by {1}", _count(ours), _count(peers), count)
    refused = _count([write for write in ours if write.refused])
    peers_refused = _count([write for write in peers if write.refused])
    yield from _beside("of these refused: {0} by {1}", refused, peers_refused, count)


def _count(writes: Sequence[audit.Write]) -> Counter[tuple[str, str]]:
    return audit.count(write for write in writes if write.resource.partition("/")[0] in _OBJECTS)


def _beside(
    name: str, ours: Counter[tuple[str, str]], peers: Counter[tuple[str, str]], count: int
) -> Iterator[Figure]:
    for key in sorted({*ours, *peers}):
        writer, resource = key
        peer = peers[key] / count if key in peers else None
        yield Figure(name.format(resource, writer), ours[key] / count, "each", peer)


def at_rest(writes: Sequence[audit.Write]) -> Iterator[Figure]:
    """All that the operator wrote while nothing was asked of it."""
    found = Counter(write.resource for write in writes if write.writer == audit.OPERATOR)
    for resource in sorted({"vfolders", "vfolders/status", *found}):
        yield Figure(f"at rest, writes to {resource} by operator", found[resource], "in all")

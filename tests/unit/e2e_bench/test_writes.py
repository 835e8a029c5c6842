"""Writes as figures."""

from e2e.bench import writes
from e2e.bench.audit import CLIENT, CONTROLLERS, OPERATOR, Write
from e2e.bench.report import Figure


def write(writer: str, resource: str, code: int = 200) -> Write:
    return Write(writer, "patch", resource, "team-a", code)


def test_writes_are_told_per_object_beside_the_peers() -> None:
    ours = [write(OPERATOR, "persistentvolumes")] * 4 + [write(OPERATOR, "vfolders/status")] * 2
    peers = [write(CONTROLLERS, "persistentvolumes", 409), write(CONTROLLERS, "persistentvolumes")]
    assert list(writes.of_objects(ours, peers, 2)) == [
        Figure("writes to persistentvolumes by controller manager", 0, "each", 1),
        Figure("writes to persistentvolumes by operator", 2, "each"),
        Figure("writes to vfolders/status by operator", 1, "each"),
        Figure("of these refused: persistentvolumes by controller manager", 0, "each", 0.5),
    ]


def test_what_goes_on_anyway_is_not_counted() -> None:
    anyway = [write("system:node:node1", "nodes/status"), write(OPERATOR, "leases")]
    assert list(writes.of_objects(anyway, [], 1)) == []


def test_at_rest_all_of_the_operators_writes_are_told_and_nobody_elses() -> None:
    found = [write(OPERATOR, "leases"), write(OPERATOR, "leases"), write(CLIENT, "vfolders")]
    assert list(writes.at_rest(found)) == [
        Figure("at rest, writes to leases by operator", 2, "in all"),
        Figure("at rest, writes to vfolders by operator", 0, "in all"),
        Figure("at rest, writes to vfolders/status by operator", 0, "in all"),
    ]

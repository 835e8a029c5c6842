"""What a watch makes of its events, and that it goes on when the server ends it."""

import json
import time
from pathlib import Path

import pytest

from e2e.bench.watch import Phases, Watch
from e2e.cluster import RigError


def event(kind: str, name: str, phase: str = "") -> str:
    body = {"metadata": {"name": name}, **({"status": {"phase": phase}} if phase else {})}
    return json.dumps({"type": kind, "object": body})


ALL_TOLD = json.dumps(
    {
        "type": "BOOKMARK",
        "object": {"metadata": {"annotations": {"k8s.io/initial-events-end": "true"}}},
    }
)


def test_the_first_time_in_the_phase_counts() -> None:
    phases = Phases("Ready")
    phases.begin()
    for now, line in enumerate(
        (event("ADDED", "a"), event("MODIFIED", "a", "Ready"), event("MODIFIED", "a", "Ready"))
    ):
        phases.note(line, float(now))
    assert (phases.reached, phases.count) == ({"a": 1.0}, 1)


def test_what_falls_out_of_the_phase_is_not_counted() -> None:
    phases = Phases("Bound")
    phases.begin()
    phases.note(event("ADDED", "a", "Bound"), 1.0)
    phases.note(event("MODIFIED", "a", "Lost"), 2.0)
    assert phases.count == 0


def test_what_goes_leaves_its_time() -> None:
    phases = Phases("Ready")
    phases.begin()
    phases.note(event("ADDED", "a", "Ready"), 1.0)
    phases.note(ALL_TOLD, 2.0)
    phases.note(event("DELETED", "a", "Ready"), 3.0)
    assert (phases.present, phases.left) == ({}, 3.0)


def test_what_went_between_two_watches_is_noticed() -> None:
    phases = Phases("Ready")
    for names in (("a", "b"), ("b",)):
        phases.begin()
        for name in names:
            phases.note(event("ADDED", name, "Ready"), 1.0)
        phases.note(ALL_TOLD, 2.0)
    assert set(phases.present) == {"b"}
    assert phases.left == 2.0


def test_a_watch_that_the_server_ends_is_begun_again(tmp_path: Path) -> None:
    """The stand-in for kubectl tells of one object more each time it is started."""
    for number in range(3):
        lines = [event("ADDED", f"o{n}", "Ready") for n in range(number + 1)]
        (tmp_path / str(number)).write_text("\n".join([*lines, ALL_TOLD]) + "\n")
    script = (
        'cd "$0"; n=0; while [ -e "seen$n" ]; do n=$((n+1)); done; touch "seen$n"; '
        'cat "$n" || exec sleep 60'
    )
    with Watch(["sh", "-c", script, str(tmp_path)], {}, "/api/v1/things", "Ready") as watch:
        started = time.monotonic()
        assert watch.until_reached(3, 10) >= started
        with pytest.raises(RigError, match="/api/v1/things Ready: 3 of 4 within"):
            watch.until_reached(4, 0.01)

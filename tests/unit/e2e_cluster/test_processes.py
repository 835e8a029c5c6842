"""Servers are known again by files, and nobody else's process is ever signalled."""

import dataclasses
import os
import signal
from pathlib import Path

import pytest

from e2e.cluster import commands
from e2e.cluster.errors import Missing, NotUp, ProcessDied
from e2e.cluster.processes import Identity, Supervisor, find_marked, kill_all


def _process(supervisor: Supervisor, name: str) -> Identity:
    process = supervisor.record(name).process
    assert process is not None
    return process


def test_a_reused_pid_is_not_ours(supervisor: Supervisor) -> None:
    supervisor.spawn("sleeper", ["sleep", "60"])
    process = _process(supervisor, "sleeper")
    earlier = dataclasses.replace(process, started=process.started - 1)
    before_reboot = dataclasses.replace(process, boot="another")

    assert not earlier.send(signal.SIGKILL)
    assert not before_reboot.send(signal.SIGKILL)
    assert kill_all([earlier, before_reboot], timeout=1) == []
    assert process.alive()


def test_a_server_is_stopped_and_started_by_another_supervisor(supervisor: Supervisor) -> None:
    supervisor.spawn("sleeper", ["sleep", "60"])
    other = Supervisor(supervisor.folder)
    first = _process(other, "sleeper")

    other.stop("sleeper")
    assert not other.alive("sleeper")
    other.start("sleeper")
    assert other.alive("sleeper")
    assert _process(other, "sleeper") != first


def test_starting_a_running_server_does_nothing(supervisor: Supervisor) -> None:
    supervisor.spawn("sleeper", ["sleep", "60"])
    first = _process(supervisor, "sleeper")
    supervisor.start("sleeper")
    assert _process(supervisor, "sleeper") == first


def test_stop_ends_a_paused_server_and_one_that_ignores_it(supervisor: Supervisor) -> None:
    supervisor.spawn("paused", ["sleep", "60"])
    supervisor.signal("paused", signal.SIGSTOP)
    supervisor.spawn("stubborn", ["sh", "-c", "trap '' TERM; echo ready; sleep 60; sleep 60"])
    log = supervisor.log("stubborn")
    commands.wait_until(lambda: "ready" in log.read_text(), "the trap is set", timeout=5)

    supervisor.stop("paused", timeout=5)
    supervisor.stop("stubborn", timeout=0.2)
    assert not supervisor.alive("paused")
    assert not supervisor.alive("stubborn")


def test_descendants_are_found_after_their_parent_died(supervisor: Supervisor) -> None:
    supervisor.spawn("parent", ["sh", "-c", "sleep 60 & sleep 60 & wait"])
    commands.wait_until(lambda: len(find_marked(supervisor.folder)) == 3, "all run", timeout=5)
    parent = _process(supervisor, "parent")
    assert kill_all([parent], timeout=5) == []

    orphans = find_marked(supervisor.folder)
    assert len(orphans) == 2
    assert kill_all(orphans, timeout=5) == []
    assert find_marked(supervisor.folder) == []


def test_a_folder_whose_name_begins_alike_is_another_one(supervisor: Supervisor) -> None:
    supervisor.spawn("sleeper", ["sleep", "60"])
    folder = str(supervisor.folder)
    assert find_marked(Path(folder[:-1])) == []
    assert find_marked(Path(f"{folder}x")) == []


def test_a_server_that_died_is_reported_with_its_last_words(supervisor: Supervisor) -> None:
    supervisor.spawn("failing", ["sh", "-c", "echo no such port >&2; exit 3"])
    assert _wait_for_end(supervisor, "failing")
    with pytest.raises(ProcessDied, match="no such port"):
        supervisor.demand_alive("failing")
    with pytest.raises(NotUp):
        supervisor.signal("failing", signal.SIGCONT)


def _wait_for_end(supervisor: Supervisor, name: str) -> bool:
    process = supervisor.record(name).process
    return process is None or process.wait(5)


def test_an_unknown_server_names_the_known_ones(supervisor: Supervisor) -> None:
    supervisor.spawn("etcd", ["true"])
    with pytest.raises(NotUp, match="known: etcd"):
        supervisor.record("etdc")


def test_a_missing_program_says_how_to_get_it(supervisor: Supervisor) -> None:
    with pytest.raises(Missing, match=r"e2e\.cluster build"):
        supervisor.spawn("nothing", ["no-such-program-of-ours"])


def test_the_identity_of_a_dead_pid_is_none() -> None:
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(pid, 0)
    assert Identity.of(pid) is None

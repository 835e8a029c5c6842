"""Running programs, mount tables and ports."""

import threading
from pathlib import Path

import pytest

from e2e.cluster import cli, commands, mounts, network, paths
from e2e.cluster.errors import CommandFailed, RigError, TimedOut


def test_a_failure_shows_the_command_and_its_last_lines() -> None:
    with pytest.raises(CommandFailed, match=r"exit status 3: sh -c [\s\S]*line 99") as caught:
        commands.run("sh", "-c", "seq -f 'line %g' 99 >&2; exit 3")
    assert "line 1\n" not in str(caught.value)


def test_a_command_has_a_deadline() -> None:
    with pytest.raises(CommandFailed, match=r"within 0\.2 s: sleep 60"):
        commands.run("sleep", "60", timeout=0.2)


def test_waiting_has_a_deadline_that_names_what_was_awaited() -> None:
    with pytest.raises(TimedOut, match=r"the moon: not within 0\.05 s"):
        commands.wait_until(lambda: False, "the moon", timeout=0.05, every=0.01)


def test_entering_nothing_changes_nothing() -> None:
    assert commands.entering([], ["a", "b"]) == ["a", "b"]
    assert commands.entering(["--net=/n"], ["a"]) == ["nsenter", "--net=/n", "--", "a"]


def test_mount_points_are_unescaped() -> None:
    line = "36 35 98:0 / {} rw,noatime master:1 - ext4 /dev/root rw\n"
    table = line.format("/mnt") + line.format("/mnt/a\\040b\\134c")
    assert mounts.mount_points(table) == ["/mnt", "/mnt/a b\\c"]


def test_nothing_is_mounted_below_an_ordinary_folder(tmp_path: Path) -> None:
    assert mounts.below(tmp_path) == []
    assert mounts.below(Path("/proc"))[-1] == "/proc"
    assert mounts.below(Path("/pro")) == []


def test_ports_differ_and_stay_out_of_the_kernels_range() -> None:
    ports = network.free_ports(20)
    assert len(set(ports)) == 20
    assert max(ports) < 32768


def test_one_build_waits_for_the_other_and_starts_with_an_empty_folder() -> None:
    entered = threading.Event()

    def second() -> None:
        with paths.building("thing") as work:
            assert list(work.iterdir()) == []
            entered.set()

    thread = threading.Thread(target=second)
    with paths.building("thing") as work:
        (work / "half").touch()
        thread.start()
        assert not entered.wait(0.2)
    thread.join(5)
    assert entered.is_set()


def test_a_foreign_state_area_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VFOLDER_STATE", str(tmp_path))
    monkeypatch.setattr("os.getuid", lambda: 4242)
    with pytest.raises(RigError, match="belongs to another user"):
        paths.state_area()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["down", "--name", "absent"], "no k8s named 'absent'"),
        (["env", "--name", "absent"], "no k8s named 'absent'"),
        (["up", "--name", "../x"], "1 to 20"),
        (["up", "--nodes", "-1"], "nodes: -1 is not between"),
        (["ceph", "down"], "no ceph named 'default'"),
    ],
)
def test_a_wrong_command_line_says_what_is_wrong(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 1
    assert said in capsys.readouterr().err

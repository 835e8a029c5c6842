"""Figures from /proc and containerd, and how numbers are shown."""

import os

import pytest

from e2e.bench import procs, report
from e2e.bench.report import Figure, Section
from e2e.cluster import RigError

STATUS = "Name:\tpython\nVmHWM:\t  204800 kB\nVmRSS:\t   51200 kB\nThreads:\t4\n"
TASKS = "TASK    PID     STATUS    \nabc     1200    RUNNING\nabcd    1300    RUNNING\n"


def test_memory_is_read_in_mebibytes() -> None:
    assert procs.mebibytes(STATUS, "VmRSS") == 50
    assert procs.mebibytes(STATUS, "VmHWM") == 200
    with pytest.raises(ValueError, match="VmSwap"):
        procs.mebibytes(STATUS, "VmSwap")


def test_a_name_with_blanks_and_parentheses_does_not_move_the_fields() -> None:
    fields = " ".join(str(number) for number in range(3, 53))
    ticks = os.sysconf("SC_CLK_TCK")
    assert procs.cpu_seconds(f"1 (a) b) {fields}\n") == (14 + 15) / ticks


def test_this_process_uses_something() -> None:
    usage = procs.usage(os.getpid())
    assert 0 < usage.resident <= usage.peak
    assert usage.cpu > 0


def test_a_container_is_found_by_its_whole_name() -> None:
    assert procs.container_pid(TASKS, "abcd") == 1300
    with pytest.raises(RigError, match="container ab does not run"):
        procs.container_pid(TASKS, "ab")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"), (0.0, "0"), (3.0, "3"), (0.1234, "0.123"), (1.234, "1.23"),
        (12.34, "12.3"), (123.4, "123"), (12345.6, "12,346"), (-1.5, "-1.50"),
    ],
)  # fmt: skip
def test_numbers_have_three_digits(value: float | None, shown: str) -> None:
    assert report.number(value) == shown


def test_a_ratio_needs_a_peer_that_is_not_zero() -> None:
    assert Figure("a", 3.0, "s", 2.0).ratio == 1.5
    assert Figure("a", 3.0, "s", 0.0).ratio is None
    assert Figure("a", 3.0, "s").ratio is None


def test_a_table_names_method_and_peer_and_lines_up() -> None:
    figures = [Figure("short", 1.0, "s", 2.0), Figure("much longer", 30.0, "ms")]
    text = report.table(Section("pods", "title", "the method", figures, "the others"))
    lines = text.splitlines()
    assert lines[0] == "pods: title"
    assert "the method" in lines[1]
    assert "the others" in lines[2]
    assert lines[4].endswith("0.50")
    assert lines[4].index(" s ") == lines[5].index(" ms")

"""Percentiles of few and of many values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2e.bench.samples import median, percentile

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1)
PERCENTS = st.integers(1, 100)


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(n) for n in range(500, 0, -1)]
    assert [percentile(values, p) for p in (50, 99, 100)] == [250, 495, 500]
    assert percentile([7.0], 1) == 7.0


def test_the_median_of_two_is_the_lower_one() -> None:
    assert median([3.0, 1.0]) == 1.0
    assert median([3.0, 1.0, 2.0]) == 2.0


@given(VALUES, PERCENTS)
def test_enough_values_and_not_more_than_needed_lie_at_or_below(
    values: list[float], percent: int
) -> None:
    found = percentile(values, percent)
    assert sum(value <= found for value in values) >= len(values) * percent / 100
    assert sum(value < found for value in values) < len(values) * percent / 100


@pytest.mark.parametrize(("values", "percent"), [([], 50), ([1.0], 0), ([1.0], 101)])
def test_senseless_questions_are_refused(values: list[float], percent: int) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - two messages, one type
        percentile(values, percent)

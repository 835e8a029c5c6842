"""Many values of one thing, and the few numbers that stand for them."""

import math
from collections.abc import Sequence


def percentile(values: Sequence[float], percent: int) -> float:
    """The smallest value that at least `percent` of all values do not exceed (nearest rank).

    Raises:
        ValueError: there are no values, or `percent` is not from 1 to 100.
    """
    if not values:
        raise ValueError("no values")
    if not 1 <= percent <= 100:
        raise ValueError(f"percent: {percent} is not from 1 to 100")
    return sorted(values)[math.ceil(len(values) * percent / 100) - 1]


def median(values: Sequence[float]) -> float:
    """The middle value; of two, the lower one."""
    return percentile(values, 50)

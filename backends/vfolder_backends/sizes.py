"""Kubernetes quantities to whole bytes and back, and rounding to what a storage can keep."""

import re
from decimal import Decimal
from typing import Final

_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)(Ki|Mi|Gi|Ti|Pi|Ei|m|k|M|G|T|P|E|[eE][+-]?[0-9]+)?")
_BINARY: Final = {
    "Ki": 1 << 10,
    "Mi": 1 << 20,
    "Gi": 1 << 30,
    "Ti": 1 << 40,
    "Pi": 1 << 50,
    "Ei": 1 << 60,
}
_DECIMAL: Final = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18}

MAX_BYTES: Final = 2**63 - 1
"""Kernel quotas and every vendor interface count in signed 64-bit integers."""

UNLIMITED: Final = "Unlimited"
"""How the API spells the absence of a byte limit; 0 never means it."""


def parse_quantity(text: str) -> int:
    """Return the whole number a Kubernetes quantity stands for (bytes, where bytes are meant).

    Raises:
        ValueError: not a quantity, not a whole number, negative, or above 2**63-1.
    """
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a quantity such as 500Gi, 1.5Ti or 1000000")
    number, suffix = Decimal(match[1]), match[2] or ""
    if suffix in _BINARY:
        value = number * _BINARY[suffix]
    elif suffix in _DECIMAL:
        value = number * _DECIMAL[suffix]
    elif suffix == "m":
        value = number / 1000
    elif suffix:
        if abs(int(suffix[1:])) > 30:
            raise ValueError(f"{text!r} has an exponent outside -30..30")
        value = number.scaleb(int(suffix[1:]))
    else:
        value = number
    if value != value.to_integral_value():
        raise ValueError(f"{text!r} is not a whole number")
    if value > MAX_BYTES:
        raise ValueError(f"{text!r} is above {MAX_BYTES}")
    return int(value)


def parse_limit(text: str) -> int | None:
    """Return a limit in bytes, or None for `Unlimited`.

    Raises:
        ValueError: anything but `Unlimited` or a quantity of at least 1.
    """
    if text == UNLIMITED:
        return None
    value = parse_quantity(text)
    if value < 1:
        raise ValueError(f"{text!r} is below 1; leave no limit by writing {UNLIMITED!r}")
    return value


def format_bytes(value: int) -> str:
    """Print bytes as the shortest exact binary quantity: 536870912 is `512Mi`."""
    for suffix, unit in reversed(_BINARY.items()):
        if value and value % unit == 0:
            return f"{value // unit}{suffix}"
    return str(value)


def round_up(value: int, granularity: int) -> int:
    """Round up to the storage's granularity, so that a team never gets less than it asked for."""
    return -(-value // granularity) * granularity

"""Numbers for people: kubectl's columns cannot format them."""

_UNITS = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")


def human_bytes(value: int | None) -> str:
    """Three significant digits with a binary unit, such as 1.5Gi; `-` when unknown."""
    if value is None:
        return "-"
    number, unit = float(value), 0
    while number >= 1000 and unit < len(_UNITS) - 1:
        number /= 1024
        unit += 1
    text = f"{number:.0f}" if unit == 0 or number >= 100 else f"{number:.3g}"
    return text + _UNITS[unit]

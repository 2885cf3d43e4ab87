"""Sizes and durations as docker words them."""

from __future__ import annotations

_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def human_size(size: float, digits: int = 4) -> str:
    """`1.98MB`: decimal units, four digits."""
    return _sized(size, 1000.0, _DECIMAL, digits)


def binary_size(size: float) -> str:
    """`23.54GiB`: binary units, four digits."""
    return _sized(size, 1024.0, _BINARY, 4)


def _sized(size: float, base: float, units: tuple[str, ...], digits: int) -> str:
    number, unit = float(size), 0
    while number >= base and unit < len(units) - 1:
        number /= base
        unit += 1
    return f"{number:.{digits}g}{units[unit]}"


def human_duration(seconds: float) -> str:
    """`About a minute`, `3 weeks`."""
    whole, hours = int(seconds), int(seconds / 3600 + 0.5)
    short = ((1, "Less than a second"), (2, "1 second"), (60, f"{whole} seconds"), (120, "About a minute"))
    for limit, text in short:
        if whole < limit:
            return text
    if whole < 3600:
        return f"{whole // 60} minutes"
    long = (
        (2, "About an hour"),
        (48, f"{hours} hours"),
        (24 * 7 * 2, f"{hours // 24} days"),
        (24 * 30 * 2, f"{hours // 24 // 7} weeks"),
        (24 * 365 * 2, f"{hours // 24 // 30} months"),
    )
    for limit, text in long:
        if hours < limit:
            return text
    return f"{hours // 24 // 365} years"

"""Sizes as docker words them. Apart from all rooms: engine and command say them alike."""

from __future__ import annotations

_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def human_size(size: float, digits: int = 4) -> str:
    """`1.98MB`: decimal units, four digits."""
    return sized(size, 1000.0, _DECIMAL, digits)


def binary_size(size: float) -> str:
    """`23.54GiB`: binary units, four digits."""
    return sized(size, 1024.0, _BINARY, 4)


def sized(size: float, base: float, units: tuple[str, ...], digits: int) -> str:
    """A number of significant digits and a unit: each unit is `base` of the one before, and the last has no limit."""
    number, unit = float(size), 0
    while number >= base and unit < len(units) - 1:
        number /= base
        unit += 1
    return f"{number:.{digits}g}{units[unit]}"

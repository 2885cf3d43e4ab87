"""Sizes as docker words them."""

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

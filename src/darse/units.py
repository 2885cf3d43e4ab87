"""Sizes as docker reads and shows them (its `go-units`). A leaf: engine and command say them alike."""

from __future__ import annotations

# Compiled when one is read: compiling takes as long as a request of the command.
_SIZE = r"([0-9]{1,18})(?:\.([0-9]{1,18}))?\s*([kmgtp]?)i?b?"
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}

_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


class InvalidSize(ValueError):
    """A text that is no size; its text is docker's."""


def parse_size(text: str, base: int = 1024) -> int:
    """Bytes of `64m`, `1.5GiB` or `100`; each unit is `base` of the one before. Raises InvalidSize."""
    import re  # noqa: PLC0415 - a command loads it only to read one

    match = re.fullmatch(_SIZE, text.strip(), re.IGNORECASE | re.ASCII)
    if match is None:
        raise InvalidSize(f"invalid size: '{text}'")
    whole, fraction, unit = match.groups(default="")
    scale: int = base ** _POWERS[unit.lower()]
    return int(whole) * scale + int(int(fraction or 0) * scale // 10 ** len(fraction))


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

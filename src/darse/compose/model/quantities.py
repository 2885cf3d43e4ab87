"""Values that may be written in several ways: sizes, times, modes, processors. Each knows how it is read and shown."""

from __future__ import annotations

import struct
from typing import Any, Self

from darse.compose.syntax.pairs import go_text
from darse.durations import InvalidDuration, go_duration, parse_duration
from darse.units import InvalidSize, parse_size

_HOURS = {"d": 24, "w": 168}


class Quantity:
    """What all have: `read` makes one of what a file says and raises ValueError, `shown` is its canonical form."""

    @classmethod
    def read(cls, value: Any) -> Self:
        """The value of a text or a number in a file."""
        raise NotImplementedError

    @property
    def formatted(self) -> Any:
        """What `config` prints."""
        raise NotImplementedError


class ByteCount(int, Quantity):
    """Bytes: `64m`, `1.5gb`, `100`."""

    @classmethod
    def read(cls, value: Any) -> Self:
        if isinstance(value, int):
            return cls(value)
        try:
            return cls(parse_size(str(value)) if not str(value).startswith("-1") else -1)
        except InvalidSize as error:
            raise ValueError(str(error)) from error

    @property
    def formatted(self) -> str:
        return str(int(self))


class Duration(int, Quantity):
    """Nanoseconds: `1m30s`; days and weeks as `1d12h`, `2w`."""

    @classmethod
    def read(cls, value: Any) -> Self:
        text = go_text(value)
        try:
            return cls(parse_duration(_in_hours(text)))
        except InvalidDuration as error:
            raise ValueError(f'time: invalid duration "{text}"') from error

    @property
    def formatted(self) -> str:
        return go_duration(int(self))


def _in_hours(text: str) -> str:
    digits, written = "", ""
    for one in text:
        if one in _HOURS and digits.isdigit():
            written += f"{int(digits) * _HOURS[one]}h"
            digits = ""
        elif one.isdigit() or one == ".":
            digits += one
        else:
            written, digits = written + digits + one, ""
    return written + digits


class FileMode(int, Quantity):
    """Permissions: `0440`, or the text of it."""

    @classmethod
    def read(cls, value: Any) -> Self:
        if isinstance(value, str):
            try:
                return cls(int(value, 8))
            except ValueError:
                raise ValueError(f'"{value}" is no octal number') from None
        return cls(value)

    @property
    def formatted(self) -> str:
        return f"0{int(self):o}"


class Processors(float, Quantity):
    """Processors, or a share of a number: `0.5`; of the precision of 24 bits, which shows in hashes."""

    @classmethod
    def read(cls, value: Any) -> Self:
        try:
            return cls(struct.unpack("f", struct.pack("f", float(value)))[0])
        except (ValueError, OverflowError):
            raise ValueError(f'"{value}" is no number') from None

    @property
    def formatted(self) -> float | int:
        exact = float(self)
        for digits in range(1, 10):
            shortest = float(f"{exact:.{digits}g}")
            if struct.unpack("f", struct.pack("f", shortest))[0] == exact:
                return int(shortest) if shortest.is_integer() else shortest
        return exact


class DeviceCount(int, Quantity):
    """How many devices; `all` is -1."""

    @classmethod
    def read(cls, value: Any) -> Self:
        if isinstance(value, str):
            if value.lower() == "all":
                return cls(-1)
            if not value.lstrip("-").isdecimal():
                raise ValueError(f"invalid value \"{value}\", the only value allowed is 'all' or a number")
        return cls(int(value))

    @property
    def formatted(self) -> int:
        return int(self)


def read_quantity(kind: type, value: Any) -> Any:
    """msgspec's hook for the types of this module."""
    return kind.read(value) if issubclass(kind, Quantity) else value

"""Values of flags: Go's booleans and durations, sizes, and lists with quotes."""

from __future__ import annotations

import re

from darse.quoting import quote

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_DURATION = re.compile(r"([0-9]*\.?[0-9]*)([^0-9.]*)")
_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_LONGEST = 2**63 - 1
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([kmgtp]?)i?b?", re.IGNORECASE)


def boolean(text: str) -> bool:
    """As strconv.ParseBool reads it. Raises ValueError."""
    if text not in _TRUE | _FALSE:
        raise ValueError(f"{text!r} is no boolean")
    return text in _TRUE


def duration(text: str) -> int:
    """Nanoseconds of one of Go's durations, `1m30s`. Raises ValueError in Go's words."""
    sign, rest = (-1 if text.startswith("-") else 1), text[1:] if text[:1] in ("-", "+") else text
    if rest == "0":
        return 0
    if not rest:
        raise ValueError(f"time: invalid duration {quote(text)}")
    total, at = 0, 0
    while at < len(rest):
        match = _DURATION.match(rest, at)
        assert match is not None
        number, unit = match.groups()
        if not number.strip("."):
            raise ValueError(f"time: invalid duration {quote(text)}")
        if not unit:
            raise ValueError(f"time: missing unit in duration {quote(text)}")
        if unit not in _UNITS:
            raise ValueError(f"time: unknown unit {quote(unit)} in duration {quote(text)}")
        whole, _, fraction = number.partition(".")
        total += int(whole or 0) * _UNITS[unit] + int(fraction or 0) * _UNITS[unit] // 10 ** len(fraction)
        if total > _LONGEST:
            raise ValueError(f"time: invalid duration {quote(text)}")
        at = match.end()
    return sign * total


def size(text: str) -> int:
    """Bytes of `64m`, `1.5g`, `10kB`, by powers of 1024. Raises ValueError."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no size")
    return int(float(match[1]) * 1024 ** " kmgtp".index(match[2].lower() or " "))


def fields(text: str) -> list[str]:
    """The fields of a line of CSV (RFC 4180). Raises ValueError in Go's words."""
    found, at = [], 0
    while True:
        if text.startswith('"', at):
            parts = []
            at += 1
            while True:
                end = text.find('"', at)
                if end < 0:
                    raise ValueError(
                        f'parse error on line 1, column {len(text) + 1}: extraneous or missing " in quoted-field'
                    )
                parts.append(text[at:end])
                at = end + 1
                if not text.startswith('"', at):
                    break
                parts.append('"')
                at += 1
            if at < len(text) and text[at] != ",":
                raise ValueError(f'parse error on line 1, column {at + 1}: extraneous or missing " in quoted-field')
            found.append("".join(parts))
        else:
            end = text.find(",", at)
            end = len(text) if end < 0 else end
            if (bare := text.find('"', at, end)) >= 0:
                raise ValueError(f'parse error on line 1, column {bare + 1}: bare " in non-quoted field')
            found.append(text[at:end])
            at = end
        if at >= len(text):
            return found
        at += 1

"""Values of flags: sizes, durations, addresses, pairs. Texts of errors are docker's, for scripts match them."""

from __future__ import annotations

from darse.cli.errors import InvalidArgument

# Compiled when one is used: compiling all of them takes as long as a request.
_SIZE = r"(?P<number>\d+(\.\d+)?)\s*(?P<unit>[bkmgtp]?)i?b?"
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_DURATION = r"(\d+(?:\.\d*)?|\.\d+)([^\d.]*)"
_NANOSECONDS = {"ns": 1, "us": 1000, "µs": 1000, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_DOMAIN = r"[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?)*\.?\s*"


def size(text: str, flag: str) -> int:
    """Bytes of `64m`. Raises InvalidArgument."""
    found = bytes_of(text)
    if found is None:
        raise InvalidArgument(text, flag, f"invalid size: '{text}'")
    return found


def bytes_of(text: str) -> int | None:
    """Bytes of `64m`; None when it is no size."""
    import re

    match = re.fullmatch(_SIZE, text.strip(), re.IGNORECASE)
    return int(float(match["number"]) * _UNITS[match["unit"].lower()]) if match else None


def duration(text: str, flag: str) -> int:
    """Nanoseconds of `1m30s`, which may be negative. Raises InvalidArgument, in the words of Go's ParseDuration."""
    sign, rest = (-1 if text.startswith("-") else 1), text[1:] if text[:1] in ("-", "+") else text
    if rest in ("0", "") and text not in ("-", "+"):
        return 0
    import re

    total, end = 0.0, 0
    for match in re.finditer(_DURATION, rest):
        if match.start() != end:
            break
        if not match[2]:
            raise InvalidArgument(text, flag, f'time: missing unit in duration "{text}"')
        if match[2] not in _NANOSECONDS:
            raise InvalidArgument(text, flag, f'time: unknown unit "{match[2]}" in duration "{text}"')
        total += float(match[1]) * _NANOSECONDS[match[2]]
        end = match.end()
    if end != len(rest) or not end:
        raise InvalidArgument(text, flag, f'time: invalid duration "{text}"')
    return sign * int(total)


def pairs(entries: list[str]) -> dict[str, str]:
    """`key=value`s; without a value it is empty."""
    return dict(entry.partition("=")[::2] for entry in entries)


def is_address(text: str) -> bool:
    """Whether it is an address of IPv4 or IPv6, without a zone: Go's net.ParseIP takes none."""
    import ipaddress

    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def is_domain(text: str) -> bool:
    """Whether it can be a search domain; `.` is none at all."""
    import re

    return text == "." or (re.search("[a-zA-Z]", text) is not None and re.fullmatch(_DOMAIN, text) is not None)


def is_integer(text: str) -> bool:
    """Whether Go's strconv.Atoi takes it."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    return digits.isascii() and digits.isdecimal()

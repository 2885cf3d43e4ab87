"""Values of flags: sizes, durations, addresses, pairs. Texts of errors are docker's, for scripts match them."""

from __future__ import annotations

from darse.cli.errors import InvalidArgument
from darse.durations import InvalidDuration, parse_duration
from darse.units import InvalidSize, parse_size

# Compiled when one is used: compiling takes as long as a request.
_DOMAIN = r"[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?)*\.?\s*"


def size(text: str, flag: str) -> int:
    """Bytes of `64m`. Raises InvalidArgument."""
    try:
        return parse_size(text)
    except InvalidSize as error:
        raise InvalidArgument(text, flag, str(error)) from None


def duration(text: str, flag: str) -> int:
    """Nanoseconds of `1m30s`, which may be negative; 0 when there is none. Raises InvalidArgument."""
    try:
        return parse_duration(text or "0")
    except InvalidDuration as error:
        raise InvalidArgument(text, flag, str(error)) from None


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

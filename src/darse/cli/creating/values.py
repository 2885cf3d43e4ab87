"""Values of flags: sizes, durations, pairs."""

from __future__ import annotations

import re

from darse.cli.errors import CliError

_SIZE = re.compile(r"(?P<number>\d+(\.\d+)?)\s*(?P<unit>[bkmgtp]?)i?b?\Z", re.IGNORECASE)
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_NANOSECONDS = {"ns": 1, "us": 1000, "µs": 1000, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


def size(text: str, flag: str) -> int:
    """Bytes of `64m`. Raises CliError."""
    match = _SIZE.match(text.strip())
    if match is None:
        raise invalid(text, flag, f"invalid size: '{text}'")
    return int(float(match["number"]) * _UNITS[match["unit"].lower()])


def duration(text: str, flag: str) -> int:
    """Nanoseconds of `1m30s`. Raises CliError."""
    if text in ("0", ""):
        return 0
    total, end = 0.0, 0
    for match in _DURATION.finditer(text):
        if match.start() != end:
            break
        total += float(match[1]) * _NANOSECONDS[match[2]]
        end = match.end()
    if end != len(text) or not end:
        raise invalid(text, flag, f'time: invalid duration "{text}"')
    return int(total)


def pairs(entries: list[str], flag: str) -> dict[str, str]:
    pairs = {}
    for entry in entries:
        key, equals, value = entry.partition("=")
        if not equals:
            raise invalid(entry, flag, f"invalid {flag}: {entry}: key=value is wanted")
        pairs[key] = value
    return pairs


def invalid(text: str, flag: str, reason: str) -> CliError:
    return CliError(f'invalid argument "{text}" for "--{flag}" flag: {reason}', 125)

"""Durations and times: read as Go's `time.ParseDuration` does, and shown as docker and Go show them.

A leaf: engine and command read and say them alike, and the command imports no engine.
"""

from __future__ import annotations

# Compiled when one is read: compiling takes as long as a request of the command.
_PART = r"([0-9]*)(?:(\.)([0-9]*))?([^0-9.]*)"
_NANOSECONDS = {
    "ns": 1,
    "us": 1_000,
    "\u00b5s": 1_000,  # the micro sign
    "\u03bcs": 1_000,  # the Greek letter
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
# A duration is a signed number of 64 bits in Go.
_LONGEST = (1 << 63) - 1
_DIGITS = 19
_UNITS = ((3_600_000_000_000, "h"), (60_000_000_000, "m"))


class InvalidDuration(ValueError):
    """A text that is no duration; its text is Go's."""


def parse_duration(text: str) -> int:
    """Nanoseconds of `1m30s`, `1.5h` or `-10ms`. Raises InvalidDuration."""
    rest = text[1:] if text[:1] in ("-", "+") else text
    if rest == "0":
        return 0
    invalid = InvalidDuration(f'time: invalid duration "{text}"')
    if not rest:
        raise invalid
    import re  # noqa: PLC0415 - a command loads it only to read one

    total = 0
    while rest:
        match = re.match(_PART, rest)
        assert match is not None
        whole, _, fraction, unit = match.groups(default="")
        if (not whole and not fraction) or len(whole) > _DIGITS:
            raise invalid
        if not unit:
            raise InvalidDuration(f'time: missing unit in duration "{text}"')
        if unit not in _NANOSECONDS:
            raise InvalidDuration(f'time: unknown unit "{unit}" in duration "{text}"')
        fraction = fraction[:_DIGITS]
        total += int(whole or 0) * _NANOSECONDS[unit]
        total += int(fraction or 0) * _NANOSECONDS[unit] // 10 ** len(fraction)
        rest = rest[match.end() :]
    if total > _LONGEST:
        raise invalid
    return -total if text.startswith("-") else total


def human_duration(seconds: float) -> str:
    """Return a duration in the words that docker's lists use."""
    whole = int(seconds)
    steps = (
        (1, "Less than a second"),
        (2, "1 second"),
        (60, f"{whole} seconds"),
        (120, "About a minute"),
        (3600, f"{whole // 60} minutes"),
    )
    for limit, text in steps:
        if whole < limit:
            return text
    hours = int(seconds / 3600 + 0.5)
    later = (
        (2, "About an hour"),
        (48, f"{hours} hours"),
        (24 * 7 * 2, f"{hours // 24} days"),
        (24 * 30 * 2, f"{hours // 24 // 7} weeks"),
        (24 * 365 * 2, f"{hours // 24 // 30} months"),
    )
    for limit, text in later:
        if hours < limit:
            return text
    return f"{int(seconds / 3600) // 24 // 365} years"


def go_duration(nanoseconds: int) -> str:
    """A duration as Go's time.Duration.String shows it: `1m30s`, `1.5s`, `250ms`."""
    if nanoseconds == 0:
        return "0s"
    sign, left = ("-" if nanoseconds < 0 else ""), abs(nanoseconds)
    if left < 1_000_000_000:
        for size, unit in ((1_000_000, "ms"), (1_000, "\u00b5s"), (1, "ns")):
            if left >= size:
                return f"{sign}{_decimal(left, size)}{unit}"
    text = ""
    for size, unit in _UNITS:
        if left >= size or text:
            text += f"{left // size}{unit}"
            left %= size
        elif abs(nanoseconds) >= size:
            text += f"0{unit}"
    return f"{sign}{text}{_decimal(left, 1_000_000_000)}s"


def _decimal(number: int, size: int) -> str:
    whole, rest = divmod(number, size)
    return f"{whole}.{rest:0{len(str(size)) - 1}d}".rstrip("0") if rest else str(whole)


def go_time(text: str) -> str:
    """An RFC 3339 time as Go's time.Time.String shows it: `2026-01-02 03:04:05.6 +0000 UTC`."""
    day, _, clock = (text or "0001-01-01T00:00:00Z").partition("T")
    if clock.endswith("Z"):
        return f"{day} {clock[:-1]} +0000 UTC"
    offset = clock[-6:].replace(":", "")
    return f"{day} {clock[:-6]} {offset} {'UTC' if offset == '+0000' else offset}"

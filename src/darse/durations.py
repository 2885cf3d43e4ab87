"""Durations and times in words.

Apart from all rooms: engine and command say them alike, and the command imports no engine.
"""

from __future__ import annotations

_UNITS = ((3_600_000_000_000, "h"), (60_000_000_000, "m"))


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

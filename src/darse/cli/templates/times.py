"""Times and durations as Go prints them."""

from __future__ import annotations

_UNITS = ((3_600_000_000_000, "h"), (60_000_000_000, "m"))


def time_text(text: str) -> str:
    """An RFC 3339 time as Go's time.Time.String shows it: `2026-01-02 03:04:05.6 +0000 UTC`."""
    day, _, clock = (text or "0001-01-01T00:00:00Z").partition("T")
    if clock.endswith("Z"):
        return f"{day} {clock[:-1]} +0000 UTC"
    offset = clock[-6:].replace(":", "")
    return f"{day} {clock[:-6]} {offset} {'UTC' if offset == '+0000' else offset}"


def duration_text(nanoseconds: int) -> str:
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

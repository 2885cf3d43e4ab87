"""Times as Go prints them."""

from __future__ import annotations


def time_text(text: str) -> str:
    """An RFC 3339 time as Go's time.Time.String shows it: `2026-01-02 03:04:05.6 +0000 UTC`."""
    day, _, clock = (text or "0001-01-01T00:00:00Z").partition("T")
    if clock.endswith("Z"):
        return f"{day} {clock[:-1]} +0000 UTC"
    offset = clock[-6:].replace(":", "")
    return f"{day} {clock[:-6]} {offset} {'UTC' if offset == '+0000' else offset}"

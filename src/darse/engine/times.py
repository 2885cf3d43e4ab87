"""Times as the API writes them: RFC 3339 in UTC with nanoseconds, trailing zeros dropped as Go does."""

from __future__ import annotations

import time

# What Go prints for a time that was never set; clients test for it.
ZERO = "0001-01-01T00:00:00Z"


def rfc3339(nanoseconds: int) -> str:
    """Return a time since the epoch as text; 0 is the API's "never"."""
    if nanoseconds == 0:
        return ZERO
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    if fraction:
        text += f".{fraction:09d}".rstrip("0")
    return text + "Z"


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

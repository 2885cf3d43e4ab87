"""Durations in words. Apart from all rooms: engine and command say them alike, and the command imports no engine."""

from __future__ import annotations


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

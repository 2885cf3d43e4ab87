"""`--filter key=value` for the API."""

from __future__ import annotations

from darse.cli.errors import InvalidArgument


def parse_filters(entries: list[str]) -> dict[str, list[str]] | None:
    """The filters parameter; None without any. Raises InvalidArgument."""
    filters: dict[str, list[str]] = {}
    for entry in entries:
        name, equals, value = entry.partition("=")
        if not equals:
            raise InvalidArgument(entry, "filter", "bad format of filter (expected name=value)")
        name = name.strip().lower()
        if name.endswith("!"):
            name = name[:-1] + "!"
        filters.setdefault(name, []).append(value.strip())
    return filters or None

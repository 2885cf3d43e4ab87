"""`--filter key=value` for the API."""

from __future__ import annotations

from darse.cli.errors import CliError


def parse_filters(entries: list[str]) -> dict[str, list[str]] | None:
    """The filters parameter; None without any. Raises CliError."""
    filters: dict[str, list[str]] = {}
    for entry in entries:
        name, equals, value = entry.partition("=")
        if not equals:
            raise CliError(
                f'invalid argument "{entry}" for "-f, --filter" flag: bad format of filter (expected name=value)',
                125,
            )
        name = name.strip().lower()
        if name.endswith("!"):
            name = name[:-1] + "!"
        filters.setdefault(name, []).append(value.strip())
    return filters or None

"""`key=value` options as the API takes them."""

from __future__ import annotations

from collections.abc import Iterable

from darse.cli.errors import CliError


def key_values(entries: Iterable[str]) -> dict[str, str]:
    """Labels and driver options: `key=value`, or `key` for an empty value."""
    return {key: value for key, _, value in (entry.partition("=") for entry in entries)}


def strict_key_values(entries: Iterable[str]) -> dict[str, str]:
    """Options that must have a value. Raises CliError."""
    found = {}
    for entry in entries:
        key, equals, value = entry.partition("=")
        if not equals or not key.strip():
            raise CliError("invalid key/value pair format in driver options")
        found[key.strip()] = value.strip()
    return found


def comma_separated(entries: Iterable[str]) -> list[str]:
    """The values of a flag that may be repeated, and whose values may have commas."""
    return [part for entry in entries for part in entry.split(",") if part]

"""Object ids and their abbreviations: 64 lower-case hexadecimal digits, shown as the first twelve."""

from __future__ import annotations

import re
import secrets

_HEX = re.compile(r"[0-9a-f]{1,64}\Z")
NAME_PATTERN = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+\Z")


def new_id() -> str:
    """Return a random id, never one that reads as a decimal number when shortened (as moby does)."""
    while True:
        candidate = secrets.token_hex(32)
        if not candidate[:12].isdecimal():
            return candidate


def short_id(full: str) -> str:
    """Return the twelve digits people see; a digest's algorithm prefix is dropped."""
    return full.removeprefix("sha256:")[:12]


def may_be_id_prefix(reference: str) -> bool:
    """Whether `reference` could abbreviate an id."""
    return _HEX.match(reference) is not None

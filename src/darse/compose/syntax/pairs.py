"""`KEY=value` and how a number or a boolean is written where a text is expected."""

from __future__ import annotations

from typing import Any

from darse.compose.yaml.writer import number

_GO_NAMES = {".nan": "NaN", ".inf": "+Inf", "-.inf": "-Inf"}


def go_text(value: Any) -> str:
    """A scalar as Go's `fmt.Sprint` writes it; null is the empty text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _GO_NAMES.get(number(value), number(value))
    return str(value)


def pairs(value: Any) -> dict[str, str | None]:
    """A mapping, or a sequence of `KEY=value`; a key alone, or with null, has no value."""
    if isinstance(value, dict):
        return {key: None if one is None else go_text(one) for key, one in value.items()}
    found: dict[str, str | None] = {}
    for one in value:
        key, equals, text = go_text(one).partition("=")
        found[key] = text if equals else None
    return found


def texts(value: Any) -> dict[str, str]:
    """As `pairs`, where a key without a value has the empty text."""
    return {key: one or "" for key, one in pairs(value).items()}

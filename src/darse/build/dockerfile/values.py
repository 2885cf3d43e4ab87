"""Values of flags: Go's booleans, and lists with quotes."""

from __future__ import annotations

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


def boolean(text: str) -> bool:
    """As strconv.ParseBool reads it. Raises ValueError."""
    if text not in _TRUE | _FALSE:
        raise ValueError(f"{text!r} is no boolean")
    return text in _TRUE


def fields(text: str) -> list[str]:
    """The fields of a line of CSV (RFC 4180). Raises ValueError in Go's words."""
    found, at = [], 0
    while True:
        if text.startswith('"', at):
            parts = []
            at += 1
            while True:
                end = text.find('"', at)
                if end < 0:
                    raise ValueError(
                        f'parse error on line 1, column {len(text) + 1}: extraneous or missing " in quoted-field'
                    )
                parts.append(text[at:end])
                at = end + 1
                if not text.startswith('"', at):
                    break
                parts.append('"')
                at += 1
            if at < len(text) and text[at] != ",":
                raise ValueError(f'parse error on line 1, column {at + 1}: extraneous or missing " in quoted-field')
            found.append("".join(parts))
        else:
            end = text.find(",", at)
            end = len(text) if end < 0 else end
            if (bare := text.find('"', at, end)) >= 0:
                raise ValueError(f'parse error on line 1, column {bare + 1}: bare " in non-quoted field')
            found.append(text[at:end])
            at = end
        if at >= len(text):
            return found
        at += 1

"""`$NAME`, `${NAME}`, and `${NAME:-word}` with its kin `- :? ? :+ +`; `$$` is one dollar.

The word may have variables itself, and is read only where it is used. A dollar before anything else stays as it is, as
docker compose leaves it.
"""

from __future__ import annotations

import re
from collections.abc import Callable

Lookup = Callable[[str], "str | None"]

_NAME = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*", re.ASCII)
# More than the kernel takes for a variable of a process; variables of variables double with each line.
_LONGEST = 1 << 20
_OPERATOR = re.compile(r":?[-?+]")


class InvalidTemplate(ValueError):
    """A `${` without a name, an operator or its closing brace."""


class MissingVariable(ValueError):
    """A variable that `?` requires has no value."""


class TooLong(MissingVariable):
    """What variables make of a text is longer than anything takes it."""


def substitute(text: str, lookup: Lookup, unset: Callable[[str], None]) -> str:
    """Replace the variables of a text.

    `lookup` returns None for a variable that is not set; `unset` is called with the name of each such variable for
    which the text has no word instead. Raises InvalidTemplate, MissingVariable, TooLong.
    """
    if "$" not in text:
        return text
    parts: list[str] = []
    position = length = 0
    while (dollar := text.find("$", position)) >= 0:
        length += len(parts[-1]) if parts else 0
        if length > _LONGEST:
            raise TooLong("its variables make it longer than 1 MiB")
        parts.append(text[position:dollar])
        following = text[dollar + 1 : dollar + 2]
        if following == "$":
            parts.append("$")
            position = dollar + 2
        elif following == "{":
            end = _closing(text, dollar + 1)
            parts.append(_braced(text[dollar + 2 : end], text, lookup, unset))
            position = end + 1
        elif match := _NAME.match(text, dollar + 1):
            parts.append(_plain(match[0], lookup, unset))
            position = match.end()
        else:
            parts.append("$")
            position = dollar + 1
    parts.append(text[position:])
    return "".join(parts)


class Variable:
    """A variable of a text: what stands for it where it has no value, or has one, and whether it must have one."""

    __slots__ = ("alternate", "default", "is_required", "name")

    def __init__(self, name: str, default: str = "", alternate: str = "", *, is_required: bool = False) -> None:
        self.name = name
        self.default = default
        self.alternate = alternate
        self.is_required = is_required


def variables(text: str) -> list[Variable]:
    """The variables of a text, those in words of others too. Raises InvalidTemplate."""
    found: list[Variable] = []
    position = 0
    while (dollar := text.find("$", position)) >= 0:
        following = text[dollar + 1 : dollar + 2]
        position = dollar + 2
        if following == "{":
            end = _closing(text, dollar + 1)
            inside = text[dollar + 2 : end]
            position = end + 1
            match = _NAME.match(inside)
            if match is None:
                raise InvalidTemplate(text)
            operator = _OPERATOR.match(inside, match.end())
            if operator is None:
                found.append(Variable(match[0]))
                continue
            word, sign = inside[operator.end() :], operator[0][-1]
            words = {"-": word, "+": word, "?": ""}
            default, alternate = (words[sign] if sign == one else "" for one in "-+")
            found.append(Variable(match[0], default, alternate, is_required=sign == "?"))
            found += variables(word)
        elif match := _NAME.match(text, dollar + 1):
            found.append(Variable(match[0]))
            position = match.end()
    return found


def _closing(text: str, opening: int) -> int:
    depth = 0
    for position in range(opening, len(text)):
        if text[position] == "{":
            depth += 1
        elif text[position] == "}":
            depth -= 1
            if not depth:
                return position
    raise InvalidTemplate(text)


def _plain(name: str, lookup: Lookup, unset: Callable[[str], None]) -> str:
    value = lookup(name)
    if value is None:
        unset(name)
    return value or ""


def _braced(inside: str, text: str, lookup: Lookup, unset: Callable[[str], None]) -> str:
    match = _NAME.match(inside)
    if match is None:
        raise InvalidTemplate(text)
    name, rest = match[0], inside[match.end() :]
    if not rest:
        return _plain(name, lookup, unset)
    operator = _OPERATOR.match(rest)
    if operator is None:
        raise InvalidTemplate(text)
    sign, word = operator[0], rest[operator.end() :]
    value = lookup(name)
    missing = not value if sign[0] == ":" else value is None
    if sign[-1] == "+":
        return value or "" if missing else substitute(word, lookup, unset)
    if not missing:
        return value or ""
    if sign[-1] == "-":
        return substitute(word, lookup, unset)
    reason = substitute(word, lookup, unset)
    raise MissingVariable(f"required variable {name} is missing a value" + (f": {reason}" if reason else ""))

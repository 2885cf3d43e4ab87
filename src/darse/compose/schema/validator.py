"""Check a document against the Compose Specification's schema: the part of JSON Schema that this schema uses.

Of the errors of an attribute's several forms the one that is deepest in the document is reported, as docker compose
does; a key that is not known comes with the known one that is most like it.
"""

from __future__ import annotations

import functools
import os
import re
from typing import Any

import msgspec

from darse.compose.errors import ComposeError, shown_path

_Path = tuple["str | int", ...]
_TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
    "integer": int,
    "number": (int, float),
}
_KINDS = {"object": "mapping"}
_UNKNOWN = "additionalProperties"
# What docker compose 5 reads, and 2 does not: where, and what does the same here. A `*` is any name.
_NEWER: dict[tuple[str, ...], str] = {
    ("jobs",): "a service with a profile, which `compose run SERVICE` runs, does the same",
    ("services", "*", "pre_start"): (
        "a service that ends, and `depends_on` it with `condition: service_completed_successfully`, does the same"
    ),
    ("services", "*", "umask"): "set it in the command",
    ("services", "*", "build", "no_cache_filter"): "`no_cache: true` builds all stages anew",
    ("services", "*", "networks", "*", "use_service_name_alias"): "it is as by default without it",
}


class _Violation:
    """What is wrong at a path."""

    __slots__ = ("keyword", "known", "message", "path")

    def __init__(self, path: _Path, message: str, keyword: str = "", known: tuple[str, ...] = ()) -> None:
        self.path = path
        self.message = message
        self.keyword = keyword
        self.known = known

    @property
    def depth(self) -> int:
        """How specific it is."""
        return len(self.path) + (self.keyword == _UNKNOWN)


def validate(document: dict[str, Any]) -> None:
    """Raise ComposeError with the path of what is wrong."""
    schema = _schema()
    found = _check(document, schema, (), schema["definitions"])
    if found is None:
        return
    message = f"{shown_path(found.path)} {found.message}".strip()
    path = found.path
    if found.keyword == _UNKNOWN:
        name = found.message.split("'")[1]
        path = (*path, name)
        message += _advice(document, found, name)
    raise ComposeError(message, path)


def _advice(document: dict[str, Any], found: _Violation, name: str) -> str:
    import difflib  # noqa: PLC0415 - only for a file that is wrong

    for place, instead in _NEWER.items():
        if len(place) == len(found.path) + 1 and all(map(_is_at, place, (*found.path, name))):
            return f": docker compose 5 has it, and version 2, which is followed here, has not: {instead}"
    close = difflib.get_close_matches(name, found.known, 1)
    if close:
        return f': did you mean "{close[0]}"?'
    if not found.path and "services" not in document and isinstance(document.get(name), dict):
        return ": files without `services` (version 1) are not read: put what is at top level below `services:`"
    return ""


def _is_at(place: str, name: str | int) -> bool:
    return place in ("*", name)


@functools.cache
def _schema() -> dict[str, Any]:
    with open(os.path.join(os.path.dirname(__file__), "compose-spec.json"), "rb") as file:
        schema: dict[str, Any] = msgspec.json.decode(file.read())
    return schema


@functools.cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text)


def _check(value: Any, schema: dict[str, Any], path: _Path, definitions: dict[str, Any]) -> _Violation | None:
    """The violation that is most specific; None where there is none."""
    if reference := schema.get("$ref"):
        schema = definitions[reference.rpartition("/")[2]]
    if (kinds := schema.get("type")) and (found := _check_type(value, kinds, path)):
        return found
    if forms := schema.get("oneOf"):
        return _check_forms(value, forms, path, definitions)
    if "enum" in schema and value not in schema["enum"]:
        shown = ", ".join(f"'{one}'" for one in schema["enum"])
        return _Violation(path, f"value must be one of {shown}")
    if isinstance(value, dict):
        return _check_mapping(value, schema, path, definitions)
    if isinstance(value, list):
        return _check_sequence(value, schema, path, definitions)
    if isinstance(value, str):
        if "pattern" in schema and not _pattern(schema["pattern"]).search(value):
            return _Violation(path, f"'{value}' does not match pattern '{schema['pattern']}'")
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if "minimum" in schema and value < schema["minimum"]:
            return _Violation(path, f"must be greater than or equal to {schema['minimum']}")
        if "maximum" in schema and value > schema["maximum"]:
            return _Violation(path, f"must be less than or equal to {schema['maximum']}")
    return None


def _check_type(value: Any, kinds: str | list[str], path: _Path) -> _Violation | None:
    names = [kinds] if isinstance(kinds, str) else kinds
    for name in names:
        if isinstance(value, _TYPES[name]) and not (isinstance(value, bool) and name in ("integer", "number")):
            return None
        if name == "integer" and isinstance(value, float) and value.is_integer():
            return None
    shown = sorted(_KINDS.get(name, name) for name in names)
    listed = shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} or {shown[-1]}"
    return _Violation(path, f"must be a {listed}")


def _check_forms(
    value: Any, forms: list[dict[str, Any]], path: _Path, definitions: dict[str, Any]
) -> _Violation | None:
    worst: _Violation | None = None
    for form in forms:
        found = _check(value, form, path, definitions)
        if found is None:
            return None
        if worst is None or found.depth > worst.depth:
            worst = found
    return worst


def _check_mapping(
    value: dict[str, Any], schema: dict[str, Any], path: _Path, definitions: dict[str, Any]
) -> _Violation | None:
    worst: _Violation | None = None
    missing = [name for name in schema.get("required", ()) if name not in value]
    if missing:
        shown = ", ".join(f"'{name}'" for name in missing)
        worst = _Violation(path, f"missing propert{'y' if len(missing) == 1 else 'ies'} {shown}")
    properties = schema.get("properties", {})
    patterns = schema.get("patternProperties", {})
    rest = schema.get("additionalProperties", True)
    unknown: list[str] = []
    for key, one in value.items():
        below = properties.get(key)
        if below is None:
            below = next((found for pattern, found in patterns.items() if _pattern(pattern).search(key)), None)
        if below is None:
            if rest is False:
                unknown.append(key)
                continue
            below = rest
        if isinstance(below, dict) and below:
            found = _check(one, below, (*path, key), definitions)
            if found and (worst is None or found.depth > worst.depth):
                worst = found
    if unknown and (worst is None or worst.depth < len(path) + 1):
        shown = ", ".join(f"'{name}'" for name in unknown)
        return _Violation(path, f"additional properties {shown} not allowed", _UNKNOWN, tuple(properties))
    return worst


def _check_sequence(
    value: list[Any], schema: dict[str, Any], path: _Path, definitions: dict[str, Any]
) -> _Violation | None:
    worst: _Violation | None = None
    if schema.get("uniqueItems"):
        seen: dict[str, int] = {}
        for number, one in enumerate(value):
            first = seen.setdefault(repr(one), number)
            if first != number:
                worst = _Violation(path, f"items at {first} and {number} are equal")
    if items := schema.get("items"):
        for number, one in enumerate(value):
            found = _check(one, items, (*path, number), definitions)
            if found and (worst is None or found.depth > worst.depth):
                worst = found
    return worst

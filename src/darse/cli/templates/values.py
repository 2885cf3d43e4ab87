"""What templates look at.

JSON is Python's own: bool, float, str, list, dict, and NIL for `null`; None is what is not there. What docker has types
for are the classes below and those of `api_types`. A row of a list is any object whose class has a GO_NAME, the name of
its type in errors and for `%T`; its fields are its public methods.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


class TemplateError(Exception):
    """A template that cannot be read or executed, in the words that docker prints."""


class CallError(Exception):
    """Why a function of templates fails."""


class Nil:
    """A pointer, or an interface, that holds nothing."""

    def __init__(self, name: str) -> None:
        self.GO_NAME = name

    def __bool__(self) -> bool:
        return False


NIL = Nil("interface {}")


class Number(str):
    """A number of JSON as it was written: `inspect` must not round sizes and ids."""

    GO_NAME = "json.Number"


class List(list[Any]):
    """A list of a type; JSON shows one that is nil as null."""

    def __init__(self, name: str, items: list[Any], *, is_nil: bool = False) -> None:
        super().__init__(items)
        self.GO_NAME, self.is_nil = name, is_nil


class Map(dict[str, Any]):
    """A map of a type; `index` returns `zero` for a key that is not there."""

    def __init__(self, name: str, items: Mapping[str, Any], zero: Any, *, is_nil: bool = False) -> None:
        super().__init__(items)
        self.GO_NAME, self.zero, self.is_nil = name, zero, is_nil


class Headings(Map):
    """The headings of a table by placeholder; that of a label is the last part of its name."""

    def Label(self, name: str) -> str:  # noqa: N802 - as templates call it
        """The heading of a label's column."""
        return name.rpartition(".")[2].replace("-", " ").replace("_", " ")


# A field: its name in templates, its member in JSON (empty when the struct is embedded there), its type, and whether
# JSON leaves out its zero.
Field = tuple[str, str, str, bool]


class Struct:
    """An object of the API whose type has `fields`; `read` makes a value of what is in the JSON."""

    def __init__(self, name: str, fields: list[Field], document: Any, read: Callable[[Any, str], Any]) -> None:
        self.GO_NAME, self.fields, self.document, self._read = name, fields, document, read

    def value(self, field: Field) -> Any:
        """What a field holds: the zero of its type when the JSON lacks it."""
        return self._read(self.document.get(field[1]) if field[1] else self.document, field[2])

    def find(self, name: str) -> Field | None:
        """The field of a name, which may be one of an embedded struct."""
        inner = (self.value(field).find(name) for field in self.fields if not field[1])
        return next((field for field in self.fields if field[0] == name), None) or next(filter(None, inner), None)


_NAMES: dict[type, str] = {
    **{bool: "bool", int: "int", float: "float64", complex: "complex128", str: "string"},
    **{list: "[]interface {}", dict: "map[string]interface {}"},
}
_METHODS: dict[type, dict[str, Callable[..., Any]]] = {}


def type_name(value: Any) -> str:
    """The name of a value's type."""
    return _NAMES.get(type(value)) or str(value.GO_NAME)


def kind(value: Any) -> str:
    """What a value is compared as; empty for what cannot be compared."""
    if isinstance(value, (bool, float, complex)):
        return type_name(value)
    return "int" if isinstance(value, int) else "string" if isinstance(value, str) else ""


def methods(class_: type) -> dict[str, Callable[..., Any]]:
    """What templates may call on instances of a class."""
    if class_ not in _METHODS:
        found = {name: getattr(class_, name) for name in dir(class_) if name[0].isupper()}
        _METHODS[class_] = {name: method for name, method in found.items() if callable(method)}
    return _METHODS[class_]


def of_json(document: Any, *, exact: bool = False) -> Any:
    """A JSON document; `exact` keeps its numbers as they were written."""
    if isinstance(document, dict):
        return {key: of_json(one, exact=exact) for key, one in document.items()}
    if isinstance(document, list):
        return [of_json(one, exact=exact) for one in document]
    if document is None or isinstance(document, (bool, str)):
        return NIL if document is None else document
    return Number(document) if exact else float(document)

"""Values with Go's types. Templates show them: `<nil>`, `map[a:1]`, and "can't evaluate field X in type *T".

A value is a pair of a type and JSON-like data; None stands for Go's invalid value (nothing there). Data by kind:
struct and map a dict (None for a nil map), slice a list (None for nil), ptr and interface None or a Value.
Objects of ours that templates look into (rows of lists) are structs whose fields are methods; see `Methods`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

BOOL, INT, UINT, FLOAT, COMPLEX, STRING = "bool", "int", "uint", "float", "complex", "string"
SLICE, MAP, STRUCT, POINTER, INTERFACE = "slice", "map", "struct", "ptr", "interface"
BASIC = frozenset({BOOL, INT, UINT, FLOAT, COMPLEX, STRING})
NILLABLE = frozenset({SLICE, MAP, POINTER, INTERFACE})


class StructField(NamedTuple):
    """A field of a struct. `key` is its name in JSON, empty when it is embedded there."""

    name: str
    key: str
    type: Type
    omit_empty: bool = False
    embedded: bool = False


class Type:
    """A Go type: its kind, its name as Go prints it, and what it is made of."""

    __slots__ = ("elem", "fields", "key", "kind", "methods", "name")

    def __init__(self, kind: str, name: str, elem: Type | None = None, key: Type | None = None) -> None:
        self.kind = kind
        self.name = name
        self.elem = elem
        self.key = key
        self.fields: list[StructField] = []
        self.methods: Mapping[str, Method] = {}

    def __repr__(self) -> str:
        return self.name


class Value(NamedTuple):
    """A typed value."""

    type: Type
    data: Any


class Method(NamedTuple):
    """A method without parameters, or with them: the function gets the data and the arguments."""

    call: Callable[..., Value | None]
    parameters: tuple[Type, ...] = ()


class Methods:
    """Base of objects that templates look into: every public method is a field, as on docker's rows.

    A method returns str, int, bool, a list or a dict; `GO_NAME` is the type's name in errors.
    """

    GO_NAME: ClassVar[str] = "*formatter.Context"
    # What comes first in JSON; the rest follows by name.
    JSON_ORDER: ClassVar[tuple[str, ...]] = ()

    def _for_json(self) -> Methods:
        """What JSON is made of: itself, but where docker prints other values there."""
        return self


ANY = Type(INTERFACE, "interface {}")
STRING_TYPE = Type(STRING, "string")
BOOL_TYPE = Type(BOOL, "bool")
INT_TYPE = Type(INT, "int")
INT64_TYPE = Type(INT, "int64")
UINT8_TYPE = Type(UINT, "uint8")
RUNE_TYPE = Type(INT, "int32")
FLOAT_TYPE = Type(FLOAT, "float64")
COMPLEX_TYPE = Type(COMPLEX, "complex128")
NUMBER_TYPE = Type(STRING, "json.Number")
STRINGS_TYPE = Type(SLICE, "[]string", STRING_TYPE)
ANY_LIST = Type(SLICE, "[]interface {}", ANY)
ANY_MAP = Type(MAP, "map[string]interface {}", ANY, STRING_TYPE)
STRING_MAP = Type(MAP, "map[string]string", STRING_TYPE, STRING_TYPE)


def of_json(document: Any, *, exact_numbers: bool = False) -> Value | None:
    """What Go's encoding/json decodes into `any`; with `exact_numbers` as Decoder.UseNumber does."""
    if document is None:
        return None
    if isinstance(document, bool):
        return Value(BOOL_TYPE, document)
    if isinstance(document, str):
        return Value(STRING_TYPE, document)
    if isinstance(document, (int, float)):
        return Value(NUMBER_TYPE, str(document)) if exact_numbers else Value(FLOAT_TYPE, float(document))
    if isinstance(document, list):
        return Value(ANY_LIST, [Value(ANY, of_json(one, exact_numbers=exact_numbers)) for one in document])
    return Value(ANY_MAP, {key: Value(ANY, of_json(one, exact_numbers=exact_numbers)) for key, one in document.items()})


def of_python(data: Any) -> Value | None:
    """What a method of ours returns, with the type that docker's has."""
    if data is None or isinstance(data, Value):
        return data
    if isinstance(data, bool):
        return Value(BOOL_TYPE, data)
    if isinstance(data, str):
        return Value(STRING_TYPE, data)
    if isinstance(data, int):
        return Value(INT_TYPE, data)
    if isinstance(data, float):
        return Value(FLOAT_TYPE, data)
    if isinstance(data, Methods):
        return Value(POINTER_TO_METHODS(data), Value(_methods_type(data), data))
    if isinstance(data, list):
        if all(isinstance(one, str) for one in data):
            return Value(STRINGS_TYPE, [Value(STRING_TYPE, one) for one in data])
        items = [of_python(one) for one in data]
        first = next((one.type for one in items if one is not None), ANY)
        return Value(Type(SLICE, f"[]{first.name}", first), items)
    if all(isinstance(one, str) for one in data.values()):
        return Value(STRING_MAP, {key: Value(STRING_TYPE, one) for key, one in data.items()})
    return of_json(data)


_methods_types: dict[type[Methods], tuple[Type, Type]] = {}


def _methods_type(data: Methods) -> Type:
    return _types_of_methods(type(data))[0]


def POINTER_TO_METHODS(data: Methods) -> Type:  # noqa: N802
    """The type of a pointer to one of our objects."""
    return _types_of_methods(type(data))[1]


def _types_of_methods(class_: type[Methods]) -> tuple[Type, Type]:
    found = _methods_types.get(class_)
    if found is None:
        struct = Type(STRUCT, class_.GO_NAME.removeprefix("*"))
        names = [name for name in dir(class_) if name[0].isupper() and callable(getattr(class_, name))]
        struct.methods = {name: _method(name) for name in names}
        pointer = Type(POINTER, class_.GO_NAME, struct)
        pointer.methods = struct.methods
        found = _methods_types[class_] = struct, pointer
    return found


def _method(name: str) -> Method:
    if name == "Label":
        return Method(lambda data, label: of_python(data.Label(label.data)), (STRING_TYPE,))
    return Method(lambda data: of_python(getattr(data, name)()))


def of_headings(headings: Mapping[str, str]) -> Value:
    """The headings of a table: placeholders to names. `.Label "a.b"` is headed `b`."""
    return Value(_HEADINGS, {key: Value(STRING_TYPE, one) for key, one in headings.items()})


def _label_heading(_data: Any, label: Value) -> Value:
    last = label.data.rpartition(".")[2]
    return Value(STRING_TYPE, last.replace("-", " ").replace("_", " "))


_HEADINGS = Type(MAP, "formatter.SubHeaderContext", STRING_TYPE, STRING_TYPE)
_HEADINGS.methods = {"Label": Method(_label_heading, (STRING_TYPE,))}


def zero(type_: Type) -> Value:
    """A type's zero value."""
    blank: Any = {BOOL: False, INT: 0, UINT: 0, FLOAT: 0.0, COMPLEX: 0j, STRING: ""}.get(type_.kind)
    if type_.kind == STRUCT:
        blank = {}
    return Value(type_, blank)


# What JSON must hold for a type.
_DECODED: dict[str, tuple[type, ...]] = {
    **{STRING: (str,), BOOL: (bool,), INT: (int,), UINT: (int,), FLOAT: (int, float), STRUCT: (dict,)}
}


def typed(document: Any, type_: Type) -> Value:
    """A JSON document read into a Go type, one level deep; what is below is read when it is looked at."""
    kind = type_.kind
    if document is None:
        return zero(type_)
    if kind == POINTER:
        assert type_.elem is not None
        return Value(type_, typed(document, type_.elem))
    if kind == INTERFACE:
        return Value(type_, of_json(document))
    if kind == SLICE and isinstance(document, list):
        assert type_.elem is not None
        return Value(type_, [typed(one, type_.elem) for one in document])
    if kind == MAP and isinstance(document, dict):
        assert type_.elem is not None
        return Value(type_, {key: typed(one, type_.elem) for key, one in document.items()})
    if kind not in _DECODED or not isinstance(document, _DECODED[kind]):
        return of_json(document) or zero(type_)  # an engine that speaks another dialect: show what it says
    if kind == FLOAT:
        assert isinstance(document, (int, float))
        return Value(type_, float(document))
    return Value(type_, document)


def field(value: Value, name: str) -> Value | None:
    """A field of a struct, also one that an embedded struct has; None when there is none of this name."""
    for one in value.type.fields:
        if one.name == name:
            return typed(value.data if one.embedded else value.data.get(one.key), one.type)
    for one in value.type.fields:
        if one.embedded:
            inner, _ = indirect(typed(value.data, one.type))
            if inner is not None and (found := field(inner, name)) is not None:
                return found
    return None


def indirect(value: Value | None) -> tuple[Value | None, bool]:
    """Follow pointers and interfaces; the flag tells that one of them is nil."""
    while value is not None and value.type.kind in (POINTER, INTERFACE):
        if value.data is None:
            return value, True
        value = value.data
    return value, False


def indirect_interface(value: Value | None) -> Value | None:
    """What an interface holds; other values as they are."""
    if value is not None and value.type.kind == INTERFACE:
        return value.data  # type: ignore[no-any-return]
    return value


def is_true(value: Value | None) -> bool:
    """Go's truth: not the zero of its type; a struct is always true."""
    if value is None:
        return False
    if value.type.kind == STRUCT:
        return True
    if value.type.kind in (POINTER, INTERFACE):
        return value.data is not None
    return bool(value.data)

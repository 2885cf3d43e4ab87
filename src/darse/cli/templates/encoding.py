"""JSON as Go's encoding/json writes it: fields of structs in their order, keys of maps sorted, no HTML escapes."""

from __future__ import annotations

import json

from darse.cli.templates import values as go
from darse.cli.templates.printing import format_float
from darse.cli.templates.values import Type, Value


def encode(value: Value | None) -> str:
    """The JSON of a value, on one line."""
    if value is None:
        return "null"
    kind, data = value.type.kind, value.data
    if kind in (go.INTERFACE, go.POINTER):
        return encode(data)
    if isinstance(data, go.Methods):
        return _row(data)
    if kind in go.BASIC:
        return _basic(value.type, data)
    if kind == go.SLICE:
        return "null" if data is None else "[" + ",".join(encode(one) for one in data) + "]"
    if kind == go.MAP:
        if data is None:
            return "null"
        return "{" + ",".join(f"{_string(key)}:{encode(data[key])}" for key in sorted(data)) + "}"
    return "{" + ",".join(_members(value)) + "}"


def _row(data: go.Methods) -> str:
    """A row of ours: its placeholders in order, with what HTML could misread escaped, as docker does it there."""
    data = data._for_json()
    methods = go.POINTER_TO_METHODS(data).methods
    order = {name: number for number, name in enumerate(data.JSON_ORDER)}
    named = sorted(methods.items(), key=lambda item: (order.get(item[0], len(order)), item[0]))
    members = (f"{_string(name)}:{encode(one.call(data))}" for name, one in named if not one.parameters)
    text = "{" + ",".join(members) + "}"
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _basic(type_: Type, data: object) -> str:
    if type_.kind == go.STRING:
        return str(data) if type_ is go.NUMBER_TYPE else _string(str(data))
    if type_.kind == go.BOOL:
        return "true" if data else "false"
    if type_.kind == go.FLOAT:
        assert isinstance(data, float)
        text = format_float(data, "g", None, smallest_exponent=-6, largest_exponent=21)
        return text.replace("e-0", "e-")
    return str(data)


def _string(text: str) -> str:
    escaped = json.dumps(text, ensure_ascii=False)
    for code in (0x2028, 0x2029):
        escaped = escaped.replace(chr(code), f"\\u{code:04x}")
    return escaped


def _members(value: Value) -> list[str]:
    members = []
    for one in value.type.fields:
        inner = go.field(value, one.name)
        if one.embedded:
            inner, _ = go.indirect(inner)
            if inner is not None and inner.type.kind == go.STRUCT:
                members += _members(inner)
            continue
        if one.key == "-" or (one.omit_empty and _is_empty(inner)):
            continue
        members.append(f"{_string(one.key)}:{encode(inner)}")
    return members


def _is_empty(value: Value | None) -> bool:
    """What `omitempty` leaves out: zero values, but no structs."""
    return value is None or (value.type.kind != go.STRUCT and not value.data)

"""The functions of templates: Go's own, and those that docker adds (json, join, split, title, lower, upper, pad…).

A function is a table row: the types of its parameters, that of those that may follow, and what it does with values.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

from darse.cli.templates import values as go
from darse.cli.templates.errors import CallError
from darse.cli.templates.printing import show, sprint, sprintf, sprintln
from darse.cli.templates.values import Type, Value

# A parameter of this type takes any value as it is, also an invalid one (Go's reflect.Value).
REFLECTED = Type(go.STRUCT, "reflect.Value")


class Function(NamedTuple):
    """A function of templates."""

    call: Callable[..., Value | None]
    parameters: tuple[Type, ...]
    more: Type | None = None


def _text(data: str) -> Value:
    return Value(go.STRING_TYPE, data)


def _bool(data: bool) -> Value:
    return Value(go.BOOL_TYPE, data)


def _strings(data: Sequence[str]) -> Value:
    return Value(go.STRINGS_TYPE, [_text(one) for one in data])


# Indexing.


def _bytes(value: Value) -> bytes:
    return str(value.data).encode(errors="surrogateescape")


def _length(value: Value) -> int:
    return len(_bytes(value)) if value.type.kind == go.STRING else len(value.data or ())


def _index_argument(index: Value | None, most: int) -> int:
    if index is None:
        raise CallError("cannot index slice/array with nil")
    if index.type.kind not in (go.INT, go.UINT):
        raise CallError(f"cannot index slice/array with type {index.type}")
    number = int(index.data)
    if not 0 <= number <= most:
        raise CallError(f"index out of range: {number}")
    return number


def _index(item: Value | None, *indexes: Value | None) -> Value | None:
    item = go.indirect_interface(item)
    if item is None:
        raise CallError("index of untyped nil")
    for one in map(go.indirect_interface, indexes):
        item, is_nil = go.indirect(item)
        if is_nil or item is None:
            raise CallError("index of nil pointer")
        kind = item.type.kind
        if kind == go.STRING:
            data = _bytes(item)
            number = _index_argument(one, len(data))
            if number == len(data):
                raise CallError("reflect: string index out of range")
            item = Value(go.UINT8_TYPE, data[number])
        elif kind == go.SLICE:
            number = _index_argument(one, len(item.data or ()))
            if number == len(item.data or ()):
                raise CallError("reflect: slice index out of range")
            item = item.data[number]
        elif kind == go.MAP:
            item = _map_entry(item, one)
        else:
            raise CallError(f"can't index item of type {item.type}")
    return item


def _map_entry(item: Value, key: Value | None) -> Value | None:
    assert item.type.elem is not None
    if key is None:
        raise CallError(f"value is nil; should be of type {item.type.key}")
    if item.type.key is None or key.type.name != item.type.key.name:
        # Not by what it is made of: a string is no nat.Port.
        raise CallError(f"value has type {key.type}; should be {item.type.key}")
    found = (item.data or {}).get(key.data)
    return found if found is not None else go.zero(item.type.elem)


def _slice(item: Value | None, *indexes: Value | None) -> Value:
    item = go.indirect_interface(item)
    if item is None:
        raise CallError("slice of untyped nil")
    item, is_nil = go.indirect(item)
    if is_nil or item is None:
        raise CallError("slice of nil pointer")
    if len(indexes) > 3:
        raise CallError(f"too many slice indexes: {len(indexes)}")
    kind = item.type.kind
    if kind == go.STRING and len(indexes) == 3:
        raise CallError("cannot 3-index slice a string")
    if kind not in (go.STRING, go.SLICE):
        raise CallError(f"can't slice item of type {item.type}")
    length = _length(item)
    bounds = [0, length]
    for number, one in enumerate(indexes):
        bound = _index_argument(one, length)
        bounds[number:] = [bound, *bounds[number + 1 :]]
    for low, high in itertools.pairwise(bounds):
        if low > high:
            raise CallError(f"invalid slice index: {low} > {high}")
    if kind == go.STRING:
        return Value(item.type, _bytes(item)[bounds[0] : bounds[1]].decode(errors="surrogateescape"))
    return Value(item.type, (item.data or [])[bounds[0] : bounds[1]])


def _len(item: Value | None) -> Value:
    item, is_nil = go.indirect(item)
    if is_nil:
        raise CallError("len of nil pointer")
    if item is None:
        raise CallError("reflect: call of reflect.Value.Type on zero Value")
    if item.type.kind not in (go.STRING, go.SLICE, go.MAP):
        raise CallError(f"len of type {item.type}")
    return Value(go.INT_TYPE, _length(item))


def _call(name: Value, function: Value | None, *_arguments: Value | None) -> Value:
    """`call`: no value of ours is a function. The evaluator gives it the source of its first argument."""
    function = go.indirect_interface(function)
    if function is None:
        raise CallError("call of nil")
    raise CallError(f"non-function {name.data} of type {function.type}")


# Comparison.


def _kind(value: Value | None) -> str:
    return value.type.kind if value is not None and value.type.kind in go.BASIC else ""


def _is_nil(value: Value | None) -> bool:
    return value is None or (value.type.kind in go.NILLABLE and value.data is None)


def _equal(first: Value | None, second: Value | None) -> bool:
    kinds = (_kind(first), _kind(second))
    if kinds[0] != kinds[1]:
        if set(kinds) == {go.INT, go.UINT}:
            assert first is not None
            assert second is not None
            return bool(first.data == second.data)
        if first is not None and second is not None:
            raise CallError(f"incompatible types for comparison: {first.type} and {second.type}")
        return False
    if kinds[0]:
        assert first is not None
        assert second is not None
        return bool(first.data == second.data)
    if first is not None and second is not None and first.type.kind != second.type.kind:
        raise CallError(f"non-comparable types {show(first)}: {first.type}, {second.type}: {show(second)}")
    if _is_nil(first) or _is_nil(second):
        return _is_nil(first) == _is_nil(second)
    assert first is not None
    assert second is not None
    if second.type.kind in (go.SLICE, go.MAP):
        raise CallError(f"non-comparable type {show(second)}: {second.type}")
    return first == second


def _eq(first: Value | None, *others: Value | None) -> Value:
    if not others:
        raise CallError("missing argument for comparison")
    first = go.indirect_interface(first)
    return _bool(any(_equal(first, go.indirect_interface(one)) for one in others))


def _less(first: Value | None, second: Value | None) -> bool:
    first, second = go.indirect_interface(first), go.indirect_interface(second)
    kinds = _kind(first), _kind(second)
    if not kinds[0] or not kinds[1]:
        raise CallError("invalid type for comparison")
    assert first is not None
    assert second is not None
    if kinds[0] != kinds[1] and set(kinds) != {go.INT, go.UINT}:
        raise CallError(f"incompatible types for comparison: {first.type} and {second.type}")
    if kinds[0] in (go.BOOL, go.COMPLEX):
        raise CallError("invalid type for comparison")
    return bool(first.data < second.data)


def _less_equal(first: Value | None, second: Value | None) -> bool:
    return _less(first, second) or bool(_eq(first, second).data)


# Escaping.

_HTML = str.maketrans({"\0": "\ufffd", '"': "&#34;", "'": "&#39;", "&": "&amp;", "<": "&lt;", ">": "&gt;"})
_JS: dict[int, str] = str.maketrans(
    {
        **{chr(code): f"\\u{code:04X}" for code in range(0x20)},
        **{"\\": "\\\\", "'": "\\'", '"': '\\"', "<": "\\u003C", ">": "\\u003E", "&": "\\u0026", "=": "\\u003D"},
    }
)
_UNESCAPED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def _printed(arguments: Sequence[Value | None]) -> str:
    shown = [go.indirect_interface(one) for one in arguments]
    return sprint([_text("<no value>") if one is None else go.indirect(one)[0] for one in shown])


def _html(*arguments: Value | None) -> Value:
    return _text(_printed(arguments).translate(_HTML))


def _js(*arguments: Value | None) -> Value:
    escaped = _printed(arguments).translate(_JS)
    return _text("".join(one if one.isascii() or one.isprintable() else f"\\u{ord(one):04X}" for one in escaped))


def _urlquery(*arguments: Value | None) -> Value:
    data = _printed(arguments).encode(errors="surrogateescape")
    return _text("".join(chr(one) if one in _UNESCAPED else "+" if one == 32 else f"%{one:02X}" for one in data))


# docker's own.


def _json(value: Value | None) -> Value:
    from darse.cli.templates.encoding import encode

    return _text(encode(value))


def _title(text: Value) -> Value:
    out, begins = [], True
    for character in text.data:
        out.append(character.title() if begins else character)
        begins = not (character.isalnum() or character in "_'") if character.isascii() else character.isspace()
        begins = begins or character == "'"
    return _text("".join(out))


def _split(text: Value, separator: Value) -> Value:
    return _strings(text.data.split(separator.data) if separator.data else list(text.data))


def _join(items: Value, separator: Value) -> Value:
    return _text(separator.data.join(one.data for one in items.data or ()))


def _pad(text: Value, before: Value, after: Value) -> Value:
    if not text.data:
        return text
    for count in (before.data, after.data):
        if count < 0:
            raise CallError("strings: negative Repeat count")
    return _text(" " * before.data + text.data + " " * after.data)


def _truncate(text: Value, length: Value) -> Value:
    data = _bytes(text)
    if len(data) < length.data:
        return _text(text.data)
    if length.data < 0:
        raise CallError(f"runtime error: slice bounds out of range [:{length.data}]")
    return _text(data[: length.data].decode(errors="surrogateescape"))


_S, _I = go.STRING_TYPE, go.INT_TYPE
FUNCTIONS: dict[str, Function] = {
    # `and` and `or` are the evaluator's: they do not look at all of their arguments.
    "and": Function(_index, (REFLECTED,), REFLECTED),
    "or": Function(_index, (REFLECTED,), REFLECTED),
    "call": Function(_call, (REFLECTED,), REFLECTED),
    "html": Function(_html, (), go.ANY),
    "index": Function(_index, (REFLECTED,), REFLECTED),
    "slice": Function(_slice, (REFLECTED,), REFLECTED),
    "js": Function(_js, (), go.ANY),
    "len": Function(_len, (REFLECTED,)),
    "not": Function(lambda one: _bool(not go.is_true(go.indirect_interface(one))), (REFLECTED,)),
    "print": Function(lambda *many: _text(sprint(many)), (), go.ANY),
    "printf": Function(lambda form, *many: _text(sprintf(form.data, many)), (_S,), go.ANY),
    "println": Function(lambda *many: _text(sprintln(many)), (), go.ANY),
    "urlquery": Function(_urlquery, (), go.ANY),
    "eq": Function(_eq, (REFLECTED,), REFLECTED),
    "ne": Function(lambda one, two: _bool(not _eq(one, two).data), (REFLECTED, REFLECTED)),
    "lt": Function(lambda one, two: _bool(_less(one, two)), (REFLECTED, REFLECTED)),
    "le": Function(lambda one, two: _bool(_less_equal(one, two)), (REFLECTED, REFLECTED)),
    "gt": Function(lambda one, two: _bool(not _less_equal(one, two)), (REFLECTED, REFLECTED)),
    "ge": Function(lambda one, two: _bool(not _less(one, two)), (REFLECTED, REFLECTED)),
    "json": Function(_json, (go.ANY,)),
    "split": Function(_split, (_S, _S)),
    "join": Function(_join, (go.STRINGS_TYPE, _S)),
    "title": Function(_title, (_S,)),
    "lower": Function(lambda text: _text(text.data.lower()), (_S,)),
    "upper": Function(lambda text: _text(text.data.upper()), (_S,)),
    "pad": Function(_pad, (_S, _I, _I)),
    "truncate": Function(_truncate, (_S, _I)),
}

# In the heading of a table these leave the column's name alone.
HEADING_FUNCTIONS = {
    **FUNCTIONS,
    **{name: Function(lambda text: text, (_S,)) for name in ("json", "title", "lower", "upper")},
    **{name: Function(lambda text, _: text, (_S, _S)) for name in ("split", "join")},
    "truncate": Function(lambda text, _: text, (_S, _I)),
}

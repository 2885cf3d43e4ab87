"""The functions of templates: those of Go's text/template, and docker's (json, split, join, title, pad, truncate…)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from darse.cli.templates.printing import LONGEST, bounded, encode, show, sprint, sprintf
from darse.cli.templates.values import NIL, CallError, List, Map, Nil, kind, type_name

# What a parameter takes; the other types are those of docker's own functions.
ANY, STRING, INT, STRINGS = "any", "string", "int", "[]string"


class Function:
    """A function, the types of its parameters, and that of as many more as are given; empty when there are none."""

    def __init__(self, call: Callable[..., Any], *parameters: str, more: str = "") -> None:
        self.call, self.parameters, self.more = call, parameters, more


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


def _text(data: bytes) -> str:
    return data.decode(errors="surrogateescape")


def _position(index: Any, most: int) -> int:
    if index is None or index is NIL:
        raise CallError("cannot index slice/array with nil")
    if kind(index) != "int":
        raise CallError(f"cannot index slice/array with type {type_name(index)}")
    if not 0 <= index <= most:
        raise CallError(f"index out of range: {index}")
    return int(index)


def _index(item: Any, *indexes: Any) -> Any:
    if item is None or item is NIL:
        raise CallError("index of untyped nil")
    for index in indexes:
        if isinstance(item, dict):
            item = _entry(item, index)
        elif isinstance(item, (list, str)):
            data = _bytes(item) if isinstance(item, str) else item
            number = _position(index, len(data))
            if number == len(data):
                raise CallError(f"reflect: {'string' if isinstance(item, str) else 'slice'} index out of range")
            item = data[number]
        elif item is None or isinstance(item, Nil):
            raise CallError("index of nil pointer")
        else:
            raise CallError(f"can't index item of type {type_name(item)}")
    return item


def _entry(item: dict[str, Any], key: Any) -> Any:
    required = type_name(item)[len("map[") :].partition("]")[0]
    if key is None or key is NIL:
        raise CallError(f"value is nil; should be of type {required}")
    if type_name(key) != required:  # a string is no nat.Port
        raise CallError(f"value has type {type_name(key)}; should be {required}")
    return item.get(key, item.zero if isinstance(item, Map) else None)


def _slice(item: Any, *indexes: Any) -> Any:
    if item is None or item is NIL:
        raise CallError("slice of untyped nil")
    if len(indexes) > 3:
        raise CallError(f"too many slice indexes: {len(indexes)}")
    if isinstance(item, str) and len(indexes) == 3:
        raise CallError("cannot 3-index slice a string")
    if not isinstance(item, (str, list)):
        raise CallError(f"can't slice item of type {type_name(item)}")
    data = _bytes(item) if isinstance(item, str) else item
    bounds = [_position(index, len(data)) for index in indexes]
    for low, high in itertools.pairwise(bounds):
        if low > high:
            raise CallError(f"invalid slice index: {low} > {high}")
    low, high = [*bounds, *(0, len(data))[len(bounds) :]][:2]
    part = data[low:high]
    return _text(part) if isinstance(part, bytes) else List(type_name(item), part)


def _len(item: Any) -> int:
    if item is None:
        raise CallError("reflect: call of reflect.Value.Type on zero Value")
    if isinstance(item, Nil):
        raise CallError("len of nil pointer")
    if not isinstance(item, (str, list, dict)):
        raise CallError(f"len of type {type_name(item)}")
    return len(_bytes(item) if isinstance(item, str) else item)


def _is_nil(value: Any) -> bool:
    return value is None or isinstance(value, Nil) or getattr(value, "is_nil", False)


def _equal(first: Any, second: Any) -> bool:
    first, second = (None if one is NIL else one for one in (first, second))
    kinds = kind(first), kind(second)
    if kinds[0] != kinds[1]:
        if first is None or second is None:
            return False
        raise CallError(f"incompatible types for comparison: {type_name(first)} and {type_name(second)}")
    if kinds[0]:
        return bool(first == second)
    if _is_nil(first) or _is_nil(second):
        return _is_nil(first) and _is_nil(second)
    names = type_name(first), type_name(second)
    if isinstance(first, list) != isinstance(second, list) or isinstance(first, dict) != isinstance(second, dict):
        shown = sprintf("%s", [first]), sprintf("%s", [second])
        raise CallError(f"non-comparable types {shown[0]}: {names[0]}, {names[1]}: {shown[1]}")
    if isinstance(second, (list, dict)):
        raise CallError(f"non-comparable type {sprintf('%s', [second])}: {names[1]}")
    return first is second


def _eq(first: Any, *others: Any) -> bool:
    if not others:
        raise CallError("missing argument for comparison")
    return any(_equal(first, one) for one in others)


def _less(first: Any, second: Any) -> bool:
    kinds = kind(first), kind(second)
    if not all(kinds) or (kinds[0] == kinds[1] and kinds[0] in ("bool", "complex128")):
        raise CallError("invalid type for comparison")
    if kinds[0] != kinds[1]:
        raise CallError(f"incompatible types for comparison: {type_name(first)} and {type_name(second)}")
    return bool(first < second)


def _less_or_equal(first: Any, second: Any) -> bool:
    return _less(first, second) or _equal(first, second)


_HTML = str.maketrans({"\0": "\ufffd", '"': "&#34;", "'": "&#39;", "&": "&amp;", "<": "&lt;", ">": "&gt;"})
_JS = {code: f"\\u{code:04X}" for code in (*range(0x20), *b"<>&=")} | {ord(one): f"\\{one}" for one in "\\'\""}
_URL = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def _printed(values: Sequence[Any]) -> str:
    return sprint(["<no value>" if one is None or one is NIL else one for one in values])


def _js(*values: Any) -> str:
    text = _printed(values).translate(_JS)
    return "".join(one if one.isascii() or one.isprintable() else f"\\u{ord(one):04X}" for one in text)


def _urlquery(*values: Any) -> str:
    data = _bytes(_printed(values))
    return "".join(chr(byte) if byte in _URL else "+" if byte == 32 else f"%{byte:02X}" for byte in data)


def _title(text: str) -> str:
    """Each word with a capital; of ASCII anything but letters, digits and `_` separates words, else spaces."""

    def separates(one: str) -> bool:
        return not (one.isalnum() or one == "_") if one.isascii() else one.isspace()

    return "".join(one.title() if separates(old) else one for old, one in zip(" " + text, text, strict=False))


def _pad(text: str, before: int, after: int) -> str:
    if text and min(before, after) < 0:
        raise CallError("strings: negative Repeat count")
    spaces = [" " * min(count, LONGEST + 1) for count in (before, after)]
    return bounded([spaces[0], text, spaces[1]]) if text else text


def _truncate(text: str, length: int) -> str:
    if length < 0:
        raise CallError(f"runtime error: slice bounds out of range [:{length}]")
    return _text(_bytes(text)[:length])


def _call(text: str, value: Any) -> NoReturn:
    if value is None or value is NIL:
        raise CallError("call of nil")
    raise CallError(f"non-function {text} of type {type_name(value)}")


FUNCTIONS: dict[str, Function] = {
    # `and` and `or` are the caller's: they look at no more arguments than they need.
    "and": Function(_index, ANY, more=ANY),
    "or": Function(_index, ANY, more=ANY),
    "call": Function(lambda text, value, *_: _call(text, value), ANY, more=ANY),
    "index": Function(_index, ANY, more=ANY),
    "slice": Function(_slice, ANY, more=ANY),
    "len": Function(_len, ANY),
    "not": Function(lambda value: not value, ANY),
    "eq": Function(_eq, ANY, more=ANY),
    "ne": Function(lambda first, second: not _equal(first, second), ANY, ANY),
    "lt": Function(_less, ANY, ANY),
    "le": Function(_less_or_equal, ANY, ANY),
    "gt": Function(lambda first, second: not _less_or_equal(first, second), ANY, ANY),
    "ge": Function(lambda first, second: not _less(first, second), ANY, ANY),
    "print": Function(lambda *values: sprint(values), more=ANY),
    "println": Function(lambda *values: bounded(map(show, values), " ") + "\n", more=ANY),
    "printf": Function(lambda text, *values: sprintf(text, values), STRING, more=ANY),
    "html": Function(lambda *values: _printed(values).translate(_HTML), more=ANY),
    "js": Function(_js, more=ANY),
    "urlquery": Function(_urlquery, more=ANY),
    "json": Function(encode, ANY),
    "split": Function(lambda text, by: List(STRINGS, text.split(by) if by else list(text)), STRING, STRING),
    "join": Function(bounded, STRINGS, STRING),
    "title": Function(_title, STRING),
    "lower": Function(str.lower, STRING),
    "upper": Function(str.upper, STRING),
    "pad": Function(_pad, STRING, INT, INT),
    "truncate": Function(_truncate, STRING, INT),
}
# In the heading of a table these leave a column's name alone.
HEADING_FUNCTIONS = FUNCTIONS | {
    name: Function(lambda text, *_: text, STRING, *FUNCTIONS[name].parameters[1:])
    for name in ("json", "title", "lower", "upper", "split", "join", "truncate")
}

"""The functions of templates: Go's own, and docker's."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from darse.cli.templates.lexer import TemplateError
from darse.cli.templates.values import MISSING, go_print, is_true, kind_of

_VERB = re.compile(r"%(?P<flags>[-+# 0]*)(?P<width>\d+)?(?:\.(?P<precision>\d*))?(?P<verb>[a-zA-Z%])")


def _json(value: Any) -> str:
    """docker's `json`: without escaping of <, > and &."""
    return json.dumps(None if value is MISSING else value, ensure_ascii=False, separators=(",", ":"))


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if value is None or value is MISSING:
            raise TemplateError("error calling index: index of untyped nil")
        if isinstance(value, dict):
            value = value.get(key, MISSING)
        elif isinstance(value, (list, str)):
            if not isinstance(key, int) or isinstance(key, bool):
                raise TemplateError(f"error calling index: cannot index slice/array with type {kind_of(key)}")
            if not 0 <= key < len(value):
                raise TemplateError(f"error calling index: index out of range: {key}")
            value = ord(value[key]) if isinstance(value, str) else value[key]
        else:
            raise TemplateError(f"error calling index: can't index item of type {kind_of(value)}")
    return value


def _slice(value: Any, *bounds: int) -> Any:
    if not isinstance(value, (list, str)):
        raise TemplateError(f"error calling slice: can't slice item of type {kind_of(value)}")
    low, high = [*bounds, *([0, len(value)][len(bounds) :])][:2]
    if not 0 <= low <= high <= len(value):
        raise TemplateError(f"error calling slice: index out of range: {high}")
    return value[low:high]


def _len(value: Any) -> int:
    if isinstance(value, (list, dict)):
        return len(value)
    if isinstance(value, str):
        return len(value.encode())
    raise TemplateError(f"error calling len: len of type {kind_of(value)}")


def _join(parts: Any, separator: str) -> str:
    return separator.join(go_print(part) for part in parts or ())


def _split(text: str, separator: str) -> list[str]:
    return text.split(separator) if separator else list(text)


def _truncate(text: str, length: int) -> str:
    return text[:length]


def _pad(text: str, before: int, after: int) -> str:
    return text if not text else " " * before + text + " " * after


def _title(text: str) -> str:
    return re.sub(r"(?<![\w'])\w", lambda match: match[0].upper(), text)


def _print(*values: Any) -> str:
    """fmt.Sprint: a space between operands when neither is a string."""
    parts: list[str] = []
    for number, value in enumerate(values):
        if number and not isinstance(value, str) and not isinstance(values[number - 1], str):
            parts.append(" ")
        parts.append(go_print(value))
    return "".join(parts)


def _println(*values: Any) -> str:
    return " ".join(go_print(value) for value in values) + "\n"


def _printf(form: str, *values: Any) -> str:
    queue = list(values)

    def verb(match: re.Match[str]) -> str:
        kind = match["verb"]
        if kind == "%":
            return "%"
        if not queue:
            return f"%!{kind}(MISSING)"
        return _formatted(queue.pop(0), match)

    text = _VERB.sub(verb, form)
    if queue:
        text += "%!(EXTRA " + ", ".join(f"{kind_of(value)}={go_print(value)}" for value in queue) + ")"
    return text


def _formatted(value: Any, match: re.Match[str]) -> str:
    kind, flags = match["verb"], match["flags"]
    precision = int(match["precision"]) if match["precision"] else 0 if match["precision"] == "" else None
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    text = f"%!{kind}({kind_of(value)}={go_print(value)})"
    if kind == "v":
        text = go_print(value)
    elif kind == "T":
        text = kind_of(value)
    elif kind == "t" and isinstance(value, bool):
        text = go_print(value)
    elif kind == "s" and not number and not isinstance(value, bool):
        text = go_print(value)
        text = text if precision is None else text[:precision]
    elif kind == "q" and isinstance(value, str):
        text = json.dumps(value, ensure_ascii=False)
    elif kind in "xX" and isinstance(value, str):
        text = value.encode().hex()
        text = text.upper() if kind == "X" else text
    elif kind in "dxXobc" and number and isinstance(value, int):
        text = chr(value) if kind == "c" else format(value, kind if kind != "d" else "d")
        text = f"+{text}" if "+" in flags and value >= 0 else text
    elif kind in "feEgG" and isinstance(value, float):
        text = format(value, f".{6 if precision is None and kind in 'feE' else precision or 6}{kind}")
    if match["width"]:
        width = int(match["width"])
        if "-" in flags:
            return text.ljust(width)
        if "0" in flags and number:
            return text.zfill(width)
        return text.rjust(width)
    return text


def _comparable(left: Any, right: Any) -> None:
    numbers = (int, float)
    same = (
        type(left) is type(right)
        or left is None
        or right is None
        or (isinstance(left, numbers) and isinstance(right, numbers) and bool not in (type(left), type(right)))
    )
    if not same:
        raise TemplateError("error calling eq: incompatible types for comparison")


def _eq(first: Any, *others: Any) -> bool:
    if not others:
        raise TemplateError("error calling eq: missing argument for comparison")
    for other in others:
        _comparable(first, other)
        if first == other:
            return True
    return False


def _less(left: Any, right: Any) -> bool:
    _comparable(left, right)
    if isinstance(left, (bool, list, dict)) or left is None:
        raise TemplateError("error calling lt: invalid type for comparison")
    return bool(left < right)


def _html(*values: Any) -> str:
    text = _print(*values)
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&#34;"), ("'", "&#39;")):
        text = text.replace(character, entity)
    return text


def _js(*values: Any) -> str:
    return json.dumps(_print(*values))[1:-1].replace("'", "\\'").replace("<", "\\u003C").replace(">", "\\u003E")


def _urlquery(*values: Any) -> str:
    from darse.cli.client import quote

    return quote(_print(*values)).replace("%20", "+")


# `and` and `or` are in the evaluator: they stop at the first argument that decides.
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "not": lambda value: not is_true(value),
    "eq": _eq,
    "ne": lambda left, right: not _eq(left, right),
    "lt": _less,
    "le": lambda left, right: _less(left, right) or _eq(left, right),
    "gt": lambda left, right: not (_less(left, right) or _eq(left, right)),
    "ge": lambda left, right: not _less(left, right),
    "index": _index,
    "slice": _slice,
    "len": _len,
    "print": _print,
    "printf": _printf,
    "println": _println,
    "html": _html,
    "js": _js,
    "urlquery": _urlquery,
    "json": _json,
    "join": _join,
    "split": _split,
    "lower": lambda text: text.lower(),
    "upper": lambda text: text.upper(),
    "title": _title,
    "pad": _pad,
    "truncate": _truncate,
}
SHORT_CIRCUIT = frozenset({"and", "or"})
NAMES = frozenset(FUNCTIONS) | SHORT_CIRCUIT

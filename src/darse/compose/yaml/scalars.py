"""What a plain scalar means: YAML 1.2's core schema with what Go's yaml package v3 keeps of 1.1, as compose reads it.

`yes`, `on` and `22:22` are strings; `017` is fifteen, and so are `0o17` and `0b1111`; `1_000` is a thousand; `~` and
the empty scalar are null. A date is a string here: no attribute of compose is a time.
"""

from __future__ import annotations

import math
import re

NULL = frozenset({"", "~", "null", "Null", "NULL"})
TRUE = frozenset({"true", "True", "TRUE"})
FALSE = frozenset({"false", "False", "FALSE"})
_INFINITY = frozenset({".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"})
_MINUS_INFINITY = frozenset({"-.inf", "-.Inf", "-.INF"})
_NAN = frozenset({".nan", ".NaN", ".NAN"})
_INTEGER = re.compile(r"[-+]?(0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|0|[1-9][0-9]*)\Z", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z", re.ASCII)
_TIMESTAMP = re.compile(
    r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}"
    r"([Tt][0-9]{1,2}:[0-9]{1,2}:[0-9]{1,2}(\.[0-9]+)?(Z|[-+][0-9]{2}:[0-9]{2})"
    r"| [0-9]{1,2}:[0-9]{1,2}:[0-9]{1,2}(\.[0-9]+)?)?\Z",
    re.ASCII,
)
# Words and numbers of YAML 1.1: strings here, but written in quotes, since other readers take them for more.
_OLD_BOOLEAN = frozenset("y Y yes Yes YES on On ON n N no No NO off Off OFF".split())
_BASE_60 = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?\Z", re.ASCII)
_HINTS = frozenset("+-.0123456789")
_BASES = {"x": 16, "b": 2, "o": 8}
_LARGEST = (1 << 64) - 1
_SMALLEST = -(1 << 63)

Scalar = str | int | float | bool | None


def resolve(text: str) -> Scalar:
    """The value of a plain scalar."""
    first = text[:1]
    if first in _HINTS and first:
        return _number(text)
    if text in NULL:
        return None
    if text in TRUE:
        return True
    if text in FALSE:
        return False
    return text


def _number(text: str) -> Scalar:
    if text in _INFINITY:
        return math.inf
    if text in _MINUS_INFINITY:
        return -math.inf
    if text in _NAN:
        return math.nan
    if text[0] == ".":
        return float(text) if _FLOAT.match(text) else text
    if is_timestamp(text):
        return text
    plain = text.replace("_", "")
    if _INTEGER.match(plain):
        whole = _integer(plain)
        if _SMALLEST <= whole <= _LARGEST:
            return whole
    number = float(plain) if _FLOAT.match(plain) else math.inf
    return text if math.isinf(number) else number


def _integer(plain: str) -> int:
    digits = plain.lstrip("+-")
    if len(digits) > 1 and digits[0] == "0":
        base = _BASES.get(digits[1].lower())
        number = int(digits[2:], base) if base else int(digits, 8)
    else:
        number = int(digits)
    return -number if plain[0] == "-" else number


def is_timestamp(text: str) -> bool:
    """Whether readers of YAML take this for a date or a time."""
    return len(text) > 7 and text[4] == "-" and _TIMESTAMP.match(text) is not None


def needs_quotes(text: str) -> bool:
    """Whether a string, written plain, would be read as something else by this reader or by one of YAML 1.1."""
    if type(resolve(text)) is not str or text in _OLD_BOOLEAN:
        return True
    return text[:1] in _HINTS and (is_timestamp(text) or _BASE_60.match(text) is not None)

"""Write values as YAML the way docker compose prints its model: two spaces, sequences indented, one style per string.

The styles are those of Go's yaml package: plain where it reads back as the same string, `|` where there are several
lines, and quotes elsewhere, without a limit to the width of a line.
"""

from __future__ import annotations

import math
import re
from typing import Any

from darse.compose.yaml.scalars import needs_quotes

# What no plain scalar begins with, and what none contains.
_BEGINS = frozenset("#,[]{}&*!|>'\"%@`")
_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./=@+*(),;-]*(?::[A-Za-z0-9_./=@+*(),;-]+)*\Z", re.ASCII)
_ESCAPES = {
    "\0": "\\0",
    "\a": "\\a",
    "\b": "\\b",
    "\t": "\\t",
    "\n": "\\n",
    "\v": "\\v",
    "\f": "\\f",
    "\r": "\\r",
    "\x1b": "\\e",
    '"': '\\"',
    "\\": "\\\\",
    "\x85": "\\N",
    "\xa0": "\\_",
    "\u2028": "\\L",
    "\u2029": "\\P",
}
_BREAKS = "\n\r\x85\u2028\u2029"


def write(value: Any) -> str:
    """A document of mappings, sequences and scalars; mappings keep their order."""
    lines: list[str] = []
    _value(value, "", "", lines)
    return "\n".join(lines) + "\n"


def _value(value: Any, head: str, indent: str, lines: list[str]) -> None:
    """Append a value after `head` (a key, or a dash); what is nested is indented by `indent`."""
    if isinstance(value, dict) and value:
        if head.endswith(":"):
            lines.append(head)
            head = ""
        first = head
        for key, one in value.items():
            _value(one, f"{first or indent}{_key(key)}:", indent + "  ", lines)
            first = ""
    elif isinstance(value, list) and value:
        if head.endswith(":"):
            lines.append(head)
            head = ""
        first = head
        for one in value:
            _value(one, f"{first or indent}- ", indent + "  ", lines)
            first = ""
    else:
        space = " " if head.endswith(":") else ""
        lines.append(head + space + scalar(value, indent))


def _key(key: str) -> str:
    text = scalar(key, "")
    return _double(key) if text[0] == "|" or text == "<<" else text


def scalar(value: Any, indent: str = "") -> str:
    """A scalar, or an empty mapping or sequence; the lines of a text in several are indented by `indent`."""
    if isinstance(value, str):
        return _string(value, indent)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return number(value)
    if isinstance(value, (dict, list)):
        return "{}" if isinstance(value, dict) else "[]"
    return str(value)


def number(value: float) -> str:
    """A number with a fraction as Go's `%g` has it: as short as may be, with an exponent from a million on."""
    if math.isnan(value):
        return ".nan"
    if math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    mantissa, _, power = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    exponent = int(power or 0) + len(whole) - 1 - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0") or "0"
    sign = "-" if math.copysign(1, value) < 0 else ""
    if not value:
        return f"{sign}0"
    if exponent < -4 or exponent >= 6:
        rest = f".{digits[1:]}" if len(digits) > 1 else ""
        return f"{sign}{digits[0]}{rest}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"
    if exponent < 0:
        return f"{sign}0.{'0' * (-exponent - 1)}{digits}"
    padded = digits.ljust(exponent + 1, "0")
    rest = padded[exponent + 1 :]
    return f"{sign}{padded[: exponent + 1]}" + (f".{rest}" if rest else "")


def _string(text: str, indent: str) -> str:
    if _PLAIN.match(text) and not needs_quotes(text):
        return text
    if not text:
        return '""'
    literal, single, plain = _styles(text)
    if "\n" in text:
        return _literal(text, indent) if literal else _double(text)
    if needs_quotes(text):
        return _double(text)
    if plain:
        return text
    return "'" + text.replace("'", "''") + "'" if single else _double(text)


def _styles(text: str) -> tuple[bool, bool, bool]:
    """Whether a text may be a literal, in single quotes, plain."""
    special = not all(_is_printable(one) or one == "\t" for one in text)
    space_break = any(f" {one}" in text for one in _BREAKS)
    break_space = any(f"{one} " in text for one in _BREAKS)
    breaks = any(one in text for one in _BREAKS)
    literal = not (special or space_break or text.endswith(" ") or "\r" in text)
    single = not (special or space_break or break_space or "\t" in text)
    plain = single and not breaks and not _indicates(text)
    return literal, single, plain


def _is_printable(one: str) -> bool:
    """What may stand in a file as it is. Signs beyond the first plane are escaped, as Go's package does."""
    return (
        one == "\n"
        or " " <= one <= "~"
        or "\xa0" <= one <= "\ud7ff"
        or ("\ue000" <= one <= "\ufffd" and one != "\ufeff")
    )


def _indicates(text: str) -> bool:
    first, second = text[0], text[1:2]
    if first in _BEGINS or text.startswith(("---", "...")) or text != text.strip(" "):
        return True
    if first in "-?:" and second in ("", " ", "\t"):
        return True
    return ": " in text or ":\t" in text or text.endswith(":") or " #" in text or "\t#" in text


def _literal(text: str, indent: str) -> str:
    hint = "2" if text[0] in " \n" else ""
    stripped = text.rstrip("\n")
    breaks = len(text) - len(stripped)
    chomp = "-" if not breaks else "+" if breaks > 1 or not stripped else ""
    body = [indent + line if line else "" for line in text.removesuffix("\n").split("\n")]
    return "\n".join([f"|{hint}{chomp}", *body])


def _double(text: str) -> str:
    return '"' + "".join(_escaped(one) for one in text) + '"'


def _escaped(one: str) -> str:
    if _is_printable(one) and one not in '"\\\n\u2028\u2029':
        return one
    if one in _ESCAPES:
        return _ESCAPES[one]
    code = ord(one)
    if code <= 0xFF:
        return f"\\x{code:02X}"
    return f"\\u{code:04X}" if code <= 0xFFFF else f"\\U{code:08X}"

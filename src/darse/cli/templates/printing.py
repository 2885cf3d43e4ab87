"""Values as text: `print` and `printf` with the verbs and flags of Go's package fmt, and JSON as docker prints it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from darse.cli.templates.values import NIL, CallError, Nil, Number, Struct, methods, type_name
from darse.quoting import quote

# A template must not fill the memory: no text that it makes is longer.
LONGEST = 16 << 20
_INDEX = r"(?:\[([^\]]*)\])?"
_DIRECTIVE = rf"%([-+# 0]*)(?:{_INDEX}(\*)|(\d*))(?:(\.)(?:{_INDEX}(\*)|(\d*)))?{_INDEX}(.?)"


def bounded(pieces: Iterable[str], separator: str = "") -> str:
    """The pieces as one text. Raises CallError when it grows too long."""
    kept, length = [], 0
    for piece in pieces:
        length += len(piece) + len(separator)
        if length > LONGEST:
            raise CallError(f"the text is longer than {LONGEST} characters")
        kept.append(piece)
    return separator.join(kept)


class Directive:
    """A directive of a format: `%-8.2f` has flags `-`, width 8, precision 2 and verb f."""

    def __init__(self, verb: str, flags: str = "", width: int = 0, precision: int | None = None) -> None:
        self.verb, self.flags, self.width, self.precision = verb, flags, width, precision

    def verbed(self, verb: str, without: str = "") -> Directive:
        """The same for another verb, without a flag."""
        return Directive(verb, self.flags.replace(without, ""), self.width, self.precision)

    def pad(self, text: str) -> str:
        """`text` in the width of the directive."""
        return (
            text.ljust(self.width) if "-" in self.flags else text.rjust(self.width, "0" if "0" in self.flags else " ")
        )

    def number(self, value: float, digits: str) -> str:
        """The digits of a number with its sign, in the width of the directive."""
        sign = "-" if repr(value)[0] == "-" else "+" if "+" in self.flags else " " if " " in self.flags else ""
        zeros = self.width - len(sign) if "0" in self.flags and "-" not in self.flags else 0
        return self.pad(sign + digits.rjust(zeros, "0"))

    def of_c(self, value: float) -> str:
        """A number as C's printf has it, which is Go's but for the prefix of octal."""
        precision = "" if self.precision is None else f".{self.precision}"
        return (f"%{self.flags}{self.width}{precision}{self.verb}" % value).replace("0o", "0")


_PLAIN = Directive("v")


def show(value: Any, one: Directive = _PLAIN, depth: int = 0) -> str:
    """A value as a directive shows it, without one as `print` does; `depth` is that of the lists around it."""
    if type(value) is str and one is _PLAIN:
        return value
    if one.verb == "T":
        return one.pad("<nil>" if value is None or value is NIL else type_name(value))
    is_source = one.verb == "v" and "#" in one.flags
    if value is None or isinstance(value, Nil):
        name = "" if value is None or value is NIL else f"{value.GO_NAME}="
        nil = f"{value.GO_NAME}(nil)" if value is not None and is_source else "<nil>"
        return nil if depth else one.pad("<nil>") if one.verb == "v" else f"%!{one.verb}({name}<nil>)"
    if one.verb in "vsqxX" and "String" in methods(type(value)) and not is_source:
        value = value.String()
    if is_source and isinstance(value, str):
        return quote(value)
    if isinstance(value, (str, int, float, complex)):
        text = _scalar(value, one.verbed("v", "#") if is_source else one)
        return f"%!{one.verb}({type_name(value)}={show(value, one.verbed('v', '#'))})" if text is None else text
    if isinstance(value, list):
        head, brackets, items = "", "[]", (show(item, one, depth + 1) for item in value)
    elif isinstance(value, dict):
        head, brackets = "map", "[]"
        items = (f"{show(key, one, depth + 1)}:{show(value[key], one, depth + 1)}" for key in sorted(value))
    else:
        names = is_source or "+" in one.flags
        head, brackets = "&" if value.GO_NAME[0] == "*" and not depth else "", "{}"
        items = ((f"{name}:" if names else "") + show(item, one, depth + 1) for name, item in _members(value))
    if is_source:
        name = type_name(value)
        return f"{'&' if name[0] == '*' else ''}{name.lstrip('*')}{{{bounded(items, ', ')}}}"
    return f"{head}{brackets[0]}{bounded(items, ' ')}{brackets[1]}"


def _members(value: Any) -> Iterator[tuple[str, Any]]:
    """The fields of a struct, or those of a row that take no argument, in the order of docker's JSON."""
    if isinstance(value, Struct):
        yield from ((field[0], value.value(field)) for field in value.fields)
        return
    value = value.for_json()
    names = sorted(methods(type(value)))
    for name in sorted(names, key=[*value.JSON_ORDER, *names].index):
        if methods(type(value))[name].__code__.co_argcount == 1:
            yield name, getattr(value, name)()


def _scalar(value: Any, one: Directive) -> str | None:
    """A value that is no collection; None when the directive's verb is for others."""
    if isinstance(value, bool):
        return one.pad(str(value).lower()) if one.verb in "tv" else None
    if isinstance(value, str):
        return _string(value, one)
    if one.verb == "v":
        one = one.verbed("v", "+")  # it asks for the names of fields
    if isinstance(value, complex):
        parts = _float(value.real, one), _float(value.imag, Directive(one.verb, "+", one.width, one.precision))
        return None if None in parts else f"({parts[0]}{parts[1]}i)"
    return _integer(value, one) if isinstance(value, int) else _float(value, one)


def _string(text: str, one: Directive) -> str | None:
    if one.verb in "xX":
        prefix = "0x" if "#" in one.flags else ""
        data = text.encode(errors="surrogateescape")[: one.precision]
        digits = prefix + (data.hex(" ").replace(" ", f" {prefix}") if " " in one.flags else data.hex()) if data else ""
        return one.pad(digits.upper() if one.verb == "X" else digits)
    text = text[: one.precision]
    if one.verb == "q":
        is_raw = "#" in one.flags and "`" not in text and text.isprintable()
        text = f"`{text}`" if is_raw else quote(text, ascii_only="+" in one.flags)
    return one.pad(text) if one.verb in "vsq" else None


def _integer(value: int, one: Directive) -> str | None:
    if one.verb in "cq":
        character = chr(value) if 0 <= value < 0x110000 and not 0xD800 <= value < 0xE000 else "\ufffd"
        return one.pad(character if one.verb == "c" else quote(character, "'", ascii_only="+" in one.flags))
    if one.verb == "U":
        return one.verbed("U", "0").pad(f"U+{value:04X}" + (f" '{chr(value)}'" if "#" in one.flags else ""))
    if one.verb in "bO":
        return one.number(value, format(abs(value), "#o" if one.verb == "O" else "#b" if "#" in one.flags else "b"))
    verb = one.verb.replace("v", "d")
    return one.verbed(verb, "" if one.precision is None else "0").of_c(value) if verb in "doxX" else None


def _shortest(number: float, low: int, high: int) -> str:
    """The fewest digits that read back as `number`, with an exponent where that is not from `low` to below `high`."""
    mantissa, _, power = repr(abs(number)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0") or "0"
    exponent = len(digits) - len(fraction) - 1 + int(power or 0) if number else 0
    digits, sign = digits.rstrip("0") or "0", repr(number)[: repr(number).startswith("-")]
    if not low <= exponent < high:
        return f"{sign}{digits[0]}{digits[1:] and '.'}{digits[1:]}e{exponent:+03d}"
    if exponent < 0:
        return f"{sign}0.{'0' * (-exponent - 1)}{digits}"
    whole, fraction = digits[: exponent + 1].ljust(exponent + 1, "0"), digits[exponent + 1 :]
    return f"{sign}{whole}{fraction and '.'}{fraction}"


def _float(value: float, one: Directive) -> str | None:
    verb = one.verb.replace("v", "g")
    if verb in "eEfF" or (verb in "gG" and (one.precision is not None or "#" in one.flags)):
        return one.verbed(verb).of_c(value)
    if verb in "gG":
        text = _shortest(abs(value), -4, 6)
    elif verb in "xX":
        mantissa, _, exponent = abs(value).hex().partition("p")
        text = f"{mantissa.rstrip('0').rstrip('.')}p{exponent[0]}{exponent[1:]:0>2}"
    elif verb == "b":
        fraction, power = math.frexp(abs(value))
        text = f"{int(fraction * 2**53)}p{power - 53:+d}"
    else:
        return None
    return one.number(value, text.upper() if verb in "GX" else text)


def sprint(values: Sequence[Any]) -> str:
    """The values in a row, a space between two that are no strings."""
    texts = [isinstance(value, str) for value in values]
    spaces = ["" if is_text or before else " " for is_text, before in zip(texts, [True, *texts], strict=False)]
    return bounded(space + show(value) for space, value in zip(spaces, values, strict=True))


class _Arguments:
    """The arguments of a printf, and which of them is next."""

    def __init__(self, values: Sequence[Any]) -> None:
        self.values, self.next, self.in_order = values, 0, True

    def take(self, index: str | None) -> tuple[Any, str]:
        """The next argument, or the one that `[index]` names; and what is wrong when there is none."""
        if index is not None:
            self.in_order = False
            if not (index.isdecimal() and 0 < int(index) <= len(self.values)):
                return None, "BADINDEX"
            self.next = int(index) - 1
        self.next += 1
        return (self.values[self.next - 1], "") if self.next <= len(self.values) else (None, "MISSING")

    def number(self, index: str | None, star: str | None, digits: str | None) -> int | None:
        """A width or a precision: digits, or `*` for an argument; None when that is no such number."""
        value = self.take(index)[0] if star else int(digits or 0)
        return value if type(value) is int and abs(value) <= LONGEST else None

    def directive(self, match: re.Match[str]) -> str:
        """The text for a directive."""
        flags, *width_parts, point, precision_index, precision_star, precision_digits, index, verb = match.groups()
        width = self.number(*width_parts)
        precision = self.number(precision_index, precision_star, precision_digits) if point else None
        wrong = "" if width is not None else "%!(BADWIDTH)"
        if precision is None or precision < 0:
            precision, wrong = None, f"{wrong}%!(BADPREC)" if point else wrong
        if not verb or verb == "%":
            return wrong + (verb or "%!(NOVERB)")
        value, problem = self.take(index)
        if problem:
            return f"{wrong}%!{verb}({problem})"
        flags += "-" if width and width < 0 else ""
        return wrong + show(value, Directive(verb, flags, abs(width or 0), precision))


def sprintf(text: str, values: Sequence[Any]) -> str:
    """`text` with its directives replaced by the values."""
    arguments = _Arguments(values)

    def pieces() -> Iterator[str]:
        end = 0
        for match in re.finditer(_DIRECTIVE, text, re.DOTALL):
            yield text[end : match.start()]
            yield arguments.directive(match)
            end = match.end()
        yield text[end:]
        extra = values[arguments.next :] if arguments.in_order else ()
        named = ("<nil>" if one is None or one is NIL else f"{type_name(one)}={show(one)}" for one in extra)
        yield f"%!(EXTRA {bounded(named, ', ')})" if extra else ""

    return bounded(pieces())


def encode(value: Any) -> str:
    """A value as JSON: maps sorted by key, structs in the order of their fields."""
    if value is None or isinstance(value, Nil) or getattr(value, "is_nil", False):
        return "null"
    if isinstance(value, str):
        return str(value) if isinstance(value, Number) else _json_string(value)
    if isinstance(value, int):
        return str(value).lower() if isinstance(value, bool) else str(int(value))
    if isinstance(value, (float, complex)):
        return "" if isinstance(value, complex) else _shortest(value, -6, 21).replace("e-0", "e-")
    if isinstance(value, list):
        return f"[{bounded(map(encode, value), ',')}]"
    if isinstance(value, Struct):
        return f"{{{bounded(_json_members(value), ',')}}}"
    pairs = ((key, value[key]) for key in sorted(value)) if isinstance(value, dict) else _members(value)
    text = f"{{{bounded((f'{_json_string(name)}:{encode(item)}' for name, item in pairs), ',')}}}"
    if isinstance(value, dict):
        return text
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _json_string(text: str) -> str:
    import json

    return json.dumps(text, ensure_ascii=False).replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _json_members(struct: Struct) -> Iterator[str]:
    for field in struct.fields:
        value = struct.value(field)
        if not field[1]:
            yield from _json_members(value)
        elif value or not field[3]:
            yield f'"{field[1]}":{encode(value)}'

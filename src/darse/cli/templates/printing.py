"""Go's fmt: `%v` and its kin. `print` in templates, and what an action shows, are `sprint`."""

from __future__ import annotations

import math
from collections.abc import Sequence

from darse.cli.templates import values as go
from darse.cli.templates.quoting import quote
from darse.cli.templates.values import Value

# Where a pointer inside of something points to is of no use to anybody; Go prints the address.
_ADDRESS = "0xc000000000"


def show(value: Value | None, *, top: bool = True) -> str:
    """`%v`."""
    if value is None:
        return "<nil>"
    type_, data = value
    stringer = type_.methods.get("String")
    if stringer is not None and (type_.kind != go.POINTER or data is not None):
        text = stringer.call(data)
        assert text is not None
        return str(text.data)
    kind = type_.kind
    if kind in go.BASIC:
        return _show_basic(kind, data)
    if kind == go.INTERFACE:
        return show(data, top=top)
    if kind == go.POINTER:
        return _show_pointer(value, top)
    if kind == go.SLICE:
        return "[" + " ".join(show(one, top=False) for one in data or ()) + "]"
    if kind == go.MAP:
        pairs = (f"{key}:{show((data or {})[key], top=False)}" for key in sorted(data or {}))
        return "map[" + " ".join(pairs) + "]"
    return "{" + " ".join(show(go.field(value, one.name), top=False) for one in type_.fields) + "}"


def _show_basic(kind: str, data: object) -> str:
    if kind == go.BOOL:
        return "true" if data else "false"
    if kind == go.FLOAT:
        assert isinstance(data, float)
        return format_float(data, "g", None)
    if kind == go.COMPLEX:
        assert isinstance(data, complex)
        real, imaginary = (format_float(part, "g", None) for part in (data.real, data.imag))
        return f"({real}{'' if imaginary[0] in '+-' else '+'}{imaginary}i)"
    return str(data)


def _show_pointer(value: Value, top: bool) -> str:
    if value.data is None:
        return "<nil>"
    if top and value.data.type.kind in (go.STRUCT, go.SLICE, go.MAP):
        return "&" + show(value.data, top=False)
    return _ADDRESS


def format_float(
    number: float, verb: str, precision: int | None, *, smallest_exponent: int = -4, largest_exponent: int = 6
) -> str:
    """Go's strconv.FormatFloat; without precision the shortest text that reads back as the same number.

    Numbers whose exponent is below `smallest_exponent`, or not below `largest_exponent`, are shown with it.
    """
    if math.isnan(number) or math.isinf(number):
        return "NaN" if math.isnan(number) else "+Inf" if number > 0 else "-Inf"
    if precision is not None or verb in "ef":
        return f"{number:.{6 if precision is None else precision}{verb}}"
    digits, power = shortest_digits(number)
    sign = "-" if math.copysign(1, number) < 0 else ""
    if smallest_exponent <= power < largest_exponent:
        return sign + _plain(digits, power)
    tail = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{tail}e{'-' if power < 0 else '+'}{abs(power):02d}"


def _plain(digits: str, power: int) -> str:
    """Digits without an exponent."""
    if power < 0:
        return "0." + "0" * (-power - 1) + digits
    whole = digits[: power + 1].ljust(power + 1, "0")
    return f"{whole}.{digits[power + 1 :]}" if digits[power + 1 :] else whole


def shortest_digits(number: float) -> tuple[str, int]:
    """The fewest digits that read back as the same number, and the exponent of the first of them."""
    mantissa, _, exponent = repr(abs(number)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    if not digits:
        return "0", 0
    power = len(whole) - 1 if whole.strip("0") else len(digits) - len(fraction) - 1
    return digits.rstrip("0"), power + int(exponent or 0)


def sprint(arguments: Sequence[Value | None]) -> str:
    """fmt.Sprint: spaces between operands when neither is a string."""
    out, was_text = "", True
    for number, one in enumerate(arguments):
        inner = go.indirect_interface(one)
        is_text = inner is not None and inner.type.kind == go.STRING
        if number and not is_text and not was_text:
            out += " "
        out += show(inner)
        was_text = is_text
    return out


def sprintln(arguments: Sequence[Value | None]) -> str:
    """fmt.Sprintln: spaces between all operands, and a newline."""
    return " ".join(show(go.indirect_interface(one)) for one in arguments) + "\n"


class _Directive:
    """One `%…verb`: flags, width and precision."""

    def __init__(self) -> None:
        self.flags = ""
        self.width: int | None = None
        self.precision: int | None = None

    def pad(self, text: str, *, numeric: bool = False) -> str:
        """Fill up to the width."""
        if self.width is None or len(text) >= self.width:
            return text
        if "-" in self.flags:
            return text.ljust(self.width)
        if "0" in self.flags and numeric:
            sign = text[:1] if text[:1] in ("+", "-", " ") else ""
            return sign + text[len(sign) :].rjust(self.width - len(sign), "0")
        return text.rjust(self.width, "0" if "0" in self.flags and not numeric else " ")


def sprintf(template: str, arguments: Sequence[Value | None]) -> str:
    """fmt.Sprintf."""
    return _Printer(template, arguments).run()


class _Printer:
    def __init__(self, template: str, arguments: Sequence[Value | None]) -> None:
        self._template = template
        self._arguments = arguments
        self._at = 0
        self._used = 0
        self._reordered = False

    def run(self) -> str:
        out = []
        while self._at < len(self._template):
            found = self._template.find("%", self._at)
            if found < 0:
                out.append(self._template[self._at :])
                break
            out.append(self._template[self._at : found])
            self._at = found + 1
            out.append(self._directive())
        if not self._reordered and self._used < len(self._arguments):
            extra = (_with_type(go.indirect_interface(one)) for one in self._arguments[self._used :])
            out.append("%!(EXTRA " + ", ".join(extra) + ")")
        return "".join(out)

    def _directive(self) -> str:
        directive = _Directive()
        template = self._template
        while self._at < len(template) and template[self._at] in "+-# 0":
            directive.flags += template[self._at]
            self._at += 1
        self._index()
        directive.width = self._number()
        if directive.width is not None and directive.width < 0:
            directive.flags, directive.width = directive.flags + "-", -directive.width
        if template.startswith(".", self._at):
            self._at += 1
            self._index()
            directive.precision = self._number() or 0
        self._index()
        if self._at >= len(template):
            return "%!(NOVERB)"
        verb = template[self._at]
        self._at += 1
        if verb == "%":
            return "%"
        if self._used >= len(self._arguments):
            return f"%!{verb}(BADINDEX)" if self._reordered else f"%!{verb}(MISSING)"
        argument = go.indirect_interface(self._arguments[self._used])
        self._used += 1
        return _format(directive, verb, argument)

    def _index(self) -> None:
        """`[n]`: which argument is next."""
        end = self._template.find("]", self._at)
        if self._template.startswith("[", self._at) and self._template[self._at + 1 : end].isdigit():
            self._used = int(self._template[self._at + 1 : end]) - 1
            self._reordered = True
            self._at = end + 1

    def _number(self) -> int | None:
        if self._template.startswith("*", self._at):
            self._at += 1
            argument = self._arguments[self._used] if self._used < len(self._arguments) else None
            self._used += 1
            return argument.data if argument is not None and argument.type.kind == go.INT else None
        begin = self._at
        while self._at < len(self._template) and self._template[self._at] in "0123456789":
            self._at += 1
        return int(self._template[begin : self._at]) if self._at > begin else None


def _with_type(value: Value | None, directive: _Directive | None = None) -> str:
    if value is None:
        return "<nil>"
    return f"{value.type.name}={_apply(directive or _Directive(), 'v', value)}"


def _format(directive: _Directive, verb: str, value: Value | None) -> str:
    if verb == "T":
        return directive.pad(value.type.name if value is not None else "<nil>")
    if value is None:
        return directive.pad("<nil>") if verb == "v" else f"%!{verb}(<nil>)"
    text = _apply(directive, verb, value)
    return f"%!{verb}({_with_type(value, directive)})" if text is None else text


def _apply(directive: _Directive, verb: str, value: Value) -> str | None:
    """The value as the verb wants it; None when the verb is not for its type."""
    kind, data = value.type.kind, value.data
    if verb == "v":
        if "#" in directive.flags:
            return directive.pad(_source(value))
        if kind == go.STRING:
            return directive.pad(_cut(directive, data))
        if kind in (go.INT, go.UINT, go.FLOAT) and "String" not in value.type.methods:
            plain = _Directive()  # %+v means the names of fields, no sign
            plain.flags, plain.width = directive.flags.replace("+", ""), directive.width
            plain.precision = directive.precision
            return _number_text(plain, "d" if kind != go.FLOAT else "g", kind, data)
        if kind in go.BASIC or "String" in value.type.methods or (kind in go.NILLABLE and data is None):
            return directive.pad(show(value))
    if verb in "sqxX" and "String" in value.type.methods:
        value = Value(go.STRING_TYPE, show(value))
        kind, data = go.STRING, value.data
    if kind in (go.SLICE, go.MAP, go.STRUCT) or (kind == go.POINTER and data is not None):
        return _format_parts(directive, verb, value)
    if kind == go.STRING:
        return _format_string(directive, verb, data)
    if kind == go.BOOL:
        return directive.pad("true" if data else "false") if verb == "t" else None
    if kind in (go.INT, go.UINT, go.FLOAT):
        return _number_text(directive, verb, kind, data)
    return None


def _format_parts(directive: _Directive, verb: str, value: Value) -> str:
    """Lists and the like: the verb is for what is in them."""
    kind, data = value.type.kind, value.data
    if kind == go.POINTER:
        return "&" + _format_parts(directive, verb, data) if data.type.kind not in go.BASIC else _ADDRESS
    if kind == go.SLICE:
        return "[" + " ".join(_inner(directive, verb, one) for one in data or ()) + "]"
    if kind == go.MAP:
        keys = sorted(data or {})
        pairs = (
            f"{_inner(directive, verb, go.Value(go.STRING_TYPE, key))}:{_inner(directive, verb, data[key])}"
            for key in keys
        )
        return "map[" + " ".join(pairs) + "]"
    names = (f"{one.name}:" if "+" in directive.flags and verb == "v" else "" for one in value.type.fields)
    shown = (_inner(directive, verb, go.field(value, one.name)) for one in value.type.fields)
    return "{" + " ".join(name + one for name, one in zip(names, shown, strict=True)) + "}"


def _inner(directive: _Directive, verb: str, value: Value | None) -> str:
    value = go.indirect_interface(value)
    if value is None:
        return "<nil>"
    if value.type.kind == go.POINTER and value.data is None:
        return directive.pad("<nil>")
    return directive.pad(_ADDRESS) if value.type.kind == go.POINTER else _format(directive, verb, value)


def _cut(directive: _Directive, text: str) -> str:
    return text if directive.precision is None else text[: directive.precision]


def _format_string(directive: _Directive, verb: str, text: str) -> str | None:
    if verb == "s":
        return directive.pad(_cut(directive, text))
    if verb == "q":
        text = _cut(directive, text)
        if "#" in directive.flags and "`" not in text and text.isprintable():
            return directive.pad(f"`{text}`")
        return directive.pad(quote(text, ascii_only="+" in directive.flags))
    if verb in "xX":
        data = text.encode(errors="surrogateescape")
        digits = (data if directive.precision is None else data[: directive.precision]).hex(
            *(" ",) if " " in directive.flags else ()
        )
        prefix = "0x" if "#" in directive.flags else ""
        text = prefix + digits
        return directive.pad(text.upper() if verb == "X" else text)
    return None


_BASES = {"d": "d", "b": "b", "o": "o", "O": "o", "x": "x", "X": "X"}
_PREFIXES = {"b": "0b", "o": "0", "O": "0o", "x": "0x", "X": "0X"}


def _number_text(directive: _Directive, verb: str, kind: str, number: float) -> str | None:
    if kind == go.FLOAT:
        return _float_text(directive, verb, number)
    whole = int(number)
    if verb in "cqU":
        return _character(directive, verb, whole)
    if verb not in _BASES:
        return None
    digits = format(abs(whole), _BASES[verb])
    if directive.precision is not None:
        digits = digits.rjust(directive.precision, "0")
        directive.flags = directive.flags.replace("0", "")
    if verb == "O" or ("#" in directive.flags and verb in _PREFIXES):
        digits = _PREFIXES[verb] + digits
    return directive.pad(_sign(directive, whole < 0) + digits, numeric=True)


def _sign(directive: _Directive, negative: bool) -> str:
    if negative:
        return "-"
    return "+" if "+" in directive.flags else " " if " " in directive.flags else ""


def _character(directive: _Directive, verb: str, code: int) -> str:
    character = chr(code) if 0 <= code <= 0x10FFFF and not 0xD800 <= code <= 0xDFFF else "\ufffd"
    if verb == "c":
        return directive.pad(character)
    if verb == "q":
        return directive.pad(quote(character, "'", ascii_only="+" in directive.flags))
    text = f"U+{code:04X}"
    return directive.pad(f"{text} '{character}'" if "#" in directive.flags else text)


def _float_text(directive: _Directive, verb: str, number: float) -> str | None:
    if verb in "xXb":
        text = (_binary(number) if verb == "b" else _hexadecimal(abs(number))).removeprefix("-")
        text = text.upper() if verb == "X" else text
        return directive.pad(_sign(directive, math.copysign(1, number) < 0) + text, numeric=True)
    if verb not in "eEfFgGv":
        return None
    lower = "f" if verb == "F" else verb.lower()
    if lower in "ef" or directive.precision is None:
        text = format_float(abs(number), lower, directive.precision)
    else:
        text = format_float(abs(number), "g", directive.precision)
    text = text.removeprefix("+")
    if verb in "EG":
        text = text.upper()
    return directive.pad(_sign(directive, math.copysign(1, number) < 0) + text, numeric=not math.isinf(number))


def _hexadecimal(number: float) -> str:
    mantissa, _, exponent = number.hex().partition("p")
    return f"{mantissa.rstrip('0').rstrip('.')}p{exponent[0]}{int(exponent[1:]):02d}"


def _binary(number: float) -> str:
    mantissa, exponent = math.frexp(abs(number))
    return f"{int(mantissa * (1 << 53))}p{exponent - 53:+d}"


def _source(value: Value | None) -> str:
    """`%#v`: Go's source."""
    inner = go.indirect_interface(value)
    if inner is None:
        return "interface {}(nil)" if value is not None else "<nil>"
    type_, data = inner
    if type_.kind == go.STRING:
        return quote(data)
    if type_.kind in go.BASIC:
        return _show_basic(type_.kind, data)
    if data is None:
        return f"{type_.name}(nil)"
    if type_.kind == go.SLICE:
        return f"{type_.name}{{{', '.join(_source(one) for one in data)}}}"
    if type_.kind == go.MAP:
        return f"{type_.name}{{{', '.join(f'{quote(key)}:{_source(data[key])}' for key in sorted(data))}}}"
    if type_.kind == go.POINTER:
        return "&" + _source(data)
    fields = (f"{one.name}:{_source(go.field(inner, one.name))}" for one in type_.fields)
    return f"{type_.name}{{{', '.join(fields)}}}"

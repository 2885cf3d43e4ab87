"""Values of templates: JSON's, printed and tested as Go does."""

from __future__ import annotations

from typing import Any


class _Missing:
    """What a map has for a key that it lacks."""

    def __bool__(self) -> bool:
        return False


MISSING = _Missing()


def is_true(value: Any) -> bool:
    """Go's truth: anything but the zero value of its type."""
    return bool(value)


def go_print(value: Any) -> str:
    """Go's %v."""
    if value is MISSING:
        return "<no value>"
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{go_print(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(go_print(one) for one in value) + "]"
    if isinstance(value, float):
        return _float(value)
    return str(value)


def _float(value: float) -> str:
    """Go's %v of a float64: like %g, with an exponent from 1e21 on."""
    if value.is_integer() and abs(value) < 1e21:
        return str(int(value))
    text = repr(value)
    mantissa, e, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent):+03d}" if e else text


def kind_of(value: Any) -> str:
    """Go's name of a value's type."""
    if value is None or value is MISSING:
        return "<nil>"
    names = {bool: "bool", int: "int", float: "float64", str: "string", list: "[]interface {}"}
    return names.get(type(value), "map[string]interface {}")

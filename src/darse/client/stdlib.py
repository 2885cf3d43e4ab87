"""`socket`, `signal` and JSON without what the standard library's modules of these names load.

Each of the three loads `enum`, `json` loads `re`, too: with all that these need, as much again as Python's own start.
A command that ends after a few milliseconds uses nothing that they add to the C module below each. So it takes that
module; where a Python has none, the documented one. Type checkers see the documented ones.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    import socket
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any, NoReturn

__all__ = ["dumps", "loads", "signal", "socket"]


def _c_module(name: str) -> ModuleType:
    try:
        return __import__(f"_{name}")
    except ImportError:
        return __import__(name)


if not TYPE_CHECKING:
    signal, socket = _c_module("signal"), _c_module("socket")
_json: Any = _c_module("json")

_BLANK = " \t\n\r"


class _Plain:
    """How `json.loads` decodes when it is given nothing but a document: what the C scanner takes from a JSONDecoder."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    array_hook = None
    parse_float = float
    parse_int = int
    parse_constant = {"-Infinity": float("-inf"), "Infinity": float("inf"), "NaN": float("nan")}.__getitem__
    memo: dict[str, str] = {}  # noqa: RUF012


def _not_serializable(value: object) -> NoReturn:
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _c_functions() -> tuple[Callable[..., Any], Callable[..., Any]] | None:
    """The C scanner and encoder; None where this Python has others."""
    try:
        encoder = _json.make_encoder(
            None, _not_serializable, _json.encode_basestring_ascii, None, ": ", ", ", False, False, True
        )
        return _json.make_scanner(_Plain), encoder
    except (AttributeError, TypeError):
        return None


_C = _c_functions()


def loads(document: str | bytes) -> Any:
    """`json.loads`. Raises json.JSONDecodeError."""
    if _C is not None:
        try:
            text = (document if isinstance(document, str) else document.decode()).strip(_BLANK)
            value, end = _C[0](text, 0)
            if end == len(text):
                return value
        except (StopIteration, ValueError, SystemError):
            # The whole decoder says what is wrong, and where. Python 3.11's scanner ends without an error of its own
            # (SystemError) while json.decoder, which has it, is not loaded.
            pass
    import json

    return json.loads(document)


def dumps(value: Any) -> str:
    """`json.dumps`. Raises TypeError and RecursionError."""
    if _C is not None:
        return "".join(_C[1](value, 0))
    import json

    return json.dumps(value)

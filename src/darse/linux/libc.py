"""The C library through ctypes, for system calls that Python's `os` does not offer.

`call()` turns a negative result into OSError with errno and the operand, as `os` does. The library releases the
GIL around each call.
"""

from __future__ import annotations

import ctypes
import os

TYPE_CHECKING = False  # not the one of typing, whose import is a third of a worker's start
if TYPE_CHECKING:
    from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)

CLONE_NEWNS = 0x00020000
CLONE_FS = 0x00000200


def call(name: str, *arguments: Any, operand: str = "") -> int:
    """Call the C function `name`; raise OSError(errno, …, operand) when it returns a negative number."""
    result: int = getattr(_libc, name)(*arguments)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), operand or None)
    return result


def call_for_number(name: str, *arguments: Any, operand: str = "") -> None:
    """Call a C function that returns an error number; raise OSError(number, …, operand) when that is not 0."""
    number: int = getattr(_libc, name)(*arguments)
    if number:
        raise OSError(number, os.strerror(number), operand or None)


def has(name: str) -> bool:
    """Whether the library has a function."""
    return hasattr(_libc, name)

"""posix_spawn(3) without the interpreter's lock.

`os.posix_spawn` and `subprocess` hold the lock until the child has executed its program: on busy processors that takes
many milliseconds, in which neither the event loop nor any other thread runs. ctypes gives it back for the call.
"""

from __future__ import annotations

import ctypes
import functools
import os
import signal
from collections.abc import Iterable, Mapping, Sequence

from darse.linux.libc import call_for_number, has

# As in spawn.h; glibc's and musl's structures are smaller than these.
_SETSIGDEF = 0x04
_ACTIONS_BYTES, _ATTRIBUTES_BYTES, _SIGNALS_BYTES = 256, 1024, 256

#: What the child does before it executes the program: a C function of the family, and what it gets.
Action = tuple[str, *tuple[object, ...]]


def open_file(number: int, path: str, flags: int, mode: int = 0) -> Action:
    """Open a file as descriptor `number`."""
    return "posix_spawn_file_actions_addopen", number, _string(path), flags, mode


def duplicate(ours: int, theirs: int) -> Action:
    """Have a descriptor of ours under another number; that one outlives the execution."""
    return "posix_spawn_file_actions_adddup2", ours, theirs


def change_directory(path: str) -> Action:
    """Go to a directory."""
    return "posix_spawn_file_actions_addchdir_np", _string(path)


def close_from(number: int) -> list[Action]:
    """Close all descriptors from `number` on; none, where the C library cannot: they are close-on-exec all the same."""
    name = "posix_spawn_file_actions_addclosefrom_np"  # since glibc 2.34
    return [(name, number)] if has(name) else []


def posix_spawn(
    program: str, arguments: Sequence[str], environment: Mapping[str, str], actions: Iterable[Action]
) -> int:
    """Start a program, an absolute path, with all signals at their defaults; return its pid.

    Raises OSError, and ValueError for null bytes.

    The caller waits until it is executed, or has failed to be: do it in a thread.
    """
    pid = ctypes.c_int()
    steps = ctypes.create_string_buffer(_ACTIONS_BYTES)
    variables = [f"{name}={value}" for name, value in environment.items()]
    call_for_number("posix_spawn_file_actions_init", steps)
    try:
        for function, *operands in actions:
            call_for_number(function, steps, *operands)
        call_for_number(
            *("posix_spawn", ctypes.byref(pid), _string(program), steps, _attributes()),
            *(_strings(arguments), _strings(variables)),
            operand=program,
        )
    finally:
        call_for_number("posix_spawn_file_actions_destroy", steps)
    return pid.value


def _strings(texts: Sequence[str]) -> ctypes.Array[ctypes.c_char_p]:
    """An array that ends with a null pointer."""
    return (ctypes.c_char_p * (len(texts) + 1))(*map(_string, texts), None)


def _string(text: str) -> bytes:
    encoded = os.fsencode(text)
    if b"\0" in encoded:
        raise ValueError("embedded null byte")  # as `os` says; to C the text would end there
    return encoded


@functools.cache
def _attributes() -> ctypes.Array[ctypes.c_char]:
    made, signals = ctypes.create_string_buffer(_ATTRIBUTES_BYTES), ctypes.create_string_buffer(_SIGNALS_BYTES)
    call_for_number("sigemptyset", signals)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        call_for_number("sigaddset", signals, int(number))
    call_for_number("posix_spawnattr_init", made)
    call_for_number("posix_spawnattr_setsigdefault", made, signals)
    call_for_number("posix_spawnattr_setflags", made, ctypes.c_short(_SETSIGDEF))
    return made

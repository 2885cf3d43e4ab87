"""Giving memory back to the system."""

from __future__ import annotations

import contextlib
import ctypes

from darse.linux.libc import call


def trim_heap() -> None:
    """Return what the C library keeps of freed memory: malloc_trim(3), some milliseconds for each 100 MiB."""
    with contextlib.suppress(AttributeError):  # other C libraries than glibc keep none
        call("malloc_trim", ctypes.c_size_t(0))

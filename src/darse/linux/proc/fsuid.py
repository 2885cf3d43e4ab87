"""Who a thread is to file systems, for a moment; see setfsuid(2), capset(2), capabilities(7).

What is made on an id-mapped mount gets an owner only when its maker's ids are mapped there, and overlayfs makes its
work directory, and later its copies, as whoever mounted it. Root of the host is nobody there. The kernel takes the
capabilities over files from a thread that gives up root's identity; they are put back.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

from darse.linux.libc import call

_VERSION_3 = 0x20080522
#: Who has it is kept within no quota, and takes the last blocks of a disk.
CAP_SYS_RESOURCE = 24


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


@contextmanager
def file_system_identity(user: int, group: int) -> Iterator[None]:
    """Make files as `user` and `group` for the duration of the block, in this thread, with all capabilities kept.

    Raises OSError.
    """
    header, capabilities = _Header(_VERSION_3, 0), (_Data * 2)()
    call("capget", ctypes.byref(header), capabilities)
    # setfsuid(2) returns the id before, whether it succeeds or not.
    old_group, old_user = call("setfsgid", group), call("setfsuid", user)
    try:
        call("capset", ctypes.byref(header), capabilities)
        yield
    finally:
        call("setfsuid", old_user)
        call("setfsgid", old_group)
        call("capset", ctypes.byref(header), capabilities)


@contextmanager
def without_capability(number: int) -> Iterator[None]:
    """Do without a capability below 32 for the duration of the block, in this thread. Raises OSError."""
    header, before, reduced = _Header(_VERSION_3, 0), (_Data * 2)(), (_Data * 2)()
    call("capget", ctypes.byref(header), before)
    ctypes.memmove(reduced, before, ctypes.sizeof(before))
    reduced[0].effective &= ~(1 << number)
    call("capset", ctypes.byref(header), reduced)
    try:
        yield
    finally:
        call("capset", ctypes.byref(header), before)

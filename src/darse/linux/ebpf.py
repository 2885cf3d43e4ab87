"""Extended BPF for traffic control (bpf(2), BPF_PROG_TYPE_SCHED_CLS): a few instructions, packed by hand.

A compiler or libbpf for a dozen instructions would be the engine's largest dependency. Instructions are those of the
kernel's Documentation/bpf/standardization/instruction-set.rst; offsets are those of `struct __sk_buff` in linux/bpf.h.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Sequence
from typing import Final

from darse.linux.libc import call

#: Of struct __sk_buff.
MARK, PROTOCOL, INGRESS_IFINDEX, IFINDEX = 8, 16, 36, 40
#: What a program of traffic control returns (linux/pkt_cls.h): go on as without it, or drop the packet.
TC_ACT_UNSPEC, TC_ACT_SHOT = -1, 2
_BPF_FUNC_REDIRECT, _BPF_F_INGRESS = 23, 1
_BPF_PROG_LOAD, _BPF_PROG_TYPE_SCHED_CLS = 5, 3
_LOG: Final = 1 << 16
# bpf(2) has no wrapper in the C library.
_SYSCALLS = {"x86_64": 321, "i686": 357, "armv7l": 386, "ppc64le": 361, "s390x": 351}
_GENERIC_SYSCALL = 280

Instruction = bytes


def _instruction(code: int, target: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> Instruction:
    return struct.pack("=BBhi", code, target | source << 4, offset, value)


def load_field(target: int, source: int, offset: int) -> Instruction:
    """target = the 32-bit field at `offset` of what `source` points to."""
    return _instruction(0x61, target, source, offset)


def move(target: int, source: int) -> Instruction:
    """target = source."""
    return _instruction(0xBF, target, source)


def load_byte(offset: int) -> Instruction:
    """r0 = the byte of the packet at `offset` from its link header; r6 has the context. Overwrites r1 to r5."""
    return _instruction(0x30, value=offset)


def load_word(offset: int) -> Instruction:
    """r0 = the four bytes of the packet at `offset` from its link header, as a number; otherwise as `load_byte`."""
    return _instruction(0x20, value=offset)


def load_byte_at(register: int, offset: int) -> Instruction:
    """r0 = the byte of the packet at `offset` beyond the number in a register; otherwise as `load_byte`."""
    return _instruction(0x50, source=register, value=offset)


def and_number(target: int, number: int) -> Instruction:
    """target &= number."""
    return _instruction(0x57, target, value=number)


def shift_left(target: int, bits: int) -> Instruction:
    """target <<= bits."""
    return _instruction(0x67, target, value=bits)


def jump_if_number(register: int, number: int, skip: int) -> Instruction:
    """Leave out the next `skip` instructions when the register has the number."""
    return _instruction(0x15, register, offset=skip, value=number)


def jump_if_word(register: int, word: bytes, skip: int) -> Instruction:
    """Leave out the next `skip` instructions when the lower half of the register is the number that `word` packs."""
    return _instruction(0x16, register, offset=skip, value=int.from_bytes(word, "big", signed=True))


def jump_if_not_number(register: int, number: int, skip: int) -> Instruction:
    """Leave out the next `skip` instructions unless the register has the number."""
    return _instruction(0x55, register, offset=skip, value=number)


def jump_if_not_equal(register: int, other: int, skip: int) -> Instruction:
    """Leave out the next `skip` instructions unless the registers are equal."""
    return _instruction(0x5D, register, other, skip)


def leave(result: int) -> Instruction:
    """Return a number."""
    return _instruction(0xB7, value=result) + _instruction(0x95)


def redirect(index: int) -> Instruction:
    """Return what has the packet arrive by the link `index` instead. Overwrites r0 to r5."""
    arguments = _instruction(0xB7, 1, value=index) + _instruction(0xB7, 2, value=_BPF_F_INGRESS)
    return arguments + _instruction(0x85, value=_BPF_FUNC_REDIRECT) + _instruction(0x95)


def load_program(instructions: Sequence[Instruction]) -> int:
    """Give a program to the kernel; return its descriptor. Raises OSError, with what the verifier said."""
    code = b"".join(instructions)
    code_buffer = ctypes.create_string_buffer(code, len(code))
    licence = ctypes.create_string_buffer(b"MIT")
    verifier_log = ctypes.create_string_buffer(_LOG)
    attributes = struct.pack(
        "=IIQQIIQ",
        _BPF_PROG_TYPE_SCHED_CLS,
        len(code) // 8,
        ctypes.addressof(code_buffer),
        ctypes.addressof(licence),
        1,
        _LOG,
        ctypes.addressof(verifier_log),
    )
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    number = _SYSCALLS.get(os.uname().machine, _GENERIC_SYSCALL)
    try:
        descriptor = call("syscall", number, _BPF_PROG_LOAD, buffer, len(attributes))
    except OSError as error:
        raise OSError(
            error.errno, error.strerror, verifier_log.value.decode(errors="replace")[-200:] or "bpf"
        ) from error
    os.set_inheritable(descriptor, False)
    return descriptor

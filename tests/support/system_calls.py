"""Programs of one system call each, as ELF files: what a container's filter says to it, without a compiler.

A program ends with the number of the error, or with 0 when the call succeeded. See elf(5).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

_BASE = 0x400000
_HEADERS = 64 + 56
# mov r64, imm64 for rdi, rsi, rdx, r10, r8, r9: where the kernel looks for arguments.
_REGISTERS = (b"\x48\xbf", b"\x48\xbe", b"\x48\xba", b"\x49\xba", b"\x49\xb8", b"\x49\xb9")
# mov r32, imm32 for ebx, ecx, edx, esi, edi: those of a 32-bit call.
_OLD_REGISTERS = (b"\xbb", b"\xb9", b"\xba", b"\xbe", b"\xbf")
# Negative results are errors: neg eax; jns over "xor eax, eax"; exit(eax).
_END = b"\xf7\xd8" + b"\x79\x02" + b"\x31\xc0" + b"\x89\xc7" + b"\xb8" + struct.pack("<I", 60) + b"\x0f\x05"


def call64(path: Path, number: int, *arguments: int) -> None:
    """Write a program that makes a 64-bit call."""
    code = b"".join(
        register + struct.pack("<Q", argument & (1 << 64) - 1)
        for register, argument in zip(_REGISTERS, arguments, strict=False)
    )
    _write(path, code + b"\xb8" + struct.pack("<I", number) + b"\x0f\x05" + _END)


def call32(path: Path, number: int, *arguments: int | Sequence[int]) -> None:
    """Write a program that makes a 32-bit call by `int 0x80`; a sequence is passed as the address of its words."""
    length = 5 * len(arguments) + 5 + 2 + len(_END)
    words = b""
    code = b""
    for register, argument in zip(_OLD_REGISTERS, arguments, strict=False):
        if not isinstance(argument, int):
            address = _BASE + _HEADERS + length + len(words)
            words += struct.pack(f"<{len(argument)}I", *argument)
            argument = address  # noqa: PLW2901
        code += register + struct.pack("<I", argument)
    _write(path, code + b"\xb8" + struct.pack("<I", number) + b"\xcd\x80" + _END + words)


def _write(path: Path, code: bytes) -> None:
    size = _HEADERS + len(code)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, 62, 1, _BASE + _HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0
    )
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    path.write_bytes(header + segment + code)
    path.chmod(0o755)

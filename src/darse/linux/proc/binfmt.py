"""Programs of other machines that the kernel hands to an interpreter (Documentation/admin-guide/binfmt-misc.rst)."""

from __future__ import annotations

import contextlib
from pathlib import Path

_DIRECTORY = Path("/proc/sys/fs/binfmt_misc")
# What QEMU's entries are called, by the architecture in the words of OCI.
_OF_QEMU = {
    "386": "i386",
    "amd64": "x86_64",
    "arm": "arm",
    "arm64": "aarch64",
    "loong64": "loongarch64",
    "mips64le": "mips64el",
    "ppc64le": "ppc64le",
    "riscv64": "riscv64",
    "s390x": "s390x",
}


def has_emulator(architecture: str, directory: Path = _DIRECTORY) -> bool:
    """Whether programs of an architecture are emulated; false as well where the file system is not mounted."""
    with contextlib.suppress(OSError):
        entry = directory / f"qemu-{_OF_QEMU.get(architecture, architecture)}"
        return entry.read_text().startswith("enabled")
    return False

"""Capabilities of containers: docker's default set, and what `--cap-add` and `--cap-drop` make of it.

See capabilities(7). A capability that the engine itself lacks cannot be given to anybody, so it is left out.
"""

from __future__ import annotations

from collections.abc import Iterable

from darse.core.errors import InvalidParameter

# In the order of their numbers in linux/capability.h.
ALL = tuple(
    f"CAP_{name}"
    for name in [
        "CHOWN",
        "DAC_OVERRIDE",
        "DAC_READ_SEARCH",
        "FOWNER",
        "FSETID",
        "KILL",
        "SETGID",
        "SETUID",
        "SETPCAP",
        "LINUX_IMMUTABLE",
        "NET_BIND_SERVICE",
        "NET_BROADCAST",
        "NET_ADMIN",
        "NET_RAW",
        "IPC_LOCK",
        "IPC_OWNER",
        "SYS_MODULE",
        "SYS_RAWIO",
        "SYS_CHROOT",
        "SYS_PTRACE",
        "SYS_PACCT",
        "SYS_ADMIN",
        "SYS_BOOT",
        "SYS_NICE",
        "SYS_RESOURCE",
        "SYS_TIME",
        "SYS_TTY_CONFIG",
        "MKNOD",
        "LEASE",
        "AUDIT_WRITE",
        "AUDIT_CONTROL",
        "SETFCAP",
        "MAC_OVERRIDE",
        "MAC_ADMIN",
        "SYSLOG",
        "WAKE_ALARM",
        "BLOCK_SUSPEND",
        "AUDIT_READ",
        "PERFMON",
        "BPF",
        "CHECKPOINT_RESTORE",
    ]
)
DEFAULT = frozenset(
    f"CAP_{name}"
    for name in [
        "CHOWN",
        "DAC_OVERRIDE",
        "FSETID",
        "FOWNER",
        "MKNOD",
        "NET_RAW",
        "SETGID",
        "SETUID",
        "SETFCAP",
        "SETPCAP",
        "NET_BIND_SERVICE",
        "SYS_CHROOT",
        "KILL",
        "AUDIT_WRITE",
    ]
)


def present(mask: int) -> list[str]:
    """The names of a bit mask's capabilities."""
    return [name for number, name in enumerate(ALL) if mask >> number & 1]


def effective(
    add: Iterable[str], drop: Iterable[str], available: frozenset[str], *, privileged: bool = False
) -> list[str]:
    """Return a container's capabilities, in the kernel's order. Raises InvalidParameter for unknown names."""
    if privileged:
        return [name for name in ALL if name in available]
    added, dropped = _normalised(add, "Add"), _normalised(drop, "Drop")
    chosen = set(ALL) if "ALL" in added else set() if "ALL" in dropped else set(DEFAULT)
    chosen |= added - {"ALL"}
    chosen -= dropped
    return [name for name in ALL if name in chosen and name in available]


def _normalised(names: Iterable[str], kind: str) -> set[str]:
    found = set()
    for name in names:
        upper = name.upper()
        full = upper if upper == "ALL" or upper.startswith("CAP_") else f"CAP_{upper}"
        if full != "ALL" and full not in ALL:
            raise InvalidParameter(f'invalid Cap{kind}: unknown capability: "{full}"')
        found.add(full)
    return found


def check(add: Iterable[str], drop: Iterable[str], available: frozenset[str]) -> None:
    """Raise InvalidParameter for unknown names, and for what is asked for by name and cannot be given."""
    _normalised(drop, "Drop")
    for name in sorted(_normalised(add, "Add") - {"ALL"} - available):
        raise InvalidParameter(
            "invalid CapAdd: capability not supported by your kernel or not available in the current environment: "
            f'"{name}"'
        )

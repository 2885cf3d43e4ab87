"""sysctl(8): kernel parameters under /proc/sys."""

from __future__ import annotations

from pathlib import Path

from darse.core import trace


def read(name: str) -> str:
    """Return a parameter, named with slashes. Raises OSError."""
    return Path("/proc/sys", name).read_text().strip()


def write(name: str, value: str) -> None:
    """Set a parameter, named with slashes, unless it has the value. Raises OSError."""
    if read(name) != value:
        with trace.step("rule", f"{name} = {value}", "sysctl", "-w", f"{name}={value}"):
            Path("/proc/sys", name).write_text(value)


def present(name: str) -> bool:
    """Whether there is such a parameter, or such a directory of them."""
    return Path("/proc/sys", name).exists()


def children(name: str) -> list[str]:
    """The names in a directory of parameters; none when there is no such."""
    try:
        return sorted(entry.name for entry in Path("/proc/sys", name).iterdir())
    except FileNotFoundError:
        return []


def enabled(name: str) -> bool:
    """Whether a switch is there and on."""
    try:
        return read(name) == "1"
    except FileNotFoundError:
        return False

"""sysctl(8): kernel parameters under /proc/sys."""

from __future__ import annotations

import os
from pathlib import Path

from darse.core import trace
from darse.linux.libc import call

# The same on every architecture; see fsopen(2), fsconfig(2) and fsmount(2).
_SYS_FSOPEN, _SYS_FSCONFIG, _SYS_FSMOUNT = 430, 431, 432
_FSOPEN_CLOEXEC = _FSMOUNT_CLOEXEC = 1
_FSCONFIG_CMD_CREATE = 6
# So many writes, then another instance: what the kernel finds a name among stays few.
_WRITES_OF_AN_INSTANCE = 64


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


class NamespaceParameters:
    """The parameters of the network namespace that the calling thread is in; for one thread.

    They are reached through an instance of procfs of our own. In the host's, `net/ipv4` of each namespace is an entry
    of one name below one directory, and the kernel compares them one by one (`proc_sys_compare`): with a thousand
    containers the first look into a new namespace takes half a millisecond. Kernels before 5.8 have one instance for
    all, and those before 5.2 no call for another: there it is the host's.
    """

    def __init__(self) -> None:
        self._instance = -1
        self._writes = 0

    def write(self, name: str, value: str) -> None:
        """Set a parameter, named with slashes. Raises OSError: FileNotFoundError where the kernel has none such."""
        if self._writes % _WRITES_OF_AN_INSTANCE == 0:
            self.close()
            self._instance = _instance_of_procfs()
        self._writes += 1
        descriptor = os.open(f"sys/{name}", os.O_WRONLY | os.O_CLOEXEC, dir_fd=self._instance)
        try:
            os.write(descriptor, value.encode())
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Let go of the instance; the next write takes another."""
        if self._instance >= 0:
            os.close(self._instance)
        self._instance, self._writes = -1, 0


def _instance_of_procfs() -> int:
    """A descriptor of a procfs that is mounted nowhere; of /proc where the kernel refuses one. Raises OSError."""
    try:
        context = call("syscall", _SYS_FSOPEN, b"proc", _FSOPEN_CLOEXEC)
        try:
            call("syscall", _SYS_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0)
            return call("syscall", _SYS_FSMOUNT, context, _FSMOUNT_CLOEXEC, 0)
        finally:
            os.close(context)
    except OSError:
        return os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

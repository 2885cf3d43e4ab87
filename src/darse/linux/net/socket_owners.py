"""Which process has a socket on a port: /proc/net/tcp and udp (proc_pid_net(5)) and the descriptors of processes.

Only for the text of an error: it looks for so long and no longer, and does without when it has not found it.
"""

from __future__ import annotations

import ipaddress
import os
import sys
import time
from collections.abc import Iterator

import msgspec

_SECONDS = 0.05
_LISTEN = 0x0A
_ANY = "0.0.0.0"  # noqa: S104


class Owner(msgspec.Struct, frozen=True):
    """A process."""

    pid: int
    name: str


def who_has(protocol: str, ip: str, port: int) -> Owner | None:
    """The process with a socket that keeps others from this port of the namespace; None when it is not found."""
    deadline = time.monotonic() + _SECONDS
    inodes = set(_inodes(protocol, ip, port, deadline))
    if not inodes:
        return None
    sockets = {f"socket:[{inode}]" for inode in inodes}
    for entry in os.listdir("/proc"):
        if not entry.isdecimal():
            continue
        if time.monotonic() > deadline:
            return None
        try:
            for descriptor in os.listdir(f"/proc/{entry}/fd"):
                if os.readlink(f"/proc/{entry}/fd/{descriptor}") in sockets:
                    with open(f"/proc/{entry}/comm", encoding="utf-8", errors="replace") as file:
                        return Owner(int(entry), file.read().strip())
        except OSError:
            continue  # It ends, or closes the descriptor, while it is looked at.
    return None


def _inodes(protocol: str, ip: str, port: int, deadline: float) -> Iterator[str]:
    # A socket of IPv6 may have the port of IPv4, too.
    for name in (f"{protocol}6",) if ":" in ip else (protocol, f"{protocol}6"):
        try:
            with open(f"/proc/self/net/{name}", encoding="ascii") as lines:
                next(lines)
                for line in lines:
                    if time.monotonic() > deadline:
                        return
                    _, local, _, state, *rest = line.split()
                    address, _, number = local.partition(":")
                    listens = protocol != "tcp" or int(state, 16) == _LISTEN
                    if int(number, 16) == port and listens and _overlap(_address(address), ip):
                        yield rest[5]
        except (OSError, StopIteration):
            continue  # The kernel has no such protocol.


def _address(text: str) -> str:
    words = [int(text[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(text), 8)]
    address = ipaddress.ip_address(b"".join(words))
    if isinstance(address, ipaddress.IPv6Address):
        return _ANY if address.is_unspecified else str(address.ipv4_mapped or address)
    return str(address)


def _overlap(one: str, other: str) -> bool:
    """Whether two addresses have the same ports; any address is `_ANY` as the first, whichever family it is of."""
    return one == other or _ANY in (one, other) or (other == "::" and ":" in one)

"""Which process has a socket on a port: /proc/net/tcp and udp (proc_pid_net(5)) and the descriptors of processes.

Only for the text of an error: it takes so much processor time and no more, and does without when it has not found it.
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

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Owner(msgspec.Struct, frozen=True):
    """A process."""

    pid: int
    name: str


def who_has(protocol: str, ip: str, port: int) -> Owner | None:
    """The process with a socket that keeps others from this port of the namespace; None when it is not found."""
    deadline = time.thread_time() + _SECONDS
    inodes = set(_inodes(protocol, ipaddress.ip_address(ip), port, deadline))
    if not inodes:
        return None
    sockets = {f"socket:[{inode}]" for inode in inodes}
    for entry in os.listdir("/proc"):
        if not entry.isdecimal():
            continue
        if time.thread_time() > deadline:
            return None
        try:
            for descriptor in os.listdir(f"/proc/{entry}/fd"):
                if os.readlink(f"/proc/{entry}/fd/{descriptor}") in sockets:
                    with open(f"/proc/{entry}/comm", encoding="utf-8", errors="replace") as file:
                        return Owner(int(entry), file.read().strip())
        except OSError:
            continue  # It ends, or closes the descriptor, while it is looked at.
    return None


def _inodes(protocol: str, ip: _Address, port: int, deadline: float) -> Iterator[str]:
    for name in (protocol, f"{protocol}6"):
        try:
            with open(f"/proc/self/net/{name}", encoding="ascii") as lines:
                next(lines)
                for line in lines:
                    if time.thread_time() > deadline:
                        return
                    _, local, _, state, *rest = line.split()
                    address, _, number = local.partition(":")
                    listens = protocol != "tcp" or int(state, 16) == _LISTEN
                    if int(number, 16) == port and listens and _keeps_from(_address(address), ip):
                        yield rest[5]
        except (OSError, StopIteration):
            continue  # The kernel has no such protocol.


def _address(text: str) -> _Address:
    words = [int(text[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(text), 8)]
    address = ipaddress.ip_address(b"".join(words))
    return address if address.version == 4 else address.ipv4_mapped or address


def _keeps_from(theirs: _Address, address: _Address) -> bool:
    """Whether a socket may keep others from an address. One of [::] has IPv4, too, unless IPV6_V6ONLY is set."""
    if theirs.version != address.version:
        return theirs.version == 6 and theirs.is_unspecified
    return theirs == address or theirs.is_unspecified or address.is_unspecified

"""rtnetlink(7): a socket to the kernel's links, addresses and routes, with messages written by hand.

The design named pyroute2 for this. Importing it costs 117 ms and 20 MB of the engine's memory here, more than the
engine's own start and half of its size, for the eight messages below; so they are packed directly. Several requests
go to the kernel in one system call, and each is acknowledged. Those that change something are in `links` and `routes`.

Structures are those of linux/rtnetlink.h, linux/if_link.h and linux/if_addr.h.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from typing import Final

import msgspec

from darse.core import trace

NLM_F_REQUEST, NLM_F_ACK, NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE, NLM_F_DUMP = 0x1, 0x4, 0x100, 0x200, 0x400, 0x300
NLM_F_APPEND = 0x800
NLMSG_ERROR, NLMSG_DONE = 2, 3
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 16, 17, 18, 20, 21, 22
RTM_NEWROUTE, RTM_GETROUTE = 24, 26
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINK, IFLA_MASTER, IFLA_LINKINFO, IFLA_NET_NS_FD = 1, 3, 4, 5, 10, 18, 28
IFLA_IFALIAS, IFLA_MACVLAN_MODE, IFLA_IPVLAN_MODE, IFLA_IPVLAN_FLAGS, IFLA_VLAN_ID = 20, 1, 1, 2, 1
IFLA_INFO_KIND, IFLA_INFO_DATA, IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA = 1, 2, 4, 5
VETH_INFO_PEER, IFLA_BRPORT_MODE, IFLA_BRPORT_ISOLATED = 1, 4, 33
IFLA_AF_SPEC, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE = 26, 8, 1
IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST = 1, 2, 4
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY = 1, 4, 5, 6
IFF_UP = 1
IFA_F_NODAD = 0x02
RT_TABLE_MAIN, RT_TABLE_LOCAL, RTPROT_BOOT, RTN_UNICAST, RTN_LOCAL = 254, 255, 3, 1, 2
RT_SCOPE_UNIVERSE, RT_SCOPE_LINK = 0, 253
_SOL_NETLINK, _NETLINK_CAP_ACK, _NETLINK_EXT_ACK = 270, 10, 11
NESTED = 0x8000
_HEADER = struct.Struct("=IHHII")
IFINFO = struct.Struct("=BxHiII")
IFADDR = struct.Struct("=BBBBI")
ROUTE = struct.Struct("=BBBBBBBBI")
_BUFFER: Final = 1 << 18

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
FAMILIES: Final = {4: socket.AF_INET, 6: socket.AF_INET6}


class Request(msgspec.Struct, frozen=True):
    """One message, and the shell command that would do the same."""

    kind: str
    flags: int
    type: int
    payload: bytes
    command: tuple[str, ...]


class Link(msgspec.Struct, frozen=True):
    """A network interface as the kernel lists it."""

    index: int
    name: str
    up: bool
    #: "bridge", "veth", …; empty for hardware.
    kind: str = ""
    #: Index of what it is a port of, a bridge or another; 0: of nothing.
    master: int = 0
    #: What somebody has written on it.
    alias: str = ""


def attribute(type_: int, data: bytes) -> bytes:
    """One attribute (`struct nlattr`), padded."""
    length = len(data) + 4
    return struct.pack("=HH", length, type_) + data + b"\0" * (-length % 4)


def text_attribute(type_: int, text: str) -> bytes:
    """An attribute that is a text."""
    return attribute(type_, text.encode() + b"\0")


def number_attribute(type_: int, number: int) -> bytes:
    """An attribute that is a number of 32 bits."""
    return attribute(type_, struct.pack("=I", number))


class Netlink:
    """A socket to the kernel's routing tables, of the network namespace that the calling thread is in.

    Threads may share it: a request and its answers are one turn.
    """

    def __init__(self, program: tuple[str, ...] = ("ip",)) -> None:
        """`program`: what stands in the commands of steps for ip(8), so that they go to this namespace."""
        self._program = program
        self._turn = threading.Lock()
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.bind((0, 0))
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)
        self._sequence = 0

    def run(self, *requests: Request, summary: str = "") -> None:
        """Do the requests in order, in one system call. Raises OSError for the first that fails."""
        if not requests:
            return
        described = summary or " ".join(requests[0].command[1:4])
        with self._turn, trace.step(requests[0].kind, described, *_joined(requests, self._program)):
            self._run(requests)

    def _run(self, requests: tuple[Request, ...]) -> None:
        message = b""
        first = self._sequence + 1
        for request in requests:
            self._sequence += 1
            message += _HEADER.pack(
                _HEADER.size + len(request.payload),
                request.type,
                request.flags | NLM_F_REQUEST | NLM_F_ACK,
                self._sequence,
                0,
            )
            message += request.payload
        failure: OSError | None = None
        self._socket.send(message)
        left = len(requests)
        while left:
            for type_, sequence, body in messages(self._socket.recv(_BUFFER)):
                if type_ != NLMSG_ERROR or sequence < first:
                    continue
                left -= 1
                code = -struct.unpack_from("=i", body)[0]
                if code and failure is None:
                    described = " ".join(requests[sequence - first].command).replace(trace.NETNS, "CONTAINER")
                    failure = OSError(code, os.strerror(code), described)
        if failure is not None:
            raise failure

    def link(self, name: str) -> Link | None:
        """Return a link by name."""
        payload = IFINFO.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + text_attribute(IFLA_IFNAME, name)
        try:
            for body in self._get(RTM_GETLINK, payload, 0):
                return _link(body)
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
        return None

    def has_kind(self, kind: str) -> bool:
        """Whether the kernel has links of a kind that needs a parent; it may load a module for it.

        Without the parent such a link is refused, but an unknown kind is refused before that.
        """
        payload = (
            IFINFO.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
            + text_attribute(IFLA_IFNAME, "darse-probe")
            + attribute(IFLA_LINKINFO | NESTED, text_attribute(IFLA_INFO_KIND, kind))
        )
        request = Request("link", NLM_F_CREATE | NLM_F_EXCL, RTM_NEWLINK, payload, ("ip", "link", "help", kind))
        try:
            with self._turn:
                self._run((request,))
        except OSError as error:
            return error.errno != errno.EOPNOTSUPP
        return True

    def links(self) -> list[Link]:
        """Every link of the namespace."""
        return [_link(body) for body in self._get(RTM_GETLINK, IFINFO.pack(0, 0, 0, 0, 0), NLM_F_DUMP)]

    def ports_of(self, master: Link) -> list[Link]:
        """The ports of a bridge; the kernel lists no other links."""
        payload = IFINFO.pack(0, 0, 0, 0, 0) + number_attribute(IFLA_MASTER, master.index)
        return [_link(body) for body in self._get(RTM_GETLINK, payload, NLM_F_DUMP)]

    def addresses(self, index: int, version: int = 4) -> list[Interface]:
        """The addresses of a link, of a family."""
        found: list[Interface] = []
        for body in self._get(RTM_GETADDR, IFADDR.pack(FAMILIES[version], 0, 0, 0, 0), NLM_F_DUMP):
            _, prefix, _, _, owner = IFADDR.unpack_from(body)
            present = attributes(body[IFADDR.size :])
            # IPv6 has no IFA_LOCAL, except for point-to-point links.
            local = present.get(IFA_LOCAL, present.get(IFA_ADDRESS) if version == 6 else None)
            if owner == index and local is not None:
                found.append(ipaddress.ip_interface((local, prefix)))
        return found

    def routes(self, version: int = 4) -> list[Network]:
        """The destinations of the routes of a family, without the default one and what a host has by itself."""
        found: list[Network] = []
        family = FAMILIES[version]
        for body in self._get(RTM_GETROUTE, ROUTE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0), NLM_F_DUMP):
            destination = attributes(body[ROUTE.size :]).get(RTA_DST)
            if destination is not None and 0 < body[1] < len(destination) * 8:
                found.append(ipaddress.ip_network((destination, body[1]), strict=False))
        return found

    def _get(self, type_: int, payload: bytes, flags: int) -> list[bytes]:
        with self._turn:
            return list(self._answers(type_, payload, flags))

    def _answers(self, type_: int, payload: bytes, flags: int) -> Iterator[bytes]:
        self._sequence += 1
        header = _HEADER.pack(_HEADER.size + len(payload), type_, flags | NLM_F_REQUEST, self._sequence, 0)
        self._socket.send(header + payload)
        while True:
            for kind, sequence, body in messages(self._socket.recv(_BUFFER)):
                if sequence != self._sequence:
                    continue
                if kind == NLMSG_DONE:
                    return
                if kind == NLMSG_ERROR:
                    code = -struct.unpack_from("=i", body)[0]
                    raise OSError(code, os.strerror(code))
                yield body
                if not flags & NLM_F_DUMP:
                    return

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def _joined(requests: tuple[Request, ...], program: tuple[str, ...]) -> tuple[str, ...]:
    """The commands of one batch, with `;` between them."""
    words: list[str] = []
    for request in requests:
        first, *rest = request.command
        words += [*((";",) if words else ()), *(program if first == "ip" else (first,)), *rest]
    return tuple(words)


def messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Type, sequence number and payload of each message of a datagram."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, type_, _, sequence, _ = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size:
            return
        yield type_, sequence, data[offset + _HEADER.size : offset + length]
        offset += length + (-length % 4)


def attributes(data: bytes) -> dict[int, bytes]:
    """The attributes of a payload, by type without its flags; of several of one type the last."""
    found, offset = {}, 0
    while offset + 4 <= len(data):
        length, type_ = struct.unpack_from("=HH", data, offset)
        if length < 4:
            break
        found[type_ & 0x3FFF] = data[offset + 4 : offset + length]
        offset += length + (-length % 4)
    return found


def _link(body: bytes) -> Link:
    _, _, index, flags, _ = IFINFO.unpack_from(body)
    found = attributes(body[IFINFO.size :])
    name = found[IFLA_IFNAME].rstrip(b"\0").decode()
    kind = attributes(found.get(IFLA_LINKINFO, b"")).get(IFLA_INFO_KIND, b"").rstrip(b"\0").decode()
    master = int.from_bytes(found.get(IFLA_MASTER, b""), sys.byteorder)
    alias = found.get(IFLA_IFALIAS, b"").rstrip(b"\0").decode(errors="replace")
    return Link(index, name, bool(flags & IFF_UP), kind, master, alias)

"""The kernel's notifications of changes to links, addresses and nftables: groups of rtnetlink(7) and nfnetlink.

A listener gets everybody's changes, and a host may have thousands in a second. So a filter in the kernel
lets pass only what takes something away (links, addresses, ports of bridges, a link set down); and notices of nftables
are looked into only when the table's name is somewhere in them. When more came than the socket holds, the kernel
drops them and says so once (ENOBUFS): that is a notice too, `OVERRUN`.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import socket
import struct
from collections.abc import Sequence
from typing import Final

import msgspec

from darse.linux.descriptors import FileDescriptor
from darse.linux.net.rtnetlink import IFF_UP, IFLA_IFNAME, RTM_DELADDR, RTM_DELLINK, RTM_NEWLINK, attributes

_NETLINK_NETFILTER = 12
_RTMGRP_LINK, _RTMGRP_IPV4_IFADDR, _RTMGRP_IPV6_IFADDR, _RTNLGRP_IPV4_NETCONF = 0x1, 0x10, 0x100, 24
_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, _SO_ATTACH_FILTER, _SO_RCVBUFFORCE = 270, 1, 26, 33
_RTM_NEWNETCONF = 80
_IFA_LABEL = 3
_NFNLGRP_NFTABLES = 7
_NFT_MSG_NEWGEN, _NFT_MSG_NEWFLOWTABLE, _NFT_MSG_DELFLOWTABLE = 15, 22, 24
_NFTA_GEN_PROC_PID, _NFTA_GEN_PROC_NAME, _NFTA_TABLE = 2, 3, 1
_HEADER = struct.Struct("=IHHII")
# Where a header has the address of who has asked.
_PORT = 12
_IFINFO, _IFADDR, _NFGENMSG, _NETCONF = 16, 8, 4, 4
_BUFFER: Final = 1 << 16
# Bytes that may wait while the event loop is busy: a transaction of others takes some 10,000 of them.
_WAITING: Final = 8 << 20
_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6)
_LITTLE: Final = struct.pack("=H", 1) == b"\1\0"
# How many datagrams one turn of the event loop takes; the rest waits for the next.
_PER_TURN: Final = 64


class Notice(msgspec.Struct, frozen=True):
    """Something changed. `what` is one of the words below; `name` is the link's, or the program's that did it."""

    what: str
    name: str = ""
    pid: int = 0
    #: Of a link: nobody sees it any more.
    gone: bool = False


#: A link is gone, is down, or is no port of its bridge any more; or an address of it is gone.
LINK = "link"
#: IPv4 forwarding was switched, for the whole host.
FORWARDING = "forwarding"
#: Somebody else changed the watched table.
TABLE = "table"
#: Somebody made or removed a flow table.
FLOWTABLE = "flowtable"
#: Notices were lost.
OVERRUN = "overrun"


def _load(width: int, offset: int) -> bytes:
    return struct.pack("=HBBI", {1: 0x30, 2: 0x28, 4: 0x20}[width], 0, 0, offset)


def _jump(code: int, value: int, if_true: int, if_false: int) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _return(length: int) -> bytes:
    return struct.pack("=HBBI", 0x06, 0, 0, length)


def _rtnetlink_filter() -> bytes:
    """Classic BPF. It loads in network order, messages are in the host's: hence `htons`."""
    equal, any_bit = 0x15, 0x45
    return b"".join(
        (
            _load(2, 4),
            _jump(equal, socket.htons(RTM_DELLINK), 8, 0),
            _jump(equal, socket.htons(RTM_DELADDR), 7, 0),
            _jump(equal, socket.htons(RTM_NEWLINK), 0, 2),
            # The flags' lowest byte.
            _load(1, _HEADER.size + 8 + (0 if _LITTLE else 3)),
            _jump(any_bit, IFF_UP, 3, 4),
            _jump(equal, socket.htons(_RTM_NEWNETCONF), 0, 2),
            # The first attribute is the link's number, -1 for all of the host.
            _load(4, _HEADER.size + _NETCONF + 4),
            _jump(equal, 0xFFFFFFFF, 1, 0),
            _return(0),
            _return(0xFFFFFFFF),
        )
    )


def _not_from(port: int) -> bytes:
    """Classic BPF that drops datagrams of the changes that the socket with this netlink address has asked for.

    The kernel never puts notices of two transactions in one datagram.
    """
    return b"".join(
        (
            _load(4, _PORT),
            _jump(0x15, socket.htonl(port & 0xFFFFFFFF), 0, 1),
            _return(0),
            _return(0xFFFFFFFF),
        )
    )


class LinkNotices:
    """A socket that receives what links and addresses lose, in the network namespace of the calling thread."""

    def __init__(self) -> None:
        """Raises OSError."""
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
        )
        _make_room(self._socket)
        _attach_filter(self._socket, _rtnetlink_filter())
        self._socket.bind((0, _RTMGRP_LINK | _RTMGRP_IPV4_IFADDR | _RTMGRP_IPV6_IFADDR))
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, _RTNLGRP_IPV4_NETCONF)
        #: Readable when there are notices.
        self.descriptor = FileDescriptor(self._socket.fileno(), self._socket.close)

    def read(self) -> list[Notice]:
        """What has been told; at most some dozens at once."""
        found = []
        for data in _datagrams(self._socket):
            found += [Notice(OVERRUN)] if data is None else decode_rtnetlink(data)
        return found

    def close(self) -> None:
        """Close the socket."""
        self.descriptor.close()


class TableNotices:
    """A socket that receives changes to nftables tables of a name, of ip and ip6, by others than `own_port`."""

    def __init__(self, table: str, own_port: int) -> None:
        """`own_port` is the netlink address of the socket by which this process changes the table. Raises OSError."""
        self._table = table.encode() + b"\0"
        self._own_port = own_port
        self._touched = False
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, _NETLINK_NETFILTER
        )
        _make_room(self._socket)
        # Thousands of ports are thousands of notices at once: with those of our own, the socket would lose some.
        _attach_filter(self._socket, _not_from(own_port))
        self._socket.bind((0, 0))
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, _NFNLGRP_NFTABLES)
        #: Readable when there are notices.
        self.descriptor = FileDescriptor(self._socket.fileno(), self._socket.close)

    def read(self) -> list[Notice]:
        """What has been told; at most some dozens at once."""
        found: list[Notice] = []
        for data in _datagrams(self._socket):
            if data is None:
                found.append(Notice(OVERRUN))
            else:
                found += self.decode(data)
        return found

    def decode(self, data: bytes) -> list[Notice]:
        """One datagram. A transaction consists of its changes and, last, its generation and who made it."""
        found = []
        # Large transactions of others come as many datagrams without a word of our table: those cost one search.
        ours = self._table in data
        for kind, port, body in _notices(data):
            if port == self._own_port:
                continue
            type_ = kind & 0xFF
            if type_ == _NFT_MSG_NEWGEN:
                if self._touched:
                    found.append(_by_whom(body))
                self._touched = False
            elif type_ in (_NFT_MSG_NEWFLOWTABLE, _NFT_MSG_DELFLOWTABLE):
                found.append(Notice(FLOWTABLE))
            elif ours and body[0] in _FAMILIES and attributes(body[_NFGENMSG:]).get(_NFTA_TABLE) == self._table:
                self._touched = True
        return found

    def close(self) -> None:
        """Close the socket."""
        self.descriptor.close()


def _by_whom(body: bytes) -> Notice:
    found = attributes(body[_NFGENMSG:])
    name = found.get(_NFTA_GEN_PROC_NAME, b"").rstrip(b"\0").decode(errors="replace")
    return Notice(TABLE, name, int.from_bytes(found.get(_NFTA_GEN_PROC_PID, b""), "big"))


def decode_rtnetlink(data: bytes) -> list[Notice]:
    """The notices of one datagram of the groups LINK, IPV4_IFADDR, IPV6_IFADDR and IPV4_NETCONF."""
    found = []
    for kind, _, body in _notices(data):
        if kind == _RTM_NEWNETCONF:
            found.append(Notice(FORWARDING))
        elif kind in (RTM_NEWLINK, RTM_DELLINK):
            link = attributes(body[_IFINFO:]).get(IFLA_IFNAME, b"")
            # A bridge tells by the same message, of its own family, that a port is one no more.
            gone = kind == RTM_DELLINK and body[0] == socket.AF_UNSPEC
            found.append(Notice(LINK, link.rstrip(b"\0").decode(errors="replace"), gone=gone))
        elif kind == RTM_DELADDR:
            label = attributes(body[_IFADDR:]).get(_IFA_LABEL, b"")
            # Of old tools an address has a name of its own, as in eth0:1. Those of IPv6 have none.
            name = label.rstrip(b"\0").decode(errors="replace").partition(":")[0] or _link_name(body)
            if name:
                found.append(Notice(LINK, name))
    return found


def _link_name(body: bytes) -> str:
    """The link that an address was on; empty when that is gone, of which there is a notice of its own."""
    try:
        return socket.if_indextoname(struct.unpack_from("=4xI", body)[0])
    except OSError:
        return ""


def _datagrams(source: socket.socket) -> Sequence[bytes | None]:
    """What there is to read; None where some were lost."""
    found: list[bytes | None] = []
    while len(found) < _PER_TURN:
        try:
            found.append(source.recv(_BUFFER))
        except BlockingIOError:
            break
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            found.append(None)
    return found


def _notices(data: bytes) -> list[tuple[int, int, bytes]]:
    """Type, address of the socket whose request it was, and payload, of each message of a datagram."""
    found, offset = [], 0
    while offset + _HEADER.size <= len(data):
        length, type_, _, _, port = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size:
            break
        found.append((type_, port, data[offset + _HEADER.size : offset + length]))
        offset += length + (-length % 4)
    return found


def _make_room(target: socket.socket) -> None:
    """Have more wait in a socket than the host's limit (net.core.rmem_max) where we may (CAP_NET_ADMIN)."""
    with contextlib.suppress(PermissionError):
        target.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _WAITING)


def _attach_filter(target: socket.socket, code: bytes) -> None:
    program = ctypes.create_string_buffer(code, len(code))
    description = struct.pack("@HP", len(code) // 8, ctypes.addressof(program))
    target.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, description)

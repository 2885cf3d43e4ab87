"""Connection tracking through ctnetlink (linux/netfilter/nfnetlink_conntrack.h): delete flows of UDP.

A tracked flow keeps the translation it began with, whatever rules say later. UDP flows have no end but a time-out that
every packet puts off: a client that goes on sending would reach the address of a container that has ended, or, when it
began before the port was published, no container at all.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from collections.abc import Callable, Iterator

import msgspec

from darse.core import trace

_NETLINK_NETFILTER = 12
_GET, _DELETE = 1 << 8 | 1, 1 << 8 | 2
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_ERROR, _DONE = 2, 3
_TUPLE_ORIG, _TUPLE_REPLY, _ID, _FILTER = 1, 2, 12, 25
_NESTED = 0x8000
# Which attributes of the reply's tuple a dump is filtered by: its source.
_FILTER_REPLY_FLAGS, _BY_SOURCE = 2, struct.pack("=I", 1)
_TUPLE_IP, _TUPLE_PROTO = 1, 2
_IP_V4_SRC, _IP_V4_DST, _IP_V6_SRC, _IP_V6_DST = 1, 2, 3, 4
_PROTO_NUM, _PROTO_DST_PORT = 1, 3
_TYPE = 0x3FFF
_HEADER = struct.Struct("=IHHII")
_GENERIC = {
    version: struct.pack("=BBH", family, 0, 0) for version, family in ((4, socket.AF_INET), (6, socket.AF_INET6))
}
_BUFFER = 1 << 18


class Flow(msgspec.Struct, frozen=True):
    """A tracked UDP flow: where its first packet was sent, and who answers."""

    destination: str
    port: int
    answered_by: str
    key: bytes


class Conntrack:
    """A socket to the connection table of the namespace it is made in."""

    def __init__(self) -> None:
        """Raises OSError when the kernel does not track connections."""
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
        self._socket.bind((0, 0))
        self._sequence = 0

    def delete_udp_flows(self, matches: Callable[[Flow], bool], summary: str, version: int = 4) -> int:
        """Delete the UDP flows of a family that `matches` picks; return how many. Raises OSError."""
        return self._delete(matches, summary, version, _GENERIC[version])

    def delete_udp_flows_answered_by(self, address: str) -> int:
        """Delete the UDP flows that an address answers; return how many. Raises OSError.

        The kernel picks them, since 5.8: of a million that are tracked, only these are sent. One before sends all.
        """
        parsed = ipaddress.ip_address(address)
        source = _attribute(_IP_V4_SRC if parsed.version == 4 else _IP_V6_SRC, parsed.packed)
        reply = _attribute(_TUPLE_REPLY | _NESTED, _attribute(_TUPLE_IP | _NESTED, source))
        picking = _attribute(_FILTER | _NESTED, _attribute(_FILTER_REPLY_FLAGS, _BY_SOURCE))
        request = _GENERIC[parsed.version] + reply + picking
        summary = f"--reply-src {address}"
        return self._delete(lambda flow: flow.answered_by == address, summary, parsed.version, request)

    def _delete(self, matches: Callable[[Flow], bool], summary: str, version: int, request: bytes) -> int:
        with trace.step("rule", f"delete UDP flows {summary}", "conntrack", "-D", "-p", "udp", *summary.split()):
            flows = [flow for flow in self._flows(request) if matches(flow)]
            for flow in flows:
                # One that has ended by itself is no failure.
                list(self._exchange(_DELETE, _ACK, _GENERIC[version] + flow.key, missing=True))
        return len(flows)

    def _flows(self, request: bytes) -> Iterator[Flow]:
        for body in self._exchange(_GET, _DUMP, request):
            attributes = dict(_attributes(body[len(_GENERIC[4]) :]))
            first, reply = _tuple(attributes.get(_TUPLE_ORIG, b"")), _tuple(attributes.get(_TUPLE_REPLY, b""))
            if first is None or reply is None or first[0] != socket.IPPROTO_UDP:
                continue
            key = _attribute(_TUPLE_ORIG | _NESTED, attributes[_TUPLE_ORIG])
            if _ID in attributes:
                key += _attribute(_ID, attributes[_ID])
            yield Flow(first[2], first[3], reply[1], key)

    def _exchange(self, type_: int, flags: int, payload: bytes, *, missing: bool = False) -> Iterator[bytes]:
        self._sequence += 1
        size = _HEADER.size + len(payload)
        self._socket.send(_HEADER.pack(size, type_, flags | _REQUEST, self._sequence, 0) + payload)
        while True:
            data, offset = self._socket.recv(_BUFFER), 0
            while offset + _HEADER.size <= len(data):
                length, kind, _, sequence, _ = _HEADER.unpack_from(data, offset)
                body = data[offset + _HEADER.size : offset + length]
                offset += length + (-length % 4)
                if sequence != self._sequence:
                    continue
                if kind == _DONE:
                    return
                if kind == _ERROR:
                    code = -struct.unpack_from("=i", body)[0]
                    if code and not (missing and code == 2):
                        raise OSError(code, os.strerror(code), "conntrack")
                    return
                yield body

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def _attribute(type_: int, data: bytes) -> bytes:
    return struct.pack("=HH", len(data) + 4, type_) + data + b"\0" * (-len(data) % 4)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + 4 <= len(data):
        length, type_ = struct.unpack_from("=HH", data, offset)
        if length < 4:
            return
        yield type_ & _TYPE, data[offset + 4 : offset + length]
        offset += length + (-length % 4)


def _tuple(data: bytes) -> tuple[int, str, str, int] | None:
    """Protocol, source, destination and destination port of a tuple."""
    parts = dict(_attributes(data))
    addresses, protocol = dict(_attributes(parts.get(_TUPLE_IP, b""))), dict(_attributes(parts.get(_TUPLE_PROTO, b"")))
    keys = (_IP_V6_SRC, _IP_V6_DST) if _IP_V6_SRC in addresses else (_IP_V4_SRC, _IP_V4_DST)
    if not addresses.keys() >= set(keys) or _PROTO_NUM not in protocol:
        return None
    source, destination = (str(ipaddress.ip_address(addresses[key])) for key in keys)
    return protocol[_PROTO_NUM][0], source, destination, int.from_bytes(protocol.get(_PROTO_DST_PORT, b""), "big")
